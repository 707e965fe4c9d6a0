"""The two balances of the ledger, as they are read and shown."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.spool import accounts
from consumer.spool import file as spool_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from consumer.spool.accounts import Key

_SPOOLED: Final = "SELECT table_name, sum(row_count) FROM batches GROUP BY table_name"
_DEAD_LETTERED: Final = "SELECT table_name, sum(row_count) FROM dead_letters GROUP BY table_name"
_QUARANTINED: Final = "SELECT server, count(*) FROM dead_messages WHERE NOT counted GROUP BY server"


@dataclass(slots=True)
class MessageBalance:
    """The messages of one server since the spool's file was made."""

    received: int = 0
    decoded: int = 0
    held: int = 0
    quarantined: int = 0
    discarded: dict[str, int] = field(default_factory=dict)

    @property
    def difference(self) -> int:
        """Messages received of which nothing is known; below 0: too many are known; 0: balanced."""
        known = self.decoded + self.held + self.quarantined
        return self.received - known - sum(self.discarded.values())

    def to_dict(self) -> dict[str, Any]:
        """The balance of one server's messages, for /status and JSON."""
        return {
            "received": self.received,
            "decoded": self.decoded,
            "held": self.held,
            "quarantined": self.quarantined,
            "discarded": sum(self.discarded.values()),
            "discarded_by_reason": dict(sorted(self.discarded.items())),
            "difference": self.difference,
        }

    def __str__(self) -> str:
        return (
            f"received {self.received} = decoded {self.decoded} + held {self.held} "
            f"+ quarantined {self.quarantined} + discarded {_in_words(self.discarded)}"
            f"{_unexplained(self.difference)}"
        )


@dataclass(slots=True)
class RowBalance:
    """The rows of one table since the spool's file was made."""

    produced: int = 0
    acknowledged: int = 0
    spooled: int = 0
    dead_lettered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    suppressed: int = 0

    @property
    def difference(self) -> int:
        """Rows produced of which nothing is known; below 0: too many are known; 0: balanced."""
        known = self.acknowledged + self.spooled + self.dead_lettered + self.suppressed
        return self.produced - known - sum(self.dropped.values())

    def to_dict(self) -> dict[str, Any]:
        """The balance of one table's rows, for /status and JSON."""
        return {
            "produced": self.produced,
            "acknowledged": self.acknowledged,
            "spooled": self.spooled,
            "dead_lettered": self.dead_lettered,
            "dropped": sum(self.dropped.values()),
            "dropped_by_reason": dict(sorted(self.dropped.items())),
            "suppressed": self.suppressed,
            "difference": self.difference,
        }

    def __str__(self) -> str:
        return (
            f"produced {self.produced} = acknowledged {self.acknowledged} "
            f"+ spooled {self.spooled} + dead-lettered {self.dead_lettered} "
            f"+ dropped {_in_words(self.dropped)} + suppressed {self.suppressed}"
            f"{_unexplained(self.difference)}"
        )


class Totals(NamedTuple):
    """The messages of all servers, and the rows of all tables."""

    messages: MessageBalance
    rows: RowBalance


@dataclass(frozen=True, slots=True)
class Balance:
    """The balances at one moment: of messages by server, of rows by table."""

    messages: dict[str, MessageBalance]
    rows: dict[str, RowBalance]

    @property
    def difference(self) -> int:
        """Messages and rows that there are too few or too many of; 0 when all adds up."""
        messages = sum(abs(part.difference) for part in self.messages.values())
        return messages + sum(abs(part.difference) for part in self.rows.values())

    @property
    def balanced(self) -> bool:
        """Whether the balances of all servers and tables add up."""
        return self.difference == 0

    def to_dict(self) -> dict[str, Any]:
        """All balances, by server and by table, for /status and JSON."""
        return {
            "messages": {name: part.to_dict() for name, part in sorted(self.messages.items())},
            "rows": {name: part.to_dict() for name, part in sorted(self.rows.items())},
            "balanced": self.balanced,
            "difference": self.difference,
        }

    def lines(self) -> list[str]:
        """A line for every server and every table."""
        return [
            *(f"messages of {name}: {part}" for name, part in sorted(self.messages.items())),
            *(f"rows of {name}: {part}" for name, part in sorted(self.rows.items())),
        ]

    def totals(self) -> Totals:
        """The sums of the messages of all servers, and of the rows of all tables."""
        messages, rows = MessageBalance(), RowBalance()
        for some in self.messages.values():
            messages.received += some.received
            messages.decoded += some.decoded
            messages.held += some.held
            messages.quarantined += some.quarantined
            _add(messages.discarded, some.discarded)
        for part in self.rows.values():
            rows.produced += part.produced
            rows.acknowledged += part.acknowledged
            rows.spooled += part.spooled
            rows.dead_lettered += part.dead_lettered
            rows.suppressed += part.suppressed
            _add(rows.dropped, part.dropped)
        return Totals(messages, rows)


