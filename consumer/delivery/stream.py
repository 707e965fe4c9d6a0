"""One stream of a table: from the spool to the acknowledgement.

One thread follows the spool in its order and owns the stream. Whatever was not
acknowledged is sent again, so every row arrives at least once, and `event_id` names
duplicates.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from consumer.delivery.bisection import Bisection
from consumer.delivery.blame import TableBlame
from consumer.delivery.dead_letters import LettersOfStream
from consumer.delivery.health import StreamHealth
from consumer.delivery.in_flight import InFlight
from consumer.delivery.open_stream import Mailbox, OpenStream
from consumer.delivery.parts import BisectionParts
from consumer.delivery.progress import StreamProgress
from consumer.delivery.slow_start import SlowStart
from consumer.delivery.stats import DeliveryStats, StreamState
from consumer.delivery.supply import Supply
from consumer.delivery.suspects import Suspects
from consumer.errors import FailureKind, SinkFailure, SpoolError
from consumer.sinks import difference

if TYPE_CHECKING:
    from consumer.delivery.calls import Call, Piece
    from consumer.delivery.shared import SharedOfTable

_LOG = logging.getLogger("consumer.delivery")

# A stream that lived this long may be ended by the service without being a failure.
_LIVED_SECONDS: Final = 10.0


class StreamSender:
    """Sends the rows of one stream of a table, in order, from a thread of its own.

    It opens one stream of the service after the other for that, each an `OpenStream`.

    Calls that are lost because the service refuses a record go through a `Bisection`, whatever
    else waits. All others go through the window, `InFlight`.

    Args:
        shared: what all streams of the table are given.
        index: which of them it is, from 0.
    """

    def __init__(self, shared: SharedOfTable, index: int) -> None:
        self._shared = shared
        self._index = index
        self._options = shared.options
        self._clock = shared.clock
        name = shared.name_of(index)
        # The thread's own, also written by its parts; others see what was told last.
        self._stats = DeliveryStats()
        self._health = StreamHealth(
            shared.table, name, shared.options, shared.clock, shared.chance, stats=self._stats
        )
        self._progress = StreamProgress(shared, self._health, self._stats)
        self._letters = LettersOfStream(shared, self._health, self._stats)
        self._blame = TableBlame()
        self._in_flight = InFlight(shared.options.limits)
        self._slow = SlowStart()
        self._bisection: Bisection | None = None
        self._supply = Supply(shared, index, self._in_flight, self._progress)
        self._mailbox = Mailbox()
        self._stopping = threading.Event()
        self._waiting_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"delivery {name}", daemon=True)

    # -- for other threads ------------------------------------------------------------

    def start(self) -> None:
        """Start sending, from the oldest batch in the spool on."""
        self._thread.start()

    def hurry(self, *, hurried: bool) -> None:
        """Send without waiting for fuller calls, or wait again."""
        self._progress.hurried = hurried
        self.nudge()

    def nudge(self) -> None:
        """Let the thread look whether there is something to do."""
        self._mailbox.nudge()

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
        stats = self._progress.told.copy()
        stats.lagging = self._shared.batches.is_lagging(self._index)
        return stats

    @property
    def is_open(self) -> bool:
        """Whether a stream is open at this moment, and nothing speaks against it."""
        return self._progress.told.state is StreamState.OPENED

    # -- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while not self.is_stopping:
            failure: SinkFailure | None = None
            try:
                self._deliver()
            except SinkFailure as error:
                failure = error
            except SpoolError as error:
                failure = SinkFailure(FailureKind.PERMANENT, str(error))
            except Exception as error:  # noqa: BLE001 - see below
                # A defect of ours must not end the delivery for good.
                if self._options.log_budget.allows("delivery_defect", self._health.name, ours=True):
                    _LOG.exception("delivery to %s: unexpected error", self._health.name)
                failure = SinkFailure(FailureKind.PERMANENT, f"{type(error).__name__}: {error}")
            with suppress(SpoolError):  # tried again behind the pause
                self._progress.settled.trim()
            at_once = False
            if failure is not None:
                at_once = self._fail(failure)
                # Its frames hold the stream, which is to go now, not when it pleases.
                failure.__traceback__ = failure.__cause__ = failure.__context__ = None
            pause = 0.0 if at_once else self._health.pause()
            self._tell()
            self._stopping.wait(pause)
        with suppress(SpoolError):  # acknowledged, but not trimmed: sent again, no loss
            self._progress.settled.trim()
        self._health.closed()
        self._tell()

    def _deliver(self) -> None:
        """Finish the search for a refused record, then send over one `OpenStream` until it ends."""
        if self._bisection is not None:
            self._bisection.run()
            self._bisection = None
        if self.is_stopping:
            return
        self._load()
        stream = self.open_stream(self._in_flight.next_schema_id or self._shared.schema_id)
        try:
            self._serve(stream)
        finally:
            stream.close()
            self._acknowledge(stream)

    def _serve(self, stream: OpenStream) -> None:
        """Send until the stream ends, another schema's turn has come, or we stop."""
        while not self.is_stopping:
            self._load()
            if self._in_flight.next_schema_id not in (None, stream.schema_id):
                if not self._in_flight.inflight_calls:
                    return
            else:
                self._send_ready(stream)
            self._progress.trim_if_due(idle=not self._in_flight.inflight_calls)
            stream.receive(self._patience(stream))
            self._acknowledge(stream)

    def _load(self) -> None:
        self._supply.load()
        if not self._in_flight.uncut_rows:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self._clock()

    def _send_ready(self, stream: OpenStream) -> None:
        in_flight = self._in_flight
        if self._shared.pause.left:
            return
        while self._may_send(stream) and self._is_due():
            call = in_flight.cut(self._slow.step if self._slow.is_active else None)
            self._waiting_since = self._clock() if in_flight.uncut_rows else None
            if call.too_large:
                self._letters.keep_too_large(call.pieces[0])
                call.aside = True
                self._progress.note_settled(in_flight.settle(-1).batches)
                continue
            stream.send(call)
            self._progress.sent(call)
            self._tell()

    def _may_send(self, stream: OpenStream) -> bool:
        """Whether another call may be on its way over this stream, once it is due."""
        in_flight, options = self._in_flight, self._options
        most_calls = 1 if self._slow.is_active else options.max_inflight
        return in_flight.next_schema_id == stream.schema_id and (
            not in_flight.inflight_calls
            or (
                in_flight.inflight_calls < most_calls
                and in_flight.inflight_bytes < options.max_inflight_bytes
            )
        )

    def _is_due(self) -> bool:
        if self._in_flight.has_full_call or not self._in_flight.inflight_calls:
            return True
        return self._progress.hurried or (
            self._waiting_since is not None
            and self._clock() - self._waiting_since >= self._options.max_delay
        )

    def _patience(self, stream: OpenStream) -> float:
        """How long nothing has to be done unless something happens."""
        now = self._clock()
        calls, paused = self._in_flight.inflight_calls, self._shared.pause.left
        filled_at = None
        # While nothing more may be sent only an acknowledgement changes that, which wakes us.
        if not paused and self._waiting_since is not None and self._may_send(stream):
            filled_at = self._waiting_since + self._options.max_delay
        times = (
            now + (paused or 60.0),
            stream.gives_up_at,
            filled_at,
            self._progress.settled.trim_at(idle=not calls),
            self.look_again_at(),
        )
        return max(0.0, min(time for time in times if time is not None) - now)

    def _acknowledge(self, stream: OpenStream) -> None:
        """Settle what the service has acknowledged since the last time."""
        if stream.acked > self._stats.last_acked_offset:
            settled = self._in_flight.settle(stream.acked)
            self._slow.passed(settled.rows)
            self._blame.lift()
            self._progress.acknowledged(settled, stream.acked)
            self._tell()

    # -- also for the search of a refused record --------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether to end as soon as possible; what is not settled stays spooled."""
        return self._stopping.is_set()

    def look_again_at(self) -> float | None:
        """When there may be more rows even if nobody says so, monotonic seconds; None: never.

        Counted from now on, so it is to be asked right behind a `load`.
        """
        wait = self._supply.look_again_in
        return None if wait is None else self._clock() + wait

    def open_stream(self, schema_id: str) -> OpenStream:
        """Open a stream for records of this schema.

        Raises:
            SinkFailure: that is not possible now.
            SpoolError: the schema is not in the spool.
        """
        shared = self._shared
        self._health.connecting()
        self._tell()
        descriptor = shared.spool.schemas.descriptor(schema_id)
        try:
            stream = shared.sink.open_stream(
                shared.table, descriptor, schema_id, self._mailbox.events
            )
        except SinkFailure as failure:
            if failure.kind is FailureKind.CONTRACT:
                raise _explained(failure, descriptor) from failure
            raise
        rows_wait = self._bisection is not None or self._in_flight.uncut_rows > 0
        self._health.opened(stream.generation, rows_wait=rows_wait)
        self._tell()
        return OpenStream(
            stream, self._mailbox, ack_timeout=self._options.ack_timeout, clock=self._clock
        )

    def wait(self, seconds: float) -> None:
        """Wait for so long at most, until something happens; for when no stream is open."""
        self._mailbox.collect(seconds)

    def one_more(self, schema_id: str) -> list[Piece]:
        """Take the next row out of the window, if there is one and it has this schema.

        Raises:
            SpoolError: the spool cannot be read.
        """
        self._load()
        if self._in_flight.next_schema_id != schema_id:
            return []
        return self._in_flight.withdraw_next(1).pieces

    # -- failures ---------------------------------------------------------------------

    def _fail(self, failure: SinkFailure) -> bool:
        """Take in why a stream ended.

        Returns:
            Whether to go on at once: a refused record is to be searched.
        """
        if failure.kind is FailureKind.ENDED and (
            self._stats.last_acked_offset >= 0
            or self._clock() - self._health.opened_at >= _LIVED_SECONDS
        ):
            self._in_flight.rewind()
            self._health.rotated()
            self._tell()
            return False
        calls = self._in_flight.withdraw_lost() if failure.kind is FailureKind.POISON else []
        if failure.kind is FailureKind.POISON and not calls:
            # Said of records that were acknowledged, or never sent: there is nothing to search.
            failure = SinkFailure(FailureKind.RETRIABLE, str(failure))
        if calls and self._blame.persists(str(failure)):
            failure = self._still_the_table(calls, str(failure))
        elif calls:
            self._search(calls, str(failure))
            return True
        lost = self._in_flight.rewind()
        if lost:
            self._slow.begin(lost)
        self._health.failed(failure)
        if self._health.probing:
            self._probe()
        self._tell()
        return False

    def _search(self, calls: list[Call], words: str) -> None:
        """Let the search begin for the record, of these calls, that the service refuses."""
        parts = BisectionParts(
            self._shared, self._health, self._progress, self._letters, self._blame
        )
        self._bisection = Bisection(self, parts, Suspects(calls, words, self._options.limits))
        self._health.refused()
        self._health.warn("search", "a record is refused, and searched: %s", words)
        self._tell()

    def _still_the_table(self, calls: list[Call], words: str) -> SinkFailure:
        """A probe was refused in the words that were said before: none of its rows is given up."""
        self._in_flight.put_back([piece for call in calls for piece in call.pieces])
        try:
            descriptor = self._shared.spool.schemas.descriptor(calls[0].schema_id)
        except SpoolError as error:
            return SinkFailure(FailureKind.PERMANENT, str(error))
        records = [record for call in calls for record in call.records()]
        return self._blame.lay(words, descriptor, records, in_a_row=0)

    def _probe(self) -> None:
        """Something has to be mended: what is sent next is a handful, and no search goes on."""
        if self._bisection is not None:
            self._in_flight.put_back(self._bisection.unsettled())
            self._bisection = None
        self._slow.probe()

    def _tell(self) -> None:
        """Let others see the statistics as they are now."""
        self._progress.tell_in_flight(self._in_flight.inflight_calls, self._in_flight.inflight_rows)


def _explained(failure: SinkFailure, descriptor: bytes) -> SinkFailure:
    words = str(failure)
    return SinkFailure(failure.kind, f"{words} ({difference(words, descriptor)})")
