"""When each node was heard last, and how long it usually says nothing. Columns, no clock.

Edge nodes report by exception, so that silence means nothing by itself: a node may rightly have
nothing to say for a night. What is unusual for it only its own past tells: the longest pause
between two of its messages, which is forgotten slowly (docs/operating.md, "Silent edge nodes").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sparkplug.host.node_table import NodeTable

LEAST_SECONDS: Final = 60.0
"""Whoever was heard so lately is not silent."""

_FORGOTTEN_IN: Final = 7 * 24 * 3600.0
"""A pause that did not come again is a third of what it was after so many seconds."""

_STALL: Final = 10.0
"""Between two looks that are further apart nobody listened: no more of that time counts."""

_LONGEST: Final = 1e10
"""Seconds, 300 years."""
_CONDUCT: Final = np.dtype([("answers", "?"), ("pause", "<f4"), ("observed", "<f4")])


class Hearing:
    """How the nodes of one fleet let themselves be heard.

    Times are those of a clock of its own: seconds for which somebody has listened.

    Args:
        nodes: of the fleet; `heard_at`, `pause` and `observed` are its own, `answers` is kept
            with them over a restart; `born` and `confirmed` are read.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._looked_at: float | None = None
        self.now = 0.0
        """For how long somebody has listened."""

    def pass_time(self, now: float) -> None:
        """It is `now`, monotonic seconds, and nothing of what came since the last call was read."""
        if self._looked_at is not None:
            self.now += min(max(now - self._looked_at, 0.0), _STALL)
        self._looked_at = now

    # ------------------------------------------------------------------ heard

    def new(self, index: int) -> None:
        """A node became known."""
        self._nodes.heard_at[index] = self.now

    def heard(self, nodes: NDArray[np.int64], in_order: NDArray[np.int64]) -> None:
        """Messages of nodes came; those `in_order` continue a session, and end a pause of it."""
        heard_at, pause = self._nodes.heard_at, self._nodes.pause
        observed = self._nodes.observed
        silence = np.fmax(self.now - heard_at[in_order], 0.0)  # NaN, and what is fresh, is 0
        # Where an index is there more than once, it gets the same value each time.
        pause[in_order] = np.maximum(silence, pause[in_order] * np.exp(-silence / _FORGOTTEN_IN))
        observed[in_order] += silence
        heard_at[nodes] = self.now

    def missed(self) -> None:
        """Messages may have been missed: what comes next ends no pause."""
        self._nodes.heard_at[:] = np.nan

    # ------------------------------------------------------------------ not heard

    def quiet(self, times: float) -> NDArray[np.int64]:
        """Confirmed nodes that have said nothing for so many times their longest pause.

        Who was observed for less than that is not judged.
        """
        size = self._nodes.size
        limit = np.maximum(self._nodes.pause[:size] * times, LEAST_SECONDS)
        with np.errstate(invalid="ignore"):
            found = self.now - self._nodes.heard_at[:size] > limit
        found &= self._nodes.observed[:size] >= limit
        found &= self._nodes.born[:size] & self._nodes.confirmed[:size]
        return np.flatnonzero(found)

    # ------------------------------------------------------------------ over a restart

    def conduct(self) -> bytes:
        """What was learned of every node, by slot."""
        nodes, size = self._nodes, self._nodes.size
        found = np.empty(size, dtype=_CONDUCT)
        found["answers"] = nodes.answers[:size]
        found["pause"] = nodes.pause[:size]
        found["observed"] = nodes.observed[:size]
        return found.tobytes()

    def restore(self, conduct: bytes, slots: Mapping[int, int]) -> None:
        """Take in what an earlier run has learned; `slots` are those of it, by index.

        Of a node of which it says what cannot be, nothing is known.
        """
        whole = len(conduct) // _CONDUCT.itemsize
        known = np.frombuffer(conduct, _CONDUCT, whole) if whole else np.empty(0, _CONDUCT)
        for index, slot in slots.items():
            if not 0 <= slot < len(known):
                continue
            answers, pause, observed = known[slot].item()
            if 0 <= pause < _LONGEST and 0 <= observed < _LONGEST:
                self._nodes.answers[index] = answers
                self._nodes.pause[index] = pause
                self._nodes.observed[index] = observed
        self.missed()
