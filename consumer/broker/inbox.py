"""The queue between the MQTT connections and the pipeline: bounded in bytes, taken in batches."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sparkplug import MessageBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug import Message

_OVERHEAD: Final = 400
"""Bytes that a queued message costs beside its payload, with a topic of usual length."""
_USUAL_TOPIC: Final = 200
_CHARACTER_BYTES: Final = 4
"""A character takes one, two or four bytes in memory."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is handed over when the first of these is reached: count, bytes, seconds."""

    max_messages: int
    max_bytes: int
    max_delay: float


@dataclass(slots=True)
class InboxBatch:
    """What one `take` hands over; false when it is nothing.

    `certificates` are births that servers keep; they go before the messages. `lost` holds
    the servers whose connection ended after these messages, and when:
    microseconds since 1970 UTC.
    """

    by_server: dict[int, MessageBatch] = field(default_factory=dict)
    certificates: dict[int, list[Message]] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_server or self.certificates or self.lost)


class _Filling:
    """The batch that messages are being added to."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.taken = InboxBatch()
        self.count = 0
        self.size = 0


class Inbox:
    """Messages of all servers in order of arrival. Any thread puts, one thread takes.

    A message that does not fit is refused, never waited for: a blocked MQTT reader
    would make the server drop messages without a trace, and miss its keep-alive.

    Args:
        max_bytes: bound of everything queued.
        limits: when a batch is handed over.
        clock: monotonic seconds.
    """

    def __init__(self, max_bytes: int, limits: BatchLimits, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._limits = limits
        self._clock = clock
        self._full: deque[_Filling] = deque()
        self._filling: _Filling | None = None
        self._bytes = 0
        self._lost: set[int] = set()  # whose end is queued, with nothing of theirs behind it
        self._closed = False
        self._condition = threading.Condition()

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting to be taken."""
        return self._bytes

    def put(self, server: int, message: Message, *, certificate: bool = False) -> bool:
        """Add one message of a server (its index); False if there is no room for it.

        A certificate is a birth that the server keeps.
        """
        size = len(message.payload) + _OVERHEAD
        if len(message.topic) > _USUAL_TOPIC:
            size += _CHARACTER_BYTES * (len(message.topic) - _USUAL_TOPIC)
        with self._condition:
            if self._bytes + size > self._max_bytes:
                return False
            self._bytes += size
            self._lost.discard(server)
            filling = self._filling
            if filling is None:
                filling = self._filling = _Filling(self._clock())
                self._condition.notify()
            if certificate:
                filling.taken.certificates.setdefault(server, []).append(message)
            else:
                by_server = filling.taken.by_server
                batch = by_server.get(server)
                if batch is None:
                    batch = by_server[server] = MessageBatch()
                batch.append(message)
            filling.count += 1
            filling.size += size
            limits = self._limits
            if filling.count >= limits.max_messages or filling.size >= limits.max_bytes:
                self._full.append(filling)
                self._filling = None
                self._condition.notify()
        return True

    def put_lost(self, server: int, at_us: int) -> None:
        """Note that the connection to a server ended, after all that it has delivered.

        Ends with no message between them are one while they wait: this is bounded like the
        messages.
        `at_us` is microseconds since 1970 UTC.
        """
        with self._condition:
            if server in self._lost:
                return
            self._lost.add(server)
            filling = self._filling or _Filling(self._clock())
            filling.taken.lost[server] = at_us
            self._full.append(filling)  # what comes next is of another connection
            self._filling = None
            self._condition.notify()

    def close(self) -> None:
        """No more messages will come; `take` empties the queue, then returns None."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def take(self, timeout: float) -> InboxBatch | None:
        """The next batch; empty when nothing came within `timeout` seconds.

        Returns None when the inbox is closed and empty.
        """
        with self._condition:
            if not self._full and self._filling is None and not self._closed:
                self._condition.wait(timeout)
            while not self._full and self._filling is not None and not self._closed:
                left = self._filling.started_at + self._limits.max_delay - self._clock()
                if left <= 0:
                    break
                self._condition.wait(left)
            if self._full:
                filled = self._full.popleft()
            elif self._filling is not None:
                filled, self._filling = self._filling, None
            else:
                return None if self._closed else InboxBatch()
            self._bytes -= filled.size
            self._lost.difference_update(filled.taken.lost)
            return filled.taken
