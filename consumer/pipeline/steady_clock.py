"""The time of day, believed when it has stayed: what is old is never decided by one jump."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_JUMP_US: Final = 15 * 60 * 1_000_000
"""Microseconds against monotonic time from which on a change of the clock is a jump.

Less is an adjustment, and followed at once.
"""

_AT_FIRST: Final = 60.0
_EVERY: Final = 15 * 60.0
_OBSERVATIONS: Final = 5
"""Observations of one time, a quarter of an hour apart or more, until it is believed."""


class SteadyClock:
    """A wall clock that is not followed when it jumps, until it has stayed where it jumped to.

    Clocks jump when a machine starts without one and gets the time later, when a virtual
    machine is resumed, and when somebody sets them wrong, for a moment or for good. What the clock
    says is compared with the passing of monotonic time. It is `settled` when five
    observations, a quarter of an hour apart or more, agreed; from then on a jump is not believed
    before five observations agree on the other time. Until then, which is once after each
    start, it is believed when the other time has stayed for a minute.

    A machine that sleeps has a jump, too, where monotonic time does not go on meanwhile.

    Args:
        wall: microseconds since 1970 UTC.
        monotonic: seconds that pass.
    """

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._believed = _Offset(wall() - _us(monotonic()), monotonic())
        self._other: _Offset | None = None
        self.jumps = 0
        """Times that a jump of the clock was believed."""

    @property
    def settled(self) -> bool:
        """Whether the clock has stayed for long enough to say what is old."""
        return self._believed.observations >= _OBSERVATIONS

    def now_us(self) -> int:
        """Observe the clock, and tell the time, in microseconds since 1970 UTC."""
        now = self._monotonic()
        wall = self._wall()
        offset = wall - _us(now)
        if self._believed.agrees(offset, now):
            self._other = None
            return wall
        if self._other is None or not self._other.agrees(offset, now):
            self._other = _Offset(offset, now)
        if self._other.stayed(now, long=self.settled):
            self._believed, self._other = self._other, None
            self.jumps += 1
            return wall
        return self._believed.us + _us(now)

    def at(self, monotonic: float) -> int:
        """The time at a monotonic time, as believed now, in microseconds since 1970 UTC."""
        return self._believed.us + _us(monotonic)


class _Offset:
    """Microseconds that the wall clock is ahead of monotonic time, observed some times."""

    def __init__(self, us: int, now: float) -> None:
        self.us = us
        self.observations = 1
        self._observed_at = self._first_at = now

    def stayed(self, now: float, *, long: bool) -> bool:
        """Whether the offset was observed for long enough to be no jump of a moment."""
        if long:
            return self.observations >= _OBSERVATIONS
        return now - self._first_at >= _AT_FIRST

    def agrees(self, us: int, now: float) -> bool:
        """Whether an observed offset differs by no jump from this one; if so it is taken in."""
        if abs(us - self.us) > _JUMP_US:
            return False
        self.us = us  # slewed, or set by a little
        if now - self._observed_at >= _EVERY:
            self._observed_at = now
            self.observations += 1
        return True


def _us(seconds: float) -> int:
    return int(seconds * 1e6)
