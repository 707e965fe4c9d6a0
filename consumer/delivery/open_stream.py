"""An open stream with the watch over its acknowledgements, and the place where its thread waits."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from consumer.errors import FailureKind, SinkFailure
from consumer.sinks import Acknowledged, StreamEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.delivery.calls import Call
    from consumer.sinks import ZerobusIngestStream


class Mailbox:
    """Where the thread of a stream waits: for the service, and for whoever nudges it.

    `events` is given to the streams it opens.
    """

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[StreamEvent] = queue.SimpleQueue()
        self._awake = False  # a wake-up is in the queue already

    def nudge(self) -> None:
        """Let the thread look whether there is something to do. From any thread."""
        if not self._awake:
            self._awake = True
            self.events.put(None)

    def collect(self, patience: float) -> list[StreamEvent]:
        """Wait for something to happen, and return all that has.

        Args:
            patience: longest wait in seconds, 0 for what is there.
        """
        found: list[StreamEvent] = []
        try:
            found.append(
                self.events.get(timeout=patience) if patience else self.events.get_nowait()
            )
            while True:
                found.append(self.events.get_nowait())
        except queue.Empty:
            pass
        if None in found:
            self._awake = False
        return found


class OpenStream:
    """One open stream of one owner: what was sent, how far it is acknowledged, for how long not.

    Args:
        stream: just opened.
        mailbox: gets its events.
        ack_timeout: seconds without progress after which the stream is given up.
        clock: monotonic seconds.

    Attributes:
        acked: offset of the last call that is acknowledged; -1 before the first.
    """

    def __init__(
        self,
        stream: ZerobusIngestStream,
        mailbox: Mailbox,
        *,
        ack_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self.schema_id = stream.schema_id
        self.acked = -1
        self._stream = stream
        self._mailbox = mailbox
        self._ack_timeout = ack_timeout
        self._clock = clock
        self._sent = -1
        self._progress_at = clock()

    @property
    def is_awaited(self) -> bool:
        """Whether acknowledgements are still to come."""
        return self._sent > self.acked

    @property
    def gives_up_at(self) -> float | None:
        """When the acknowledgements are overdue, monotonic seconds; None when none is awaited."""
        return self._progress_at + self._ack_timeout if self.is_awaited else None

    def send(self, call: Call) -> None:
        """Send a call, and note its offset in it.

        Raises:
            SinkFailure: the stream is dead, or the call is too large.
        """
        if not self.is_awaited:
            self._progress_at = self._clock()
        call.offset = self._sent = self._stream.send(call.records())

    def receive(self, patience: float) -> None:
        """Wait for something to happen, `patience` seconds at most, and take in all that has.

        Raises:
            SinkFailure: the stream is dead; or it takes calls and does not acknowledge them. The
                SDK's own timer for that is reset by acknowledgements that bring nothing new.
        """
        if self._take_in(patience):
            raise self._stream.failure()
        waited = self._clock() - self._progress_at
        if self.is_awaited and waited >= self._ack_timeout:
            calls = self._sent - self.acked
            raise SinkFailure(
                FailureKind.RETRIABLE,
                f"no acknowledgement for {waited:.0f} s with {calls} calls in flight",
            )

    def close(self) -> None:
        """Close the stream, and take in the acknowledgements that still came."""
        self._stream.close()
        self._take_in(0.0)

    def _take_in(self, patience: float) -> bool:
        """Take in all events that there are; whether one of them is the end of the stream."""
        is_dead = False
        for event in self._mailbox.collect(patience):
            if event is None or event.generation != self._stream.generation:
                continue
            if not isinstance(event, Acknowledged):
                is_dead = True
            elif event.offset > self.acked:
                self.acked = event.offset
                self._progress_at = self._clock()
        return is_dead