def read_balance(
    db: sqlite3.Connection,
    waiting: Mapping[Key, int] | None = None,
    spooled: Mapping[str, int] | None = None,
) -> Balance:
    """The balances of a spool's file, and of what waits to be written to it.

    To be called in one transaction, so that all is of the same moment. `spooled` are the rows
    of each table that are in the spool, for who knows them already: they are counted else.
    """
    amounts: defaultdict[Key, int] = defaultdict(int, waiting or {})
    for scope, account, amount in db.execute("SELECT scope, account, amount FROM ledger"):
        amounts[scope, account] += amount
    messages: defaultdict[str, MessageBalance] = defaultdict(MessageBalance)
    rows: defaultdict[str, RowBalance] = defaultdict(RowBalance)
    for (scope, account), amount in amounts.items():
        kind, _, name = scope.partition("/")
        if kind + "/" == accounts.MESSAGES:
            _enter(messages[name], messages[name].discarded, account, amount)
        elif kind + "/" == accounts.ROWS:
            _enter(rows[name], rows[name].dropped, account, amount)
    for name, count in db.execute(_SPOOLED) if spooled is None else spooled.items():
        rows[name].spooled += count
    for name, count in accounts.aside_by_table(db).items():
        rows[name].spooled -= count
    for name, count in db.execute(_DEAD_LETTERED):
        rows[name].dead_lettered += count
    for name, count in db.execute(_QUARANTINED):
        messages[name].quarantined += count
    return Balance(dict(messages), dict(rows))


def balance_of_file(path: Path) -> Balance:
    """The balances of a spool's file, which a consumer may be using: those of its last commit.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or it cannot be read.
    """
    try:
        with contextlib.closing(spool_file.open_existing(path, read_only=True)) as db:
            db.execute("BEGIN")
            return read_balance(db)
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error


def explain(db: sqlite3.Connection, reason: str) -> None:
    """Book what does not add up, inside a transaction: what was lost beside the ledger.

    Where more is there than the ledger knows of, it knew of too little.
    """
    found = read_balance(db)
    differences = [
        *(
            (accounts.MESSAGES + name, accounts.RECEIVED, accounts.DISCARDED, each.difference)
            for name, each in found.messages.items()
        ),
        *(
            (accounts.ROWS + name, accounts.PRODUCED, accounts.DROPPED, each.difference)
            for name, each in found.rows.items()
        ),
    ]
    amounts = {
        (scope, lost + reason if difference > 0 else first): abs(difference)
        for scope, first, lost, difference in differences
    }
    accounts.post(db, amounts)


def _enter(
    part: MessageBalance | RowBalance, by_reason: dict[str, int], account: str, amount: int
) -> None:
    name, _, reason = account.partition(":")
    if reason:
        by_reason[reason] = by_reason.get(reason, 0) + amount
    else:
        setattr(part, name, getattr(part, name) + amount)


def _add(to: dict[str, int], amounts: Mapping[str, int]) -> None:
    for name, amount in amounts.items():
        to[name] = to.get(name, 0) + amount


def _in_words(by_reason: Mapping[str, int]) -> str:
    """A sum, with what it consists of."""
    parts: Iterable[str] = (f"{name} {count}" for name, count in sorted(by_reason.items()) if count)
    shown = ", ".join(parts)
    return f"{sum(by_reason.values())}{f' ({shown})' if shown else ''}"


def _unexplained(difference: int) -> str:
    return f": DOES NOT ADD UP, {difference} are not explained" if difference else ""
