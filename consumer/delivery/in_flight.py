"""The window of a stream: batches between the spool and their acknowledgement.

Pure bookkeeping in one order, that of the spool: batches enter at one end, rows are cut into
calls from the front, acknowledgements arrive in the order of the calls, and a batch leaves when
all of its rows are settled. A call is sent, settled, or set aside; nothing else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from consumer.delivery.calls import RowQueue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.delivery.calls import Call, CallLimits, Piece
    from consumer.spool import SpooledBatch


class Settled(NamedTuple):
    """What became settled: batches that are finished by it, in order, and rows acknowledged."""

    batches: list[SpooledBatch]
    rows: int


class InFlight:
    """The window of a stream. Not thread-safe.

    It has the batches whose rows wait to be sent, most of them as a rule, and those in flight: cut
    into calls that wait for their acknowledgement.

    Args:
        limits: of the calls that rows are cut into.

    Attributes:
        batches: how many are in here.
        inflight_rows: rows that were cut and are not settled.
        inflight_bytes: their bytes.
    """

    def __init__(self, limits: CallLimits) -> None:
        self._queue = RowQueue(limits)
        self._calls: deque[Call] = deque()
        self.batches = 0
        self.inflight_rows = 0
        self.inflight_bytes = 0

    @property
    def inflight_calls(self) -> int:
        """Calls that were cut and are not settled."""
        return len(self._calls)

    @property
    def uncut_rows(self) -> int:
        """Rows that wait to be sent."""
        return self._queue.rows

    @property
    def uncut_bytes(self) -> int:
        """Bytes of the rows that wait to be sent."""
        return self._queue.nbytes

    @property
    def next_schema_id(self) -> str | None:
        """The schema of the next row to be cut, None when all are."""
        return self._queue.schema_id

    @property
    def has_full_call(self) -> bool:
        """Whether waiting longer could not make the next call larger, or not by much."""
        return self._queue.has_full_call

    def append(self, batch: SpooledBatch) -> None:
        """Let a batch in that follows all others in the spool."""
        self._queue.append(batch)
        self.batches += 1

    def cut(self, most: int | None = None) -> Call:
        """Cut the next call, of `most` records at most: it is in flight from now on.

        Raises:
            IndexError: no row waits.
        """
        call = self._queue.cut(most)
        self._calls.append(call)
        self.inflight_rows += call.rows
        self.inflight_bytes += call.nbytes
        return call

    def settle(self, offset: int) -> Settled:
        """Settle every call up to `offset`, which is acknowledged; -1 when none is.

        Calls that were set aside are settled when all before them are.
        """
        finished: list[SpooledBatch] = []
        rows = 0
        while self._calls and _is_settled(self._calls[0], offset):
            call = self._calls.popleft()
            self._forget(call)
            if not call.aside:
                rows += call.rows
            finished += (piece.batch for piece in call.pieces if piece.ends_batch)
        self.batches -= len(finished)
        return Settled(finished, rows)

    def rewind(self) -> int:
        """Let what a dead stream did not acknowledge be cut and sent again.

        Returns:
            The rows that were sent and not settled.
        """
        lost = sum(call.rows for call in self._calls if call.offset is not None)
        self._put_back_behind(0)
        return lost

    def withdraw_lost(self) -> list[Call]:
        """Take the calls out that a dead stream did not acknowledge, those aside among them.

        They are not in here any more; calls that never were sent are to be cut again.
        """
        sent = [index for index, call in enumerate(self._calls) if call.offset is not None]
        self._put_back_behind(sent[-1] + 1 if sent else 0)
        return self._withdraw_calls()

    def withdraw_next(self, most: int) -> Call:
        """Take the next `most` rows out that were not sent, at most one call of them.

        Raises:
            IndexError: no row waits.
            ValueError: calls are in flight, so that these rows would overtake them.
        """
        if self._calls:
            raise ValueError(f"{len(self._calls)} calls are before the rows that are to leave")
        self.cut(most)
        return self._withdraw_calls()[0]

    def put_back(self, pieces: Iterable[Piece]) -> None:
        """Let rows in that were taken out, in order: they come before all that waits."""
        pieces = list(pieces)
        self.batches += sum(piece.ends_batch for piece in pieces)
        self._queue.put_back(pieces)

    def _put_back_behind(self, kept: int) -> None:
        while len(self._calls) > kept:
            call = self._calls.pop()
            self._forget(call)
            self._queue.put_back(call.pieces)

    def _withdraw_calls(self) -> list[Call]:
        calls = list(self._calls)
        self._calls.clear()
        for call in calls:
            self._forget(call)
            self.batches -= sum(piece.ends_batch for piece in call.pieces)
        return calls

    def _forget(self, call: Call) -> None:
        self.inflight_rows -= call.rows
        self.inflight_bytes -= call.nbytes


def _is_settled(call: Call, offset: int) -> bool:
    return call.aside or (call.offset is not None and call.offset <= offset)
