"""Rows on their way as pieces of spooled batches, cut into calls in the order of the spool."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
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
        """Whether the batch is settled when these rows are, and all before them."""
        return self.stop == len(self.batch.rows)

    def records(self) -> list[bytes]:
        """The encoded rows, in order."""
        return self.batch.rows.slice(self.start, self.stop)


@dataclass(slots=True)
class Call:
    """Rows that go to Zerobus in one call: pieces of consecutive batches of one schema."""

    schema_id: str
    pieces: list[Piece] = field(default_factory=list)
    rows: int = 0
    nbytes: int = 0
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

    def append(self, piece: Piece) -> None:
        """Queue rows that follow all others."""
        self._pieces.append(piece)
        self.rows += piece.rows
        self.nbytes += piece.nbytes

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
        call = Call(self._pieces[0].batch.schema_id)
        while self._pieces and self._pieces[0].batch.schema_id == call.schema_id:
            whole = self._pieces.popleft()
            stop = whole.batch.rows.stop_within(
                whole.start, most - call.rows, self._max_bytes - call.nbytes
            )
            if stop == whole.start and not call.rows:
                stop += 1  # larger than max_bytes: a call of its own
            piece = whole._replace(stop=min(stop, whole.stop))
            if piece.rows:
                call.pieces.append(piece)
                call.rows += piece.rows
                call.nbytes += piece.nbytes
            if piece.stop < whole.stop:
                self._pieces.appendleft(whole._replace(start=piece.stop))
                break
        self.rows -= call.rows
        self.nbytes -= call.nbytes
        return call
