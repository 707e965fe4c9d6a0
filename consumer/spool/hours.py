"""Acknowledged rows by table and hour, which are compared with the platform's own count.

They are accounts of the ledger, in a scope of their own, which the balances do not read: one
number per table and hour, changed in the transaction that trims the batches, for some weeks.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from consumer.spool import file as spool_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ACKNOWLEDGED_BY_HOUR: Final = "acknowledged_by_hour/"
"""Begins the scope of a table's hours; its name follows. The accounts are hours, in UTC."""
KEPT_DAYS: Final = 35
_HOUR: Final = "%Y-%m-%dT%H"


def note_acknowledged(db: sqlite3.Connection, rows: Mapping[str, int], at: float) -> None:
    """Add rows, by table, to the hour of a time, and forget hours of long ago.

    Args:
        db: inside a transaction.
        rows: acknowledged rows by table.
        at: seconds since 1970, of the hour.
    """
    now = datetime.fromtimestamp(at, UTC)
    oldest = (now - timedelta(days=KEPT_DAYS)).strftime(_HOUR)
    for table, count in rows.items():
        scope = ACKNOWLEDGED_BY_HOUR + table
        db.execute(
            "INSERT INTO ledger VALUES (?, ?, ?) ON CONFLICT (scope, account) "
            "DO UPDATE SET amount = amount + excluded.amount",
            (scope, now.strftime(_HOUR), count),
        )
        db.execute("DELETE FROM ledger WHERE scope = ? AND account < ?", (scope, oldest))


def acknowledged_by_hour(path: Path, since: datetime) -> Counter[tuple[str, datetime]]:
    """Acknowledged rows of a spool's file by table and hour, those of the hour of `since` too.

    Hours are those of the consumer's clock, in UTC. A spool of an earlier release has none
    before it was opened by this one.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or it cannot be read.
    """
    try:
        with contextlib.closing(spool_file.open_existing(path, read_only=True)) as db:
            found = db.execute(
                "SELECT scope, account, amount FROM ledger "
                "WHERE scope >= ? AND scope < ? AND account >= ?",
                (
                    ACKNOWLEDGED_BY_HOUR,
                    ACKNOWLEDGED_BY_HOUR[:-1] + "0",
                    since.astimezone(UTC).strftime(_HOUR),
                ),
            ).fetchall()
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error
    return Counter(
        {
            (
                scope.removeprefix(ACKNOWLEDGED_BY_HOUR),
                datetime.strptime(hour, _HOUR).replace(tzinfo=UTC),
            ): amount
            for scope, hour, amount in found
        }
    )
