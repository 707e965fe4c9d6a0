"""Answers that are the same for all who ask, made once for those who ask at about the same time."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PAUSE: Final = 0.1


class Together(Generic[T]):
    """Makes an answer on another thread, one at a time, at most every tenth of a second.

    Whoever asks gets one whose making began after he asked: at once, if nobody has asked lately.
    Making one may take a lock that MQTT waits for, and must not be done for each of fifty who
    look on. Used on one event loop.

    Args:
        make: makes the answer.
        pause: seconds from the beginning of one to that of the next.
    """

    def __init__(self, make: Callable[[], T], pause: float = _PAUSE) -> None:
        self._make = make
        self._pause = pause
        self._began_at = -math.inf
        self._making = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The answer, from now or a little later."""
        if self._next is None:
            self._next = asyncio.create_task(self._wait_and_make())
        return await asyncio.shield(self._next)  # who goes away takes it from nobody

    async def _wait_and_make(self) -> T:
        clock = asyncio.get_running_loop().time
        left = self._began_at + self._pause - clock()
        if left > 0:
            await asyncio.sleep(left)
        async with self._making:  # one that takes its time has one thread, not all there are
            self._next = None  # what is asked from now on begins later
            self._began_at = clock()
            return await asyncio.to_thread(self._make)
