"""What is still to be booked in the ledger, which is a table of the spool's file.

Which accounts there are, and how they are kept, is told in accounts.py.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from consumer.spool.accounts import (
    DECODED,
    DISCARDED,
    DROPPED,
    HELD,
    LOST_WHEN_KILLED,
    MESSAGES,
    PRODUCED,
    RECEIVED,
    ROWS,
    SUPPRESSED,
    post,
)
from consumer.spool.types import Participant

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

    from consumer.spool.accounts import Key
    from consumer.spool.types import Transaction
    from sparkplug import Decoded

HTTP_SOURCE: Final = "http"
"""Stands for a server: the messages of this one are events that came over HTTP."""


class Ledger(Participant):
    """The way into the ledger: amounts of messages and rows that are not in the file yet.

    What was committed is in the table `ledger`, and is not known here. Balanced, and thread-safe.

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
    def apart(self) -> Iterator[None]:
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

    def waiting(self) -> dict[Key, int]:
        """Amounts by scope and account that wait for a commit, those of the present batch aside."""
        with self._lock:
            return {key: amount for key, amount in self._waiting.items() if amount}

    def write(self, db: Transaction, _room: Callable[[], int] | None = None) -> None:
        """Write the batch and what waits, inside a transaction."""
        with self._lock:
            if self._waiting:
                self._writing = self._waiting.copy()
            for amounts in (self._waiting, self._batch):
                if amounts:
                    post(db, amounts)

    def piece(self, table: str, rows: int) -> Participant:
        """A participant for the commit of `rows` rows of the batch before the rest of it."""
        return _Piece(self, table, rows)

    def committed(self) -> None:
        """The transaction was committed: with it the batch, whoever's rows it was for."""
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
            post(db, amounts)
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
        post(db, {(ROWS + self._table, PRODUCED): self._rows})

    def committed(self) -> None:
        # The rest of the batch is booked without them.
        self._ledger.rows(self._table, -self._rows)


def entry_of_posts(table: str, accepted: int, dropped: Mapping[str, int]) -> Participant:
    """A participant for the commit of events that came over HTTP, each a row.

    Args:
        table: of the rows.
        accepted: how many events are rows of the commit.
        dropped: how many others came with them, by reason.
    """
    scope = MESSAGES + HTTP_SOURCE
    return _Entry(
        {
            (scope, RECEIVED): accepted + sum(dropped.values()),
            (scope, DECODED): accepted,
            **{(scope, DISCARDED + reason): count for reason, count in dropped.items()},
            (ROWS + table, PRODUCED): accepted,
        }
    )


class _Entry(Participant):
    """Amounts that are known when the commit begins."""

    def __init__(self, amounts: Mapping[Key, int]) -> None:
        self._amounts = amounts

    def write(self, db: Transaction, _room: Callable[[], int]) -> None:
        post(db, self._amounts)
