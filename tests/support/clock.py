"""A clock that stands until a test moves it."""

from __future__ import annotations


class Clock:
    """Monotonic seconds: what `now` says."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
