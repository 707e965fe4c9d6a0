"""Rows on their way as pieces of spooled batches, cut into calls in the order of the spool."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.sinks import MAX_CALL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.spool import SpooledBatch

# The service counts what the SDK does not: 2 to 5 bytes of framing per record. Calls of
# several records stay this far below its limit of 10 MiB.
_MAX_SEVERAL_BYTES: Final = 9 << 20


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Most records and most record bytes of one call.

    A record larger than `max_bytes` is a call of its own.
    """

    max_records: int = 1000
    max_bytes: int = 8 << 20


class Piece(NamedTuple):
    """Consecutive rows of a batch: from `start` to the one before `stop`."""

    batch: SpooledBatch
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.stop - self.start

    @property
    def nbytes(self) -> int:
        """Bytes of their records."""
        return self.batch.rows.bytes_between(self.start, self.stop)

    @property
    def ends_batch(self) -> bool:
        """Whether the batch is settled when these rows are, and all before them are."""
        return self.stop == len(self.batch.rows)

    def records(self) -> list[bytes]:
        """The encoded rows, in order."""
        return self.batch.rows.slice(self.start, self.stop)


@dataclass(slots=True)
class Call:
    """Rows that go to Zerobus in one call: pieces of consecutive batches of one schema."""

    schema_id: str
    pieces: list[Piece]
    rows: int
    nbytes: int
    offset: int | None = None
    """Number that the stream gave the call when it was sent; None before that."""
    aside: bool = False
    """Whether the rows are kept elsewhere, and not sent: settled once all before them is."""

    @property
    def too_large(self) -> bool:
        """Whether it is one record with more bytes than any call may have."""
        return self.nbytes > MAX_CALL_BYTES

    def records(self) -> list[bytes]:
        """The encoded rows, in order."""
        if len(self.pieces) == 1:
            return self.pieces[0].records()
        return [record for piece in self.pieces for record in piece.records()]


class RowQueue:
    """Rows that are not on their way, in order. Not thread-safe.

    Args:
        limits: of the calls that are cut from its front.

    Attributes:
        rows: how many are in it.
        nbytes: bytes of their records.
    """

    def __init__(self, limits: CallLimits) -> None:
        self._max_records = limits.max_records
        self._max_bytes = min(limits.max_bytes, _MAX_SEVERAL_BYTES)
        self._pieces: deque[Piece] = deque()
        self.rows = 0
        self.nbytes = 0

    @property
    def schema_id(self) -> str | None:
        """The schema of the next row; None when there is none."""
        return self._pieces[0].batch.schema_id if self._pieces else None

    @property
    def has_full_call(self) -> bool:
        """Whether waiting longer could not make the next call larger, or not by much."""
        return (
            self.rows >= self._max_records
            or self.nbytes >= self._max_bytes
            or (bool(self._pieces) and self._pieces[-1].batch.schema_id != self.schema_id)
        )

    def append(self, batch: SpooledBatch) -> None:
        """Queue the rows of a batch; they follow all others."""
        self._pieces.append(Piece(batch, 0, len(batch.rows)))
        self.rows += len(batch.rows)
        self.nbytes += batch.rows.nbytes

    def put_back(self, pieces: Iterable[Piece]) -> None:
        """Queue rows, in order, that come before all others."""
        for piece in reversed(list(pieces)):
            self.rows += piece.rows
            self.nbytes += piece.nbytes
            joined = piece
            if self._pieces:
                following = self._pieces[0]
                if following.batch is piece.batch and following.start == piece.stop:
                    joined = piece._replace(stop=following.stop)
                    self._pieces.popleft()
            self._pieces.appendleft(joined)

    def cut(self, most: int | None = None) -> Call:
        """Take the next call off the front, with `most` records when that is less than the limit.

        Raises:
            IndexError: there are no rows.
        """
        most = min(self._max_records, most or self._max_records)
        schema_id = self._pieces[0].batch.schema_id
        pieces: list[Piece] = []
        rows = nbytes = 0
        while self._pieces and self._pieces[0].batch.schema_id == schema_id:
            whole = self._pieces[0]
            batch, start, stop = whole
            cut = batch.rows.stop_within(start, most - rows, self._max_bytes - nbytes)
            if cut == start:
                if rows:
                    break
                cut += 1  # larger than max_bytes: a call of its own
            cut = min(cut, stop)
            rows += cut - start
            nbytes += batch.rows.bytes_between(start, cut)
            if cut < stop:
                pieces.append(Piece(batch, start, cut))
                self._pieces[0] = Piece(batch, cut, stop)
                break
            pieces.append(whole)
            self._pieces.popleft()
        self.rows -= rows
        self.nbytes -= nbytes
        return Call(schema_id, pieces, rows, nbytes)
