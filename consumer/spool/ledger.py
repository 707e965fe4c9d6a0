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

import contextlib
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from consumer.spool.types import Participant

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from consumer.spool.batches import Removed
    from consumer.spool.types import NewBatch, Transaction
    from sparkplug import Decoded

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


class Ledger(Participant):
    """Amounts of messages and rows that are not in the file yet. Balanced, and thread-safe.

    A batch is put together with `received`, `messages` and `rows`. Then either it takes part in
    the commit of its rows; or `lose` says that it was lost, or `postpone` that it is not worth a
    commit: it goes with the next one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batch: defaultdict[Key, int] = defaultdict(int)
        self._waiting: Counter[Key] = Counter()
        self._writing: Counter[Key] = Counter()
        self._held: dict[str, int] = {}

    # ------------------------------------------------------------------ a batch

    def refuse(self, server: str, reason: str, count: int = 1) -> None:
        """Count messages of a server that the connection refused for a reason. From any thread."""
        with self._lock:
            self._waiting[MESSAGES + server, RECEIVED] += count
            self._waiting[MESSAGES + server, DISCARDED + reason] += count

    def received(self, server: str, count: int) -> None:
        """Count messages of a server that are about to be decoded, for the batch."""
        with self._lock:
            self._batch[MESSAGES + server, RECEIVED] += count

    def messages(self, server: str, decoded: Decoded, held: int) -> None:
        """Count what became of a server's messages in the batch.

        `held` wait now, those of earlier batches included. Quarantined ones are counted
        where they are kept.
        """
        scope = MESSAGES + server
        with self._lock:
            self._set_held(server, held)
            self._batch[scope, DECODED] += decoded.read
            for reason, count in decoded.discarded.items():
                self._batch[scope, DISCARDED + reason] += count

    def rows(self, table: str, produced: int, suppressed: int = 0) -> None:
        """Rows of a table were made; the suppressed ones, among them, are left out."""
        with self._lock:
            self._batch[ROWS + table, PRODUCED] += produced
            self._batch[ROWS + table, SUPPRESSED] += suppressed

    def batches(self, batches: Iterable[NewBatch]) -> None:
        """Rows were made, given as batches; none of them is left out."""
        for batch in batches:
            self.rows(batch.table, len(batch.rows))

    def drop(self, table: str, rows: int, reason: str) -> None:
        """Count rows of the batch that are dropped for a reason."""
        with self._lock:
            self._batch[ROWS + table, DROPPED + reason] += rows

    def take_back(self, server: str, messages: int, reason: str) -> None:
        """Count messages of the batch as discarded, not decoded: nothing of them is kept."""
        with self._lock:
            self._batch[MESSAGES + server, DECODED] -= messages
            self._batch[MESSAGES + server, DISCARDED + reason] += messages

    def lose(self, reason: str, held: Mapping[str, int]) -> None:
        """The batch is lost, its rows and all messages but those that wait now, by server."""
        with self._lock:
            for server, count in held.items():
                self._set_held(server, count)
            lost: Counter[str] = Counter()
            for (scope, account), amount in self._batch.items():
                if account in (RECEIVED, PRODUCED):
                    lost[scope] += amount
                elif account != DECODED:
                    lost[scope] -= amount
            for scope, amount in lost.items():
                self._batch.pop((scope, DECODED), None)
                start = DISCARDED if scope.startswith(MESSAGES) else DROPPED
                self._batch[scope, start + reason] += amount
            self._let_wait()

    def postpone(self) -> None:
        """The batch gave nothing to commit: it goes with the next one."""
        with self._lock:
            self._let_wait()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The batch is not finished, and others are put together meanwhile, each to its end."""
        with self._lock:
            unfinished, self._batch = self._batch, defaultdict(int)
        try:
            yield
        finally:
            with self._lock:
                for key, amount in unfinished.items():
                    self._batch[key] += amount

    def _set_held(self, server: str, held: int) -> None:
        self._batch[MESSAGES + server, HELD] += held - self._held.get(server, 0)
        self._held[server] = held

    def _let_wait(self) -> None:
        for key, amount in self._batch.items():
            self._waiting[key] += amount
        self._batch.clear()

    # ------------------------------------------------------------------ into the file

    @property
    def is_waiting(self) -> bool:
        """Whether amounts wait for a commit, those of the present batch aside."""
        with self._lock:
            return any(self._waiting.values())

    def waiting(self) -> dict[Key, int]:
        """Amounts by scope and account that wait for a commit, those of the present batch aside."""
        with self._lock:
            return dict(self._waiting)

    def write(self, db: Transaction, _room: Callable[[], int] | None = None) -> None:
        """Write the batch and what waits, inside a transaction."""
        with self._lock:
            if self._waiting:
                self._writing = self._waiting.copy()
            for amounts in (self._waiting, self._batch):
                if amounts:
                    add(db, amounts)

    def piece(self, table: str, rows: int) -> Participant:
        """A participant for the commit of `rows` rows of the batch before the rest of it."""
        return _Piece(self, table, rows)

    def piece_committed(self, table: str, rows: int) -> None:
        """Take rows of a piece that was committed off the batch."""
        with self._lock:
            self._batch[ROWS + table, PRODUCED] -= rows

    def committed(self) -> None:
        """The transaction was committed."""
        with self._lock:
            if self._writing:
                self._waiting.subtract(self._writing)
                self._waiting = Counter({key: n for key, n in self._waiting.items() if n})
                self._writing = Counter()
            self._batch.clear()

    # ------------------------------------------------------------------ at the start

    def restored(
        self, db: sqlite3.Connection, server: str, held: int, *, later: bool = False
    ) -> int:
        """Count messages of a server that wait again after a start; the others are lost.

        What else waited died with the last run. `later`: nothing can be written now, so it goes
        with the next commit. A run that is killed before finds the same as this one.

        Returns:
            How many were lost.
        """
        scope = MESSAGES + server
        known = db.execute(
            "SELECT amount FROM ledger WHERE scope = ? AND account = ?", (scope, HELD)
        ).fetchone()
        lost = (known[0] if known else 0) - held
        if lost > 0:
            amounts = {(scope, HELD): -lost, (scope, DISCARDED + LOST_WHEN_KILLED): lost}
        else:  # what is read a second time was received a second time
            amounts = {(scope, HELD): -lost, (scope, RECEIVED): -lost}
        with self._lock:
            self._held[server] = held
            if later:
                self._waiting.update(amounts)
        if not later:
            add(db, amounts)
        return max(lost, 0)

    def held_again(self, server: str, count: int) -> None:
        """Count quarantined messages that wait again; their own transaction writes it."""
        with self._lock:
            self._held[server] = self._held.get(server, 0) + count


