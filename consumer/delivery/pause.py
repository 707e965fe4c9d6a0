"""A pause of the delivery of one table: nothing is sent until it ends, by itself or by hand."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Paused(NamedTuple):
    """A pause that is on.

    Args:
        table: its full name.
        until: when it ends by itself, seconds since 1970.
        by: who asked for it.
        why: in his words.
    """

    table: str
    until: float
    by: str
    why: str


class Pause:
    """Whether rows of a table may be sent. Thread-safe.

    Args:
        table: its full name.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self, table: str, clock: Callable[[], float], wall_clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._on: tuple[float, Paused] | None = None

    def begin(self, seconds: float, by: str, why: str) -> None:
        """Pause for so many seconds from now on, whatever was before."""
        paused = Paused(self._table, self._wall_clock() + seconds, by, why)
        with self._lock:
            self._on = self._clock() + seconds, paused

    def end(self) -> None:
        """Let rows be sent again."""
        with self._lock:
            self._on = None

    @property
    def left(self) -> float:
        """Seconds until it ends by itself; 0 while rows may be sent."""
        on = self._on
        return 0.0 if on is None else max(0.0, on[0] - self._clock())

    @property
    def told(self) -> Paused | None:
        """The pause that is on; None while rows may be sent."""
        on = self._on
        return on[1] if on is not None and self._clock() < on[0] else None
