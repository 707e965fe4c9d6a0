"""The queue between the MQTT connections and the pipeline: bounded in bytes, taken in batches."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
        self._items: deque[tuple[int, Message]] = deque()
        self._bytes = 0
        self._first_at = 0.0
        self._closed = False
        self._condition = threading.Condition()
        self._waiting_for_more = False
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
            self._items.append((server, message))
            self._bytes += size
            if len(self._items) == 1:
                self._first_at = self._clock()
                self._condition.notify()
            elif self._waiting_for_more and self._is_full():
                self._condition.notify()
        return True

    def close(self) -> None:
        """No more messages will come; `take` empties the queue, then returns None."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def take(self, timeout: float) -> dict[int, list[Message]] | None:
        """The next batch, by server; empty when nothing came within `timeout` seconds.

        Returns None when the inbox is closed and empty.
        """
        with self._condition:
            if not self._items and not self._closed:
                self._condition.wait(timeout)
            while self._items and not self._closed and not self._is_full():
                left = self._first_at + self._limits.max_delay - self._clock()
                if left <= 0:
                    break
                self._waiting_for_more = True
                self._condition.wait(left)
                self._waiting_for_more = False
            if not self._items:
                return None if self._closed else {}
            return self._cut()

    def _is_full(self) -> bool:
        return (
            len(self._items) >= self._limits.max_messages or self._bytes >= self._limits.max_bytes
        )

    def _cut(self) -> dict[int, list[Message]]:
        batch: dict[int, list[Message]] = {}
        size = count = 0
        while self._items and count < self._limits.max_messages and size < self._limits.max_bytes:
            server, message = self._items.popleft()
            batch.setdefault(server, []).append(message)
            size += len(message.payload) + _OVERHEAD
            count += 1
        self._bytes -= size
        self._first_at = self._clock()
        return batch
