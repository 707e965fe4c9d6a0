"""A switch that allows or ends the connection to an MQTT server, obeyed by its thread."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

GATE: Final = "gate"
"""Who shuts the switch because rows cannot be stored."""
DRILL: Final = "drill"
"""Who shuts the switch to see which edge nodes keep their data."""


class ConnectionSwitch:
    """Says whether a connection may be; open at first.

    `shut`, `open` and `stop` may be called from any thread. It may be shut for several reasons at
    a time, and is open again when none of them holds. A reason with an end ends by itself: the
    thread that waits needs nobody to tell it.

    `barred` is set while no connection may be, because the switch is shut or the
    consumer stops; `stopping` for good once it stops.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.barred = threading.Event()
        self.stopping = threading.Event()
        self.drain = 0.0
        """Seconds for which a shut connection still reads after it said that it leaves."""
        self._clock = clock
        self._until: dict[str, float] = {}  # by whom it is shut, and until when
        self._away = False
        self._changed = threading.Condition()

    @property
    def away(self) -> bool:
        """Whether the connection has ended, and its thread waits for the switch to open."""
        with self._changed:
            return self._away

    @property
    def hurries(self) -> bool:
        """Whether a connection that leaves has no more time: the consumer stops, or it may stay."""
        with self._changed:
            return self.stopping.is_set() or not self._is_shut()

    def shut(self, drain: float, *, by: str = GATE, until: float = math.inf) -> None:
        """Let the connection end in order, and no other be made.

        Args:
            drain: seconds for which it still reads.
            by: who wants it; the same one may open it.
            until: when that ends by itself, monotonic seconds.
        """
        with self._changed:
            self.drain = drain
            self._until[by] = until
            self.barred.set()
            self._changed.notify_all()

    def open(self, *, by: str = GATE) -> None:
        """Let there be a connection again, if nobody else wants there to be none."""
        with self._changed:
            self._until.pop(by, None)
            self._let_in()
            self._changed.notify_all()

    def stop(self) -> None:
        """Let the connection end in order, and the thread as well."""
        with self._changed:
            self.stopping.set()
            self.barred.set()
            self._changed.notify_all()

    def wait(self) -> bool:
        """Called by the thread without connection: wait while shut; False once stopping."""
        with self._changed:
            while self._is_shut() and not self.stopping.is_set():
                self._away = True
                ends = max(self._until.values())
                self._changed.wait(ends - self._clock() if math.isfinite(ends) else None)
            self._away = False
            self._let_in()
            return not self.stopping.is_set()

    def _is_shut(self) -> bool:
        now = self._clock()
        return any(until > now for until in self._until.values())

    def _let_in(self) -> None:
        now = self._clock()
        self._until = {by: until for by, until in self._until.items() if until > now}
        if not self._until and not self.stopping.is_set():
            self.barred.clear()