class _Piece(Participant):
    """Rows of a batch that are committed before the rest of it."""

    def __init__(self, ledger: Ledger, table: str, rows: int) -> None:
        self._ledger, self._table, self._rows = ledger, table, rows

    def write(self, db: Transaction, _room: Callable[[], int]) -> None:
        add(db, {(ROWS + self._table, PRODUCED): self._rows})

    def committed(self) -> None:
        self._ledger.piece_committed(self._table, self._rows)


# ---------------------------------------------------------------------- inside transactions


def add(db: sqlite3.Connection, amounts: Mapping[Key, int]) -> None:
    """Add amounts to their accounts."""
    db.executemany(
        "INSERT INTO ledger VALUES (?, ?, ?) ON CONFLICT (scope, account) "
        "DO UPDATE SET amount = amount + excluded.amount",
        [(*key, amount) for key, amount in amounts.items() if amount],
    )


def drop_rows(db: sqlite3.Connection, table: str, rows: int, reason: str) -> None:
    """Dead-lettered rows are deleted."""
    add(db, {(ROWS + table, DROPPED + reason): rows})


def discard_messages(db: sqlite3.Connection, server: str, count: int, reason: str) -> None:
    """Messages are not kept, or deleted."""
    add(db, {(MESSAGES + server, DISCARDED + reason): count})


def give_up_held(db: sqlite3.Connection, server: str, count: int, reason: str) -> None:
    """Messages that wait are not kept over a restart."""
    scope = MESSAGES + server
    add(db, {(scope, HELD): -count, (scope, DISCARDED + reason): count})


def hold_again(db: sqlite3.Connection, server: str, count: int) -> None:
    """Quarantined messages wait again."""
    add(db, {(MESSAGES + server, HELD): count})


def is_aside(db: sqlite3.Connection, batch_id: int, first_row: int) -> bool:
    """Whether rows of a batch were set aside already."""
    mark = (f"{ASIDE}{batch_id}", str(first_row))
    found = db.execute("SELECT 1 FROM ledger WHERE scope = ? AND account = ?", mark)
    return found.fetchone() is not None


def put_aside(db: sqlite3.Connection, batch_id: int, first_row: int, rows: int) -> None:
    """Rows of a batch that is still spooled count as dead letters from now on."""
    add(db, {(f"{ASIDE}{batch_id}", str(first_row)): rows})


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


def acknowledge(db: sqlite3.Connection, batches: Mapping[int, Removed]) -> None:
    """Batches, by their id, are trimmed: all of their rows that are not aside are acknowledged."""
    aside: dict[str, int] = dict(
        db.execute(
            "SELECT scope, sum(amount) FROM ledger WHERE scope >= ? AND scope < ? GROUP BY scope",
            (ASIDE, _END_OF_ASIDE),
        )
    )
    acknowledged: Counter[Key] = Counter()
    for batch_id, each in batches.items():
        scope = f"{ASIDE}{batch_id}"
        acknowledged[ROWS + each.table, ACKNOWLEDGED] += each.rows - aside.get(scope, 0)
        if scope in aside:
            db.execute("DELETE FROM ledger WHERE scope = ?", (scope,))
    add(db, acknowledged)
