"""One stream of a table: from the spool to the acknowledgement.

One thread follows the spool in its order and owns the stream. Whatever was not
acknowledged is sent again, so every row arrives at least once, and `event_id` names
duplicates.
"""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from consumer.delivery.health import StreamHealth
from consumer.delivery.in_flight import InFlight
from consumer.delivery.refusals import Refusals
from consumer.delivery.settled import SettledBatches
from consumer.delivery.stats import DeliveryStats, StreamState
from consumer.delivery.supply import Supply
from consumer.errors import FailureKind, SinkFailure, SpoolError
from consumer.sinks import Acknowledged, StreamEvent, difference

if TYPE_CHECKING:
    from consumer.delivery.in_flight import Call
    from consumer.delivery.shared import SharedOfTable
    from consumer.sinks import ZerobusIngestStream
    from consumer.spool import SpooledBatch

_LOG = logging.getLogger("consumer.delivery")

# A stream that lived this long may be ended by the service without being a failure.
_LIVED_SECONDS: Final = 10.0


class StreamSender:
    """Sends the rows of one stream, in order, from a thread of its own.

    Args:
        shared: what all streams of the table are given.
        index: which of them it is, from 0.
    """

    def __init__(self, shared: SharedOfTable, index: int) -> None:
        self._shared = shared
        options = self._options = shared.options
        self._clock = shared.clock
        name = shared.name_of(index)
        # The thread's own, also written by health and refusals; others see what was told last.
        self._stats = DeliveryStats()
        self._told = self._stats.copy()
        self._health = StreamHealth(
            shared.table, name, options, shared.clock, shared.chance, stats=self._stats
        )
        self._in_flight = InFlight(options.limits)
        self._refusals = Refusals(
            shared.spool,
            self._in_flight,
            self._health,
            shared.recent,
            self._stats,
            lone_refusal=options.lone_refusal,
            clock=shared.clock,
        )
        self._search = self._refusals.search
        self._settled = SettledBatches(shared)
        self._supply = Supply(shared, index, self._in_flight, self._settled)
        self._lost: list[Call] = []  # calls of the last stream that were not acknowledged
        self._events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self._awake = False  # a wake-up is in the queue already
        self._stopping = threading.Event()
        self._hurried = False
        self._waiting_since: float | None = None
        self._progress_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"delivery {name}", daemon=True)

    # -- for other threads ------------------------------------------------------------

    def start(self) -> None:
        """Start sending, from the oldest batch in the spool on."""
        self._thread.start()

    def submit(self, batch: SpooledBatch) -> None:
        """Hand over a batch that was just appended: all of the table's, in order."""
        self._supply.handover.offer(batch)
        self.nudge()

    def wake(self) -> None:
        """Batches were appended that are not handed over: read them from the spool."""
        self._supply.handover.look_again()
        self.nudge()

    def hurry(self, *, hurried: bool) -> None:
        """Send without waiting for fuller calls, or wait again."""
        self._hurried = hurried
        self.nudge()

    def nudge(self) -> None:
        """Let the thread look whether there is something to do."""
        if not self._awake:
            self._awake = True
            self._events.put(None)

    def request_stop(self) -> None:
        """Stop sending and close the stream. What is not acknowledged stays spooled."""
        self._stopping.set()
        self.nudge()

    def join(self, timeout: float) -> bool:
        """Whether the thread has ended within `timeout` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stats(self) -> DeliveryStats:
        """Counters and state at this moment."""
        stats = self._told.copy()
        stats.lagging = self._supply.handover.lagging
        return stats

    @property
    def is_open(self) -> bool:
        """Whether a stream is open at this moment, and nothing speaks against it."""
        return self._told.state is StreamState.OPENED

    # -- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            stream: ZerobusIngestStream | None = None
            failure: SinkFailure | None = None
            self._lost = []
            try:
                stream = self._open()
                self._serve(stream)
            except SinkFailure as error:
                failure = error
            except SpoolError as error:
                failure = SinkFailure(FailureKind.PERMANENT, str(error))
            except Exception as error:  # noqa: BLE001 - see below
                # A defect of ours must not end the delivery for good.
                if self._options.log_budget.allows("delivery_defect", self._health.name, ours=True):
                    _LOG.exception("delivery to %s: unexpected error", self._health.name)
                failure = SinkFailure(FailureKind.PERMANENT, f"{type(error).__name__}: {error}")
            finally:
                if stream is not None:
                    self._abandon(stream)
            with suppress(SpoolError):  # tried again behind the pause
                self._settled.trim()
            at_once = False
            if failure is not None:
                at_once = self._fail(failure)
                # Its frames hold the stream, which is to go now, not when it pleases.
                failure.__traceback__ = failure.__cause__ = failure.__context__ = None
            pause = 0.0 if at_once else self._health.pause()
            self._tell()
            self._stopping.wait(pause)
        with suppress(SpoolError):  # acknowledged, but not trimmed: sent again, no loss
            self._settled.trim()
        self._health.closed()
        self._tell()

    def _open(self) -> ZerobusIngestStream:
        self._health.connecting()
        self._tell()
        self._load()
        shared = self._shared
        schema_id = self._in_flight.next_schema_id or shared.schema_id
        descriptor = shared.spool.schemas.descriptor(schema_id)
        try:
            stream = shared.sink.open_stream(shared.table, descriptor, schema_id, self._events)
        except SinkFailure as failure:
            if failure.kind is FailureKind.CONTRACT:
                raise _explained(failure, descriptor) from failure
            raise
        self._progress_at = self._clock()
        self._health.opened(stream.generation, rows_wait=self._in_flight.uncut_rows > 0)
        self._tell()
        return stream

    def _serve(self, stream: ZerobusIngestStream) -> None:
        """Send until the stream ends, another schema's turn has come, or we stop."""
        while not self._stopping.is_set():
            self._load()
            if self._in_flight.next_schema_id not in (None, stream.schema_id):
                if not self._in_flight.inflight_calls:
                    return
            else:
                self._send_ready(stream)
            self._settled.add(self._refusals.judge(stream.schema_id))
            self._trim()
            self._receive(stream, self._patience())
            self._watch()

    def _load(self) -> None:
        self._supply.load()
        if not self._in_flight.uncut_rows:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._clock()

    def _send_ready(self, stream: ZerobusIngestStream) -> None:
        in_flight, options = self._in_flight, self._options
        while (
            in_flight.next_schema_id == stream.schema_id
            and in_flight.inflight_calls < self._most_inflight
            and (
                not in_flight.inflight_calls
                or in_flight.inflight_bytes < options.max_inflight_bytes
            )
            and self._is_due()
        ):
            if not in_flight.inflight_calls:
                self._progress_at = self._clock()
            call = in_flight.cut(self._search.step if self._search.active else None)
            self._waiting_since = self._clock() if in_flight.uncut_rows else None
            if call.too_large:
                self._settled.add(self._refusals.set_aside(call))
                continue
            if call.refused:
                continue
            call.offset = stream.send(call.records())
            self._stats.rows_sent += call.rows
            self._stats.calls_sent += 1
            self._tell()

    @property
    def _most_inflight(self) -> int:
        """Calls that may be on their way. Refused ones, which are not sent, come on top."""
        waiting = len(self._in_flight.refused)
        return waiting + (1 if self._search.active else self._options.max_inflight)

    def _is_due(self) -> bool:
        if self._in_flight.has_full_call or not self._in_flight.awaited_calls or self._hurried:
            return True
        if self._search.active:
            return True
        return (
            self._waiting_since is not None
            and self._clock() - self._waiting_since >= self._options.max_delay
        )

    def _patience(self) -> float:
        """How long nothing has to be done unless something happens."""
        now = self._clock()
        deadline = now + 60.0
        if self._in_flight.inflight_calls:
            deadline = min(deadline, self._progress_at + self._options.ack_timeout)
            if self._waiting_since is not None:
                deadline = min(deadline, self._waiting_since + self._options.max_delay)
            if self._in_flight.inflight_calls >= self._most_inflight:
                deadline = self._progress_at + self._options.ack_timeout
        if self._refusals.due is not None:  # refused records wait for no acknowledgement
            deadline = self._refusals.due
        trim_at = self._settled.trim_at(idle=not self._in_flight.inflight_calls)
        if trim_at is not None:
            deadline = min(deadline, trim_at)
        if self._supply.look_again_in is not None:
            deadline = min(deadline, now + self._supply.look_again_in)
        return max(0.0, deadline - now)

    def _receive(self, stream: ZerobusIngestStream, patience: float) -> None:
        """Wait for something to happen, then take all that has."""
        try:
            event = self._events.get(timeout=patience)
            while True:
                if event is None:
                    self._awake = False
                elif event.generation == stream.generation:
                    if not isinstance(event, Acknowledged):
                        raise stream.failure()
                    self._acknowledge(event.offset)
                event = self._events.get_nowait()
        except queue.Empty:
            pass

    def _acknowledge(self, offset: int) -> None:
        self._refusals.keep()
        finished, rows = self._in_flight.settle(offset)
        self._search.passed(rows)
        self._settled.add(
            [batch.batch_id for batch in finished], sum(batch.rows.nbytes for batch in finished)
        )
        if self._shared.ages is not None:
            self._shared.ages.acknowledged(finished)
        if rows:
            self._progress_at = self._clock()
            self._health.progressed()
        self._stats.rows_acked += rows
        self._stats.last_acked_offset = max(offset, self._stats.last_acked_offset)
        self._stats.last_ack_time = self._shared.wall_clock()
        self._tell()

    def _watch(self) -> None:
        """Give a stream up that accepts but does not acknowledge.

        The SDK's own timer is reset by acknowledgements that bring nothing new.
        """
        waited = self._clock() - self._progress_at
        sent = self._in_flight.awaited_calls
        if sent and waited >= self._options.ack_timeout:
            raise SinkFailure(
                FailureKind.RETRIABLE,
                f"no acknowledgement for {waited:.0f} s with {sent} calls in flight",
            )

    def _trim(self) -> None:
        idle = not self._in_flight.inflight_calls
        if (self._hurried or self._settled.is_due(idle=idle)) and self._settled.trim():
            self._tell()

    def _abandon(self, stream: ZerobusIngestStream) -> None:
        """Close, take the acknowledgements that still came, and put the rest back."""
        stream.close()
        with suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, Acknowledged) and event.generation == stream.generation:
                    self._acknowledge(event.offset)
        self._awake = False
        self._refusals.due = None
        self._lost = self._in_flight.rewind()

    # -- failures ---------------------------------------------------------------------

    def _fail(self, failure: SinkFailure) -> bool:
        """Take in why a stream ended.

        Returns:
            Whether to go on at once: a bad record is being searched.
        """
        kind = failure.kind
        if kind is FailureKind.ENDED and (
            self._stats.last_acked_offset >= 0
            or self._clock() - self._health.opened_at >= _LIVED_SECONDS
        ):
            self._health.rotated()
            self._tell()
            return False
        lost = sum(call.rows for call in self._lost)
        if kind is FailureKind.POISON and lost:
            schema_id = self._lost[0].schema_id
            mismatch = self._refusals.refused(failure, self._lost, schema_id)
            if mismatch is None:
                self._tell()
                return True
            failure = mismatch
        elif lost:
            # The half of the stream that noticed may not know the reason.
            self._search.look_closely(lost)
        self._health.failed(failure)
        if self._health.probing:
            self._search.probe()
        self._tell()
        return False

    def _tell(self) -> None:
        """Let others see the statistics as they are now."""
        self._stats.inflight_calls = self._in_flight.inflight_calls
        self._stats.inflight_rows = self._in_flight.inflight_rows
        told = self._stats.copy()
        with self._shared.changed:
            self._told = told
            self._shared.changed.notify_all()


def _explained(failure: SinkFailure, descriptor: bytes) -> SinkFailure:
    words = str(failure)
    return SinkFailure(failure.kind, f"{words} ({difference(words, descriptor)})")
