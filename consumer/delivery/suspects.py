"""Which record of those that were lost together does Zerobus refuse? Bookkeeping, nothing else.

The service refuses a whole call, ends the stream, and says in words of its own why. So the rows
that were on their way are tried one call at a time, and halved until a refused call is a single
record. Behind it the next records are tried one by one, two, four and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from consumer.delivery.calls import RowQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.delivery.calls import Call, CallLimits, Piece
    from consumer.spool import SpooledBatch


class Refused(NamedTuple):
    """A record that Zerobus refuses, and its words."""

    record: Piece
    words: str


class Suspects:
    """Rows among which Zerobus refuses some, in order. Not thread-safe.

    A refused record stays in here until one behind it got through or `give_up` says that none
    will: only then it is known that it is not the table.

    Args:
        calls: lost together, when the service refused a record of one of them; not empty, of
            one schema.
        words: what the service said.
        limits: of the calls that are tried.

    Attributes:
        refused: records found to be refused since one got through.
        trying: the call that is on its way.
    """

    def __init__(self, calls: Sequence[Call], words: str, limits: CallLimits) -> None:
        self.schema_id = calls[0].schema_id
        self.refused: list[Refused] = []
        self.trying: Call | None = None
        self._queue = RowQueue(limits)
        self._tried: list[Piece] = []  # refused or set aside; settled with what is behind them
        self._bad_within = 0  # the refused record is among so many; 0 when that is not known
        self._step = 0  # most records of the next call
        pieces = [piece for call in calls for piece in call.pieces]
        self._refuse(pieces, sum(piece.rows for piece in pieces), words)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be tried or to be decided."""
        return not self._tried and self.trying is None and not self._queue.rows

    def try_next(self) -> Call | None:
        """The next call to be tried: `passed`, `refuse`, `set_aside` or `retry` says how it went.

        None when all were tried; those that are refused may still wait for one behind them.
        """
        if self.trying is None and self._queue.rows:
            self.trying = self._queue.cut(self._step)
        return self.trying

    def append(self, pieces: Sequence[Piece]) -> None:
        """Let rows in that follow all others.

        Raises:
            ValueError: there are others that were not tried.
        """
        if self._queue.rows or self.trying is not None:
            raise ValueError("rows that were not tried come first")
        self._queue.put_back(pieces)

    def passed(self) -> list[SpooledBatch]:
        """The call got through: it is settled, with all before it.

        Returns:
            The batches that are finished by it.
        """
        call = self._take_trying()
        self._bad_within = max(0, self._bad_within - call.rows)
        self._step = max(1, self._bad_within // 2) if self._bad_within else 2 * self._step
        self._tried += call.pieces
        return self.give_up()

    def refuse(self, words: str) -> None:
        """The call is refused, with these words: known when it is one record, else halved."""
        call = self._take_trying()
        self._refuse(call.pieces, call.rows, words)

    def set_aside(self) -> list[SpooledBatch]:
        """The call was not sent and is kept elsewhere: it is settled when all before it is.

        Returns:
            The batches that are finished by it.
        """
        self._tried += self._take_trying().pieces
        return [] if self.refused else self.give_up()

    def retry(self) -> None:
        """It is not known whether the call got through: it is the next to be tried again."""
        self._queue.put_back(self._take_trying().pieces)

    def give_up(self) -> list[SpooledBatch]:
        """Settle all that was tried: the refused records are kept elsewhere.

        Returns:
            The batches that are finished by it.
        """
        finished = [piece.batch for piece in self._tried if piece.ends_batch]
        self._tried.clear()
        self.refused.clear()
        return finished

    def unsettled(self) -> list[Piece]:
        """All that is not settled, in order."""
        if self.trying is not None:
            self.retry()
        self._queue.put_back(self._tried)
        self._tried.clear()
        self.refused.clear()
        rest = []
        while self._queue.rows:
            rest += self._queue.cut().pieces
        return rest

    def _take_trying(self) -> Call:
        call, self.trying = self.trying, None
        if call is None:
            raise ValueError("no call is being tried")
        return call

    def _refuse(self, pieces: Sequence[Piece], rows: int, words: str) -> None:
        if rows == 1:
            self._tried += pieces
            self.refused.append(Refused(pieces[0], words))
            self._bad_within, self._step = 0, 1
        else:
            self._queue.put_back(pieces)
            self._bad_within, self._step = rows, rows // 2
