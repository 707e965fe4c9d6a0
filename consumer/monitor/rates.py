"""How many rows a second each tag gives, as a mean of some seconds; only while somebody looks."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from consumer.monitor.tag_view import TagView
    from consumer.pipeline import Source

_EVERY: Final = 10.0
_LOOKS: Final = 3
_LOOKED_AT_SECONDS: Final = 60.0


class _Look(NamedTuple):
    at: float
    generation: int
    counts: NDArray[np.int32]  # modulo 2^32: only differences are of interest


class Rates:
    """Counts of rows, now and some seconds ago. Thread-safe.

    Args:
        sources: of all servers.
        clock: monotonic seconds.
    """

    def __init__(self, sources: Sequence[Source], clock: Callable[[], float]) -> None:
        self._sources = sources
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted_until = 0.0
        self._looks: list[deque[_Look]] = [deque(maxlen=_LOOKS) for _ in sources]

    def look(self) -> None:
        """Count, if somebody wants to know; about once a second, from one thread."""
        now = self._clock()
        if now > self._wanted_until:
            with self._lock:
                for looks in self._looks:
                    looks.clear()
            return
        for source, looks in zip(self._sources, self._looks, strict=True):
            if looks and now - looks[-1].at < (_EVERY if len(looks) > 1 else 2.0):
                continue
            generation = source.fleet.catalogue.generation
            counts = source.last_values.counts(len(source.fleet.catalogue)).astype(np.int32)
            with self._lock:
                if looks and looks[-1].generation != generation:
                    looks.clear()
                looks.append(_Look(now, generation, counts))

    def of(self, view: TagView) -> NDArray[np.float64]:
        """Rows a second of each tag of a view; NaN where that is not known yet."""
        now = self._clock()
        with self._lock:
            self._wanted_until = now + _LOOKED_AT_SECONDS
            first = [looks[0] if looks else None for looks in self._looks]
        parts = [
            self._rates(source, look, now, tags)
            for source, look, tags in zip(self._sources, first, view.tags_of_sources, strict=True)
        ]
        return np.concatenate([np.empty(0), *parts])

    @staticmethod
    def _rates(
        source: Source, look: _Look | None, now: float, tags: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        found = np.full(len(tags), np.nan)
        if look is None or source.fleet.catalogue.generation != look.generation or now == look.at:
            return found
        known = tags < len(look.counts)
        counts = source.last_values.counts(len(source.fleet.catalogue)).astype(np.int32)
        rows = counts[tags[known]] - look.counts[tags[known]]
        found[known] = rows / (now - look.at)
        return found
