"""Delivery: from the spool, over a stream, to the acknowledgement, and only then the trim.

One thread per table follows the spool in its order and owns the stream. Rows leave the
spool when Zerobus has acknowledged them as durable; whatever happens before that, they
are sent again. So every row arrives at least once, and `event_id` names duplicates.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consumer.delivery_types import DeliveryOptions, DeliveryStats, StreamState
from consumer.errors import FailureKind, SinkFailure, SpoolError
from consumer.handover import Handover
from consumer.outbox import Outbox
from consumer.poison_search import PoisonSearch
from consumer.zerobus import Acknowledged, StreamEvent, ZerobusIngestStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.outbox import Call
    from consumer.spool import Spool, SpooledBatch
    from consumer.zerobus import ZerobusSink

_LOG = logging.getLogger(__name__)

_TRIM_BATCHES: Final = 64
_CHURN_SECONDS: Final = 60.0
# A stream that lived this long may be ended by the service without being a failure.
_LIVED_SECONDS: Final = 10.0
# Bounds what many tiny batches cost beside their rows.
_MAX_BATCHES: Final = 10_000
# So many records refused one after the other are no poison: it is the table.
_MOST_REFUSED: Final = 100
# Once that was so, this many are tried before waiting again.
_MOST_PROBED: Final = 10
# What another attempt cannot cure by itself: wait longer, and say that it is blocked.
_BLOCKING: Final = frozenset(
    {
        FailureKind.CONTRACT,
        FailureKind.POISON,
        FailureKind.PERMANENT,
        FailureKind.TOO_LARGE,
    }
)


class Delivery:
    """Sends one table's spooled batches, in order, from a thread of its own.

    Args:
        spool: holds the batches; each is trimmed when all of it is acknowledged.
        sink: opens the streams.
        table: `catalog.schema.table`.
        schema_id: the descriptor that new batches are encoded for; a stream is opened
            for it at start, also when nothing waits. Older batches get theirs.
        options: see `DeliveryOptions`.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        chance: random numbers from 0 to 1, for the pauses.
    """

    def __init__(
        self,
        spool: Spool,
        sink: ZerobusSink,
        table: str,
        schema_id: str,
        options: DeliveryOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.table = table
        self.options = options or DeliveryOptions()
        self._spool = spool
        self._sink = sink
        self._schema_id = schema_id
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._handover = Handover(
            spool,
            table,
            max_bytes=self.options.handover_bytes,
            read_bytes=self.options.read_bytes,
        )
        self._outbox = Outbox(self.options.limits)
        self._search = PoisonSearch()
        self._lost: list[Call] = []  # calls of the last stream that were not acknowledged
        self._mismatch = False  # records of all sorts are refused: no poison, the table
        self._events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self._awake = threading.Event()  # a wake-up is in the queue already
        self._stopping = threading.Event()
        self._draining = 0
        self._changed = threading.Condition()
        self._stats = DeliveryStats()
        self._finished: list[int] = []
        self._trimmed_at = 0.0
        self._waiting_since: float | None = None
        self._progress_at = 0.0
        self._attempts: Counter[FailureKind] = Counter()  # in vain, of each kind
        self._attempt = 0  # of the kind of the last failure
        self._opened: deque[float] = deque(maxlen=self.options.max_reconnects)
        self._logged_at: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name=f"delivery {table}", daemon=True)

    # -- for other threads ------------------------------------------------------------

    def start(self) -> None:
        """Start sending, from the oldest batch in the spool on."""
        self._thread.start()

    def submit(self, batch: SpooledBatch) -> None:
        """Hand over a batch that was just appended to the spool: all of the table's, in order.

        Raises:
            ValueError: the batch is of another table.
        """
        self._handover.offer(batch)
        self._wake()

    def wake(self) -> None:
        """Batches were appended that are not handed over: read them from the spool."""
        self._handover.look_again()
        self._wake()

    def drain(self, timeout: float) -> int:
        """Send without waiting for fuller calls until nothing is left, or `timeout` seconds.

        Returns:
            The table's rows that remain in the spool.
        """
        deadline = self._clock() + timeout
        with self._changed:
            self._draining += 1
            self._wake()
            while self._spool.pending_rows(self.table) and self._thread.is_alive():
                left = deadline - self._clock()
                if left <= 0:
                    break
                self._changed.wait(min(left, 0.5))
            self._draining -= 1
        return self._spool.pending_rows(self.table)

    def stop(self, timeout: float) -> bool:
        """Stop sending and close the stream. What is not acknowledged stays spooled.

        Returns:
            Whether the thread has ended within `timeout` seconds; if not, it is waiting
            for the network, and ends with the process.
        """
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def stats(self) -> DeliveryStats:
        """Counters and state at this moment."""
        with self._changed:
            return replace(self._stats, lagging=self._handover.lagging)

    @property
    def is_open(self) -> bool:
        """Whether a stream is open at this moment."""
        return self._stats.state is StreamState.OPENED

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
                _LOG.exception("delivery to %s: unexpected error", self.table)
                failure = SinkFailure(FailureKind.PERMANENT, f"{type(error).__name__}: {error}")
            finally:
                if stream is not None:
                    self._abandon(stream)
            if failure is not None:
                self._fail(failure)
                # Its frames hold the stream, which is to go now, not when it pleases.
                failure.__traceback__ = failure.__cause__ = failure.__context__ = None
            self._pause()
        with suppress(SpoolError):  # acknowledged, but not trimmed: sent again, no loss
            self._trim(everything=True)
        self._update(state=StreamState.CLOSED)

    def _open(self) -> ZerobusIngestStream:
        self._update(state=StreamState.CONNECTING)
        self._load()
        schema_id = self._outbox.next_schema_id or self._schema_id
        descriptor = self._spool.schema(schema_id)
        stream = self._sink.open_stream(self.table, descriptor, schema_id, self._events)
        now = self._clock()
        self._opened.append(now)
        self._progress_at = now
        first = self._stats.generation == 0
        self._update(
            state=StreamState.OPENED,
            generation=stream.generation,
            reconnects=self._stats.reconnects + (0 if first else 1),
            last_acked_offset=-1,
        )
        _LOG.info(
            "stream to %s opened (generation %d)",
            self.table,
            stream.generation,
            extra={"table": self.table, "generation": stream.generation},
        )
        return stream

    def _serve(self, stream: ZerobusIngestStream) -> None:
        """Send until the stream ends, another schema's turn has come, or we stop."""
        while not self._stopping.is_set():
            self._load()
            if self._outbox.next_schema_id not in (None, stream.schema_id):
                if not self._outbox.inflight_calls:
                    return
            else:
                self._send_ready(stream)
            if self._outbox.waits_for_refused_only:
                self._keep_refused()
                self._finished += [batch.batch_id for batch in self._outbox.settle_refused()]
            self._trim(everything=not self._outbox.inflight_calls)
            self._receive(stream, self._patience())
            self._watch()

    def _load(self) -> None:
        # As much as is needed to keep calls full, so that memory stays bounded.
        outbox = self._outbox
        while (
            outbox.uncut_bytes + outbox.inflight_bytes < self.options.max_inflight_bytes
            and outbox.batches < _MAX_BATCHES
        ):
            batches = self._handover.take()
            if not batches:
                break
            for batch in batches:
                outbox.add(batch)
        if not outbox.uncut_rows:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._clock()

    def _send_ready(self, stream: ZerobusIngestStream) -> None:
        outbox, options = self._outbox, self.options
        while (
            outbox.next_schema_id == stream.schema_id
            and outbox.inflight_calls < self._most_inflight
            and (not outbox.inflight_calls or outbox.inflight_bytes < options.max_inflight_bytes)
            and self._is_due()
        ):
            if not outbox.inflight_calls:
                self._progress_at = self._clock()
            call = outbox.cut(self._search.step if self._search.active else None)
            self._waiting_since = self._clock() if outbox.uncut_rows else None
            if call.too_large:
                self._set_aside(call)
                continue
            if call.refused:
                continue
            call.offset = stream.send(call.records())
            self._update(
                rows_sent=self._stats.rows_sent + call.rows,
                calls_sent=self._stats.calls_sent + 1,
            )

    @property
    def _most_inflight(self) -> int:
        """Calls that may be on their way. Refused ones, which are not sent, come on top."""
        waiting = len(self._outbox.refused)
        return waiting + (1 if self._search.active else self.options.max_inflight)

    def _is_due(self) -> bool:
        if self._outbox.has_full_call or not self._outbox.inflight_calls or self._draining:
            return True
        if self._search.active:
            return True
        return (
            self._waiting_since is not None
            and self._clock() - self._waiting_since >= self.options.max_delay
        )

    def _patience(self) -> float:
        """How long nothing has to be done unless something happens."""
        now = self._clock()
        deadline = now + 60.0
        if self._outbox.inflight_calls:
            deadline = min(deadline, self._progress_at + self.options.ack_timeout)
            if self._waiting_since is not None:
                deadline = min(deadline, self._waiting_since + self.options.max_delay)
            if self._outbox.inflight_calls >= self._most_inflight:
                deadline = self._progress_at + self.options.ack_timeout
        if self._finished:
            deadline = min(deadline, self._trimmed_at + self.options.trim_interval)
        return max(0.0, deadline - now)

    def _receive(self, stream: ZerobusIngestStream, patience: float) -> None:
        """Wait for something to happen, then take all that has."""
        try:
            event = self._events.get(timeout=patience)
            while True:
                if event is None:
                    self._awake.clear()
                elif event.generation == stream.generation:
                    if not isinstance(event, Acknowledged):
                        raise stream.failure()
                    self._acknowledge(event.offset)
                event = self._events.get_nowait()
        except queue.Empty:
            pass

    def _acknowledge(self, offset: int) -> None:
        calls = self._outbox.inflight_calls
        self._keep_refused()
        finished, rows = self._outbox.settle(offset)
        self._search.passed(rows)
        self._mismatch = False
        self._finished += [batch.batch_id for batch in finished]
        if rows:
            self._progress_at = self._clock()
            if self._attempt:
                _LOG.info("delivery to %s works again", self.table, extra={"table": self.table})
            self._attempts.clear()
            self._attempt = 0
            self._logged_at.clear()
        self._update(
            rows_acked=self._stats.rows_acked + rows,
            calls_acked=self._stats.calls_acked + calls - self._outbox.inflight_calls,
            last_acked_offset=max(offset, self._stats.last_acked_offset),
            last_ack_time=self._wall_clock(),
            cause=None,
            cause_kind=None,
        )

    def _watch(self) -> None:
        """Give a stream up that accepts but does not acknowledge.

        The SDK's own timer is reset by acknowledgements that bring nothing new.
        """
        waited = self._clock() - self._progress_at
        if self._outbox.inflight_calls and waited >= self.options.ack_timeout:
            raise SinkFailure(
                FailureKind.RETRIABLE,
                f"no acknowledgement for {waited:.0f} s with "
                f"{self._outbox.inflight_calls} calls in flight",
            )

    def _set_aside(self, call: Call) -> None:
        error = f"the record has {call.nbytes} bytes, more than a call to Zerobus may have"
        for batch, start, stop in call.pieces():
            if self._spool.set_aside(
                batch, start, stop, reason=FailureKind.TOO_LARGE.value, error=error
            ):
                self._update(rows_set_aside=self._stats.rows_set_aside + stop - start)
                self._log("set_aside", "row %d of batch %d: %s", start, batch.batch_id, error)
        call.set_aside = True
        finished, _ = self._outbox.settle(-1)
        self._finished += [batch.batch_id for batch in finished]

    def _keep_refused(self) -> None:
        """Records behind the refused ones get through: keep these as dead letters."""
        for call in self._outbox.refused_calls():
            [(batch, start, stop)] = call.pieces()
            error = self._outbox.refused[batch.batch_id, start]
            if self._spool.set_aside(
                batch, start, stop, reason=FailureKind.POISON.value, error=error
            ):
                self._update(rows_set_aside=self._stats.rows_set_aside + 1)
                self._log("poison", "row %d of batch %d is refused, kept as a dead letter: %s",
                          start, batch.batch_id, error)  # fmt: skip

    def _trim(self, *, everything: bool) -> None:
        now = self._clock()
        if self._finished and (
            everything
            or len(self._finished) >= _TRIM_BATCHES
            or now - self._trimmed_at >= self.options.trim_interval
        ):
            self._spool.trim(self._finished)
            self._finished = []
            self._trimmed_at = now
            self._update()

    def _abandon(self, stream: ZerobusIngestStream) -> None:
        """Close, take the acknowledgements that still came, and put the rest back."""
        stream.close()
        with suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, Acknowledged) and event.generation == stream.generation:
                    self._acknowledge(event.offset)
        self._awake.clear()
        self._lost = self._outbox.rewind()

    # -- failures ---------------------------------------------------------------------

    def _fail(self, failure: SinkFailure) -> None:
        kind = failure.kind
        if kind is FailureKind.ENDED and (
            self._stats.last_acked_offset >= 0 or self._clock() - self._opened[-1] >= _LIVED_SECONDS
        ):
            self._update(rotations=self._stats.rotations + 1)
            _LOG.info(
                "the service ended the stream to %s, opening the next",
                self.table,
                extra={"table": self.table},
            )
            return
        lost = sum(call.rows for call in self._lost)
        if kind is FailureKind.POISON and lost:
            found = self._search.refused(lost)
            if found:
                [(batch, row, _)] = self._lost[0].pieces()
                self._outbox.refused[batch.batch_id, row] = str(failure)
            if len(self._outbox.refused) < (_MOST_PROBED if self._mismatch else _MOST_REFUSED):
                self._opened.pop()  # a stream of the search does not count as churn
                self._update(poison_probes=self._stats.poison_probes + 1)
                return
            self._mismatch = True
            failure = SinkFailure(
                FailureKind.CONTRACT,
                f"{len(self._outbox.refused)} records one after the other are refused, so it is "
                f"the table that does not fit: {failure}",
            )
            kind = failure.kind
            self._outbox.refused.clear()
        elif lost:
            # The half of the stream that noticed may not know the reason.
            self._search.look_closely(lost)
        # Each kind for itself: an outage before does not make a refused token a lasting trouble.
        self._attempts[kind] += 1
        self._attempt = self._attempts[kind]
        blocked = kind in _BLOCKING or (kind is FailureKind.AUTHENTICATION and self._attempt > 1)
        first = self._stats.cause is None
        self._update(
            state=StreamState.BLOCKED if blocked else StreamState.BACKING_OFF,
            failures=self._stats.failures + 1,
            cause=str(failure) if first else self._stats.cause,
            cause_kind=kind if first else self._stats.cause_kind,
        )
        self._log(
            kind.value,
            "delivery to %s failed (%s, attempt %d), rows stay spooled: %s",
            self.table,
            kind.value,
            self._attempt,
            failure,
        )

    def _pause(self) -> None:
        """Wait as long as the last failure deserves, unless we stop."""
        now = self._clock()
        pause = 0.0
        if self._attempt:
            blocked = self._stats.state is StreamState.BLOCKED
            backoff = self.options.blocked_retry if blocked else self.options.retry
            pause = backoff.pause(self._attempt, self._chance)
        if len(self._opened) == self._opened.maxlen and now - self._opened[0] < _CHURN_SECONDS:
            pause = max(pause, self.options.retry.pause(32, self._chance))
            if self._stats.state is not StreamState.BLOCKED:
                self._update(state=StreamState.BACKING_OFF)
            self._log(
                "churn",
                "%d streams to %s within a minute, pausing %.0f s",
                len(self._opened),
                self.table,
                pause,
            )
        self._stopping.wait(pause)

    def _log(self, key: str, text: str, *values: object) -> None:
        now = self._clock()
        logged_at = self._logged_at.get(key)
        if logged_at is None or now - logged_at >= self.options.log_interval:
            self._logged_at[key] = now
            stats = self._stats
            _LOG.warning(
                text,
                *values,
                extra={
                    "table": self.table,
                    "stream_state": stats.state.value,
                    "generation": stats.generation,
                    "failures": stats.failures,
                },
            )

    def _wake(self) -> None:
        if not self._awake.is_set():
            self._awake.set()
            self._events.put(None)

    def _update(self, **changes: object) -> None:
        with self._changed:
            self._stats = replace(
                self._stats,
                inflight_calls=self._outbox.inflight_calls,
                inflight_rows=self._outbox.inflight_rows,
                **changes,  # type: ignore[arg-type] # names and types are DeliveryStats'
            )
            self._changed.notify_all()
