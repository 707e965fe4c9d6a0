"""The queue between the MQTT connections and the pipeline: bounded in bytes, taken in batches."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from sparkplug import Message, MessageBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

    def batch_of(self, server: int) -> MessageBatch:
        """The messages of a server."""
        batch = self.taken.by_server.get(server)
        if batch is None:
            batch = self.taken.by_server[server] = MessageBatch()
        return batch


def _size(topic: str, payload: bytes) -> int:
    """What a queued message counts."""
    size = len(payload) + _OVERHEAD
    if len(topic) > _USUAL_TOPIC:
        size += _CHARACTER_BYTES * (len(topic) - _USUAL_TOPIC)
    return size


def _size_together(topics: Sequence[str], payloads: Sequence[bytes]) -> int:
    """The sum of `_size` of some messages."""
    size = sum(map(len, payloads)) + _OVERHEAD * len(payloads)
    if max(map(len, topics), default=0) > _USUAL_TOPIC:
        long = (len(topic) - _USUAL_TOPIC for topic in topics if len(topic) > _USUAL_TOPIC)
        size += _CHARACTER_BYTES * sum(long)
    return size


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
        size = _size(message.topic, message.payload)
        with self._condition:
            if self._bytes + size > self._max_bytes:
                return False
            filling = self._filling_for(server)
            if certificate:
                filling.taken.certificates.setdefault(server, []).append(message)
            else:
                filling.batch_of(server).append(message)
            self._add(filling, 1, size)
        return True

    def put_many(
        self,
        server: int,
        topics: Sequence[str],
        payloads: Sequence[bytes],
        received_us: int,
        *,
        retained: bool = False,
    ) -> int:
        """Add messages that came together; none is a certificate, or on the topic of a death.

        As `put` of one after the other would, but for its cost. The arguments are those of
        `MessageBatch.extend`.

        Returns:
            How many of them there was no room for.
        """
        size = _size_together(topics, payloads)
        with self._condition:
            if self._bytes + size <= self._max_bytes:  # so all of them have room
                start = 0
                while start < len(topics):
                    filling = self._filling_for(server)
                    end = start + self._limits.max_messages - filling.count
                    part = topics[start:end], payloads[start:end]
                    size = _size_together(*part)
                    room = self._limits.max_bytes - filling.size
                    if size > room:
                        # Up to the message with which the batch is full, and that one.
                        count = bisect_left(list(accumulate(map(_size, *part))), room) + 1
                        part = part[0][:count], part[1][:count]
                        size = _size_together(*part)
                    filling.batch_of(server).extend(*part, received_us, retained=retained)
                    self._add(filling, len(part[0]), size)
                    start += len(part[0])
                return 0
        # A small one may have room where a large one before it has none.
        messages = (
            Message(topic, payload, received_us, retained)
            for topic, payload in zip(topics, payloads, strict=True)
        )
        return sum(not self.put(server, message) for message in messages)

    def _filling_for(self, server: int) -> _Filling:
        """The batch that a message of a server goes to. Under the lock."""
        self._lost.discard(server)
        filling = self._filling
        if filling is None:
            filling = self._filling = _Filling(self._clock())
            self._condition.notify()
        return filling

    def _add(self, filling: _Filling, count: int, size: int) -> None:
        """Count what went to the batch, and hand it over if it is full. Under the lock."""
        self._bytes += size
        filling.count += count
        filling.size += size
        limits = self._limits
        if filling.count >= limits.max_messages or filling.size >= limits.max_bytes:
            self._full.append(filling)
            self._filling = None
            self._condition.notify()

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
