"""The queue between the MQTT connections and the pipeline: bounded in bytes, taken in batches."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sparkplug.messages import MessageBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug.messages import Message

_OVERHEAD: Final = 400
"""Bytes that a queued message costs beside its payload."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is handed over when the first of these is reached: count, bytes, seconds."""

    max_messages: int
    max_bytes: int
    max_delay: float


class _Filling:
    """The batch that messages are being added to."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.by_server: dict[int, MessageBatch] = {}
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
        self._closed = False
        self._condition = threading.Condition()
        self.refused = 0

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting to be taken."""
        return self._bytes

    def put(self, server: int, message: Message) -> bool:
        """Add one message of a server (its index); False if there is no room for it."""
        size = len(message.payload) + _OVERHEAD
        with self._condition:
            if self._bytes + size > self._max_bytes:
                self.refused += 1
                return False
            self._bytes += size
            filling = self._filling
            if filling is None:
                filling = self._filling = _Filling(self._clock())
                self._condition.notify()
            batch = filling.by_server.get(server)
            if batch is None:
                batch = filling.by_server[server] = MessageBatch()
            batch.append(message)
            filling.count += 1
            filling.size += size
            limits = self._limits
            if filling.count >= limits.max_messages or filling.size >= limits.max_bytes:
                self._full.append(filling)
                self._filling = None
                self._condition.notify()
        return True

    def close(self) -> None:
        """No more messages will come; `take` empties the queue, then returns None."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def take(self, timeout: float) -> dict[int, MessageBatch] | None:
        """The next batch, by server; empty when nothing came within `timeout` seconds.

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
                taken = self._full.popleft()
            elif self._filling is not None:
                taken, self._filling = self._filling, None
            else:
                return None if self._closed else {}
            self._bytes -= taken.size
            return taken.by_server
