"""The ledger: what became of every message and every row, so that two balances add up.

    messages of a server   received = decoded + held + quarantined + discarded
    rows of a table        produced = acknowledged + spooled + dead-lettered + dropped + suppressed

What grows for ever is kept in the table `ledger` of the spool's file, and changes in the
transaction of the batch that it is about; what is a level is read where it is: spooled rows
in `batches`, dead letters in `dead_letters`, quarantined messages in `dead_messages`
(balance.py). Only `held` is a level that is in the table as well: what waits is in
memory, and after a crash the table alone knows how many messages that were.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.spool.hours import note_acknowledged

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from consumer.spool.batches import Removed

MESSAGES: Final = "messages/"
"""Begins the scope of a server's messages; its name follows."""
ROWS: Final = "rows/"
"""Begins the scope of a table's rows; its name follows."""
ASIDE: Final = "aside/"
"""Begins the scope of a batch of which rows are dead letters; its id follows.

The accounts are the rows, by the first one's number in the batch. That of a batch lasts as
long as the batch, also when the dead letter is retried or dropped before.
"""
_END_OF_ASIDE: Final = "aside0"

RECEIVED: Final = "received"
DECODED: Final = "decoded"
HELD: Final = "held"
DISCARDED: Final = "discarded:"
PRODUCED: Final = "produced"
ACKNOWLEDGED: Final = "acknowledged"
SUPPRESSED: Final = "suppressed"
DROPPED: Final = "dropped:"

LOST_WHEN_KILLED: Final = "lost_when_killed"
DROPPED_BY_HAND: Final = "dropped_by_hand"
DEAD_LETTERS_FULL: Final = "dead_letters_full"
SPOOL_DAMAGED: Final = "spool_damaged"

Key = tuple[str, str]
"""Scope and account."""


# ---------------------------------------------------------------------- inside transactions


def post(db: sqlite3.Connection, amounts: Mapping[Key, int]) -> None:
    """Add amounts to their accounts."""
    db.executemany(
        "INSERT INTO ledger VALUES (?, ?, ?) ON CONFLICT (scope, account) "
        "DO UPDATE SET amount = amount + excluded.amount",
        [(*key, amount) for key, amount in amounts.items() if amount],
    )


def drop_rows(db: sqlite3.Connection, table: str, rows: int, reason: str) -> None:
    """Dead-lettered rows are deleted."""
    post(db, {(ROWS + table, DROPPED + reason): rows})


def discard_messages(db: sqlite3.Connection, server: str, count: int, reason: str) -> None:
    """Messages are not kept, or deleted."""
    post(db, {(MESSAGES + server, DISCARDED + reason): count})


def give_up_held(db: sqlite3.Connection, server: str, count: int, reason: str) -> None:
    """Messages that wait are not kept over a restart."""
    scope = MESSAGES + server
    post(db, {(scope, HELD): -count, (scope, DISCARDED + reason): count})


def hold_again(db: sqlite3.Connection, server: str, count: int) -> None:
    """Quarantined messages wait again."""
    post(db, {(MESSAGES + server, HELD): count})


def is_aside(db: sqlite3.Connection, batch_id: int, first_row: int) -> bool:
    """Whether rows of a batch were set aside already."""
    mark = (f"{ASIDE}{batch_id}", str(first_row))
    found = db.execute("SELECT 1 FROM ledger WHERE scope = ? AND account = ?", mark)
    return found.fetchone() is not None


def put_aside(db: sqlite3.Connection, batch_id: int, first_row: int, rows: int) -> None:
    """Rows of a batch that is still spooled count as dead letters from now on."""
    post(db, {(f"{ASIDE}{batch_id}", str(first_row)): rows})


def aside_by_table(db: sqlite3.Connection) -> dict[str, int]:
    """Rows of each table that were set aside, of batches that are still spooled."""
    found = db.execute(
        "SELECT table_name, sum(amount) FROM ledger "
        "JOIN batches ON batch_id = CAST(substr(scope, ?) AS INTEGER) "
        "WHERE scope >= ? AND scope < ? GROUP BY table_name",
        (len(ASIDE) + 1, ASIDE, _END_OF_ASIDE),
    )
    return dict(found.fetchall())


def take_aside(db: sqlite3.Connection, batch_id: int) -> int:
    """A batch leaves the spool; returns how many of its rows were set aside before."""
    marks = db.execute(
        "DELETE FROM ledger WHERE scope = ? RETURNING amount", (f"{ASIDE}{batch_id}",)
    ).fetchall()
    return sum(amount for (amount,) in marks)


def forget_lost_batches(db: sqlite3.Connection) -> None:
    """Which rows of batches were set aside that are not in the file any more says nothing."""
    db.execute(
        "DELETE FROM ledger WHERE scope >= ? AND scope < ? "
        "AND CAST(substr(scope, ?) AS INTEGER) NOT IN (SELECT batch_id FROM batches)",
        (ASIDE, _END_OF_ASIDE, len(ASIDE) + 1),
    )


def acknowledge(db: sqlite3.Connection, batches: Mapping[int, Removed], at: float) -> None:
    """Batches, by their id, are trimmed: all of their rows that are not aside are acknowledged.

    `at` is when, in seconds since 1970.
    """
    aside: dict[str, int] = dict(
        db.execute(
            "SELECT scope, sum(amount) FROM ledger WHERE scope >= ? AND scope < ? GROUP BY scope",
            (ASIDE, _END_OF_ASIDE),
        )
    )
    acknowledged: Counter[str] = Counter()
    for batch_id, each in batches.items():
        scope = f"{ASIDE}{batch_id}"
        acknowledged[each.table] += each.rows - aside.get(scope, 0)
        if scope in aside:
            db.execute("DELETE FROM ledger WHERE scope = ?", (scope,))
    post(db, {(ROWS + table, ACKNOWLEDGED): rows for table, rows in acknowledged.items()})
    note_acknowledged(db, acknowledged, at)
