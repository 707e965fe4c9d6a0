"""What is on its way to Zerobus: the `InFlight` cuts spooled batches into calls, and tracks both.

Pure bookkeeping in one order, that of the spool: batches enter at one end, rows are cut
into calls from the front, acknowledgements arrive in the order of the calls, and a batch
leaves when all of its rows are settled.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from consumer.sinks import MAX_CALL_BYTES

if TYPE_CHECKING:
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


@dataclass(slots=True)
class _Pending:
    """A batch with how many of its first rows are cut into calls, and are settled."""

    batch: SpooledBatch
    cut: int = 0
    settled: int = 0


@dataclass(slots=True)
class Call:
    """Rows that go to Zerobus in one call: pieces of consecutive batches of one schema."""

    schema_id: str
    rows: int = 0
    nbytes: int = 0
    offset: int | None = None
    """Number that the stream gave the call when it was sent; None before that."""
    set_aside: bool = False
    """Whether the rows are kept elsewhere, and not sent: settled once all before them is."""
    refused: bool = False
    """Whether it is one record that Zerobus refuses: not sent, settled when a later call is."""
    parts: list[tuple[_Pending, int, int]] = field(default_factory=list)

    @property
    def too_large(self) -> bool:
        """Whether it is one record with more bytes than any call may have."""
        return self.nbytes > MAX_CALL_BYTES

    def records(self) -> list[bytes]:
        """The encoded rows, in order."""
        if len(self.parts) == 1:
            pending, start, stop = self.parts[0]
            return pending.batch.rows.slice(start, stop)
        return [
            record
            for pending, start, stop in self.parts
            for record in pending.batch.rows.slice(start, stop)
        ]

    def pieces(self) -> list[tuple[SpooledBatch, int, int]]:
        """Which rows of which batches they are."""
        return [(pending.batch, start, stop) for pending, start, stop in self.parts]


class InFlight:
    """Batches between the spool and their acknowledgement. Not thread-safe."""

    def __init__(self, limits: CallLimits) -> None:
        self._limits = limits
        self._max_bytes = min(limits.max_bytes, _MAX_SEVERAL_BYTES)
        self._uncut: deque[_Pending] = deque()
        self._cut: deque[_Pending] = deque()
        self._calls: deque[Call] = deque()
        self.uncut_rows = 0
        self.uncut_bytes = 0
        self.inflight_rows = 0
        self.inflight_bytes = 0
        self.refused: dict[tuple[int, int], str] = {}
        """Records that Zerobus refuses, by batch id and row, with its words."""

    @property
    def inflight_calls(self) -> int:
        """Calls that were sent and are not settled."""
        return len(self._calls)

    @property
    def batches(self) -> int:
        """Batches in here."""
        return len(self._cut) + len(self._uncut)

    @property
    def next_schema_id(self) -> str | None:
        """The schema of the next row to be cut, None when all are."""
        return self._uncut[0].batch.schema_id if self._uncut else None

    @property
    def has_full_call(self) -> bool:
        """Whether waiting longer could not make the next call larger, or not by much."""
        return (
            self.uncut_rows >= self._limits.max_records
            or self.uncut_bytes >= self._max_bytes
            or (bool(self._uncut) and self._uncut[-1].batch.schema_id != self.next_schema_id)
        )

    def add(self, batch: SpooledBatch) -> None:
        """Take a batch that follows all others in the spool."""
        self._uncut.append(_Pending(batch))
        self.uncut_rows += len(batch.rows)
        self.uncut_bytes += batch.rows.nbytes

    @property
    def waits_for_refused_only(self) -> bool:
        """Whether nothing is left but records that Zerobus refuses."""
        return not self._uncut and bool(self._calls) and all(c.refused for c in self._calls)

    def cut(self, max_records: int | None = None) -> Call:
        """Cut the next call: as many of the next rows as the limits allow, at least one.

        It counts as in flight from now on. The caller sends it and notes the offset, or
        sets it aside. A call that is `refused` is one record, and is not to be sent.
        """
        first = self._uncut[0]
        call = Call(first.batch.schema_id)
        most = min(max_records or self._limits.max_records, self._limits.max_records)
        while self._uncut:
            pending = self._uncut[0]
            rows = pending.batch.rows
            if pending.batch.schema_id != call.schema_id:
                break
            start = pending.cut
            stop = rows.stop_within(start, most - call.rows, self._max_bytes - call.nbytes)
            if self.refused:
                refused = self._next_refused(pending)
                if refused == start:
                    if call.rows:
                        break
                    call.refused = True
                    stop = start + 1
                else:
                    stop = min(stop, refused)
            if stop == start < len(rows):
                if call.rows:
                    break
                stop = start + 1  # larger than max_bytes: a call of its own
            call.rows += stop - start
            call.nbytes += rows.bytes_between(start, stop)
            call.parts.append((pending, start, stop))
            pending.cut = stop
            if stop < len(rows):
                break
            self._cut.append(self._uncut.popleft())
            if call.refused:
                break
        self.uncut_rows -= call.rows
        self.uncut_bytes -= call.nbytes
        self.inflight_rows += call.rows
        self.inflight_bytes += call.nbytes
        self._calls.append(call)
        return call

    def _next_refused(self, pending: _Pending) -> int:
        """The first row of a batch, from where it is cut on, that is refused."""
        batch_id = pending.batch.batch_id
        rows = [row for each, row in self.refused if each == batch_id and row >= pending.cut]
        return min(rows, default=len(pending.batch.rows))

    def settle_refused(self) -> list[SpooledBatch]:
        """The refused records are kept elsewhere, and nothing else is on its way."""
        for call in self._calls:
            call.set_aside = call.refused
        return self.settle(-1)[0]

    def settle(self, offset: int) -> tuple[list[SpooledBatch], int]:
        """Every call up to `offset` is acknowledged; -1 when none is, but one was set aside.

        Returns:
            The batches that are finished by it, in order, and the rows acknowledged.
        """
        rows = 0
        acknowledged = [
            index
            for index, call in enumerate(self._calls)
            if call.offset is not None and call.offset <= offset
        ]
        last = acknowledged[-1] if acknowledged else -1
        for position in range(len(self._calls)):
            call = self._calls[0]
            if position > last and not call.set_aside:
                break
            if call.offset is not None:
                rows += call.rows
            if call.refused:
                batch, start, _ = call.pieces()[0]
                self.refused.pop((batch.batch_id, start), None)
            self._calls.popleft()
            self.inflight_rows -= call.rows
            self.inflight_bytes -= call.nbytes
            for pending, _, stop in call.parts:
                pending.settled = stop
        finished: list[SpooledBatch] = []
        while self._cut and self._cut[0].settled == len(self._cut[0].batch.rows):
            finished.append(self._cut.popleft().batch)
        return finished, rows

    @property
    def awaited_calls(self) -> int:
        """Calls in flight without the refused records among them, which are not sent."""
        return len(self._calls) - len(self.refused_calls())

    def refused_calls(self) -> list[Call]:
        """The refused records that are waited for."""
        return [call for call in self._calls if call.refused] if self.refused else []

    def rewind(self) -> list[Call]:
        """The stream is dead: what it did not acknowledge is to be cut and sent again.

        Returns:
            The calls that were sent and not settled.
        """
        lost = [call for call in self._calls if call.offset is not None]
        self._calls.clear()
        self.inflight_rows = self.inflight_bytes = 0
        self._uncut.extendleft(reversed(self._cut))
        self._cut.clear()
        self.uncut_rows = self.uncut_bytes = 0
        for pending in self._uncut:
            rows = pending.batch.rows
            pending.cut = pending.settled
            self.uncut_rows += len(rows) - pending.cut
            self.uncut_bytes += rows.bytes_between(pending.cut, len(rows))
        return lost
