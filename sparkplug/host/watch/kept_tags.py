"""Which tags of an edge node come as history after the host was offline, and which do not.

A gateway may store a part of its tags only. One that comes fast covers the whole window for its
node, so of a node alone it is not seen that others are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REGULAR: Final = 2
"""Moments at which something was heard, from which on it is known how often it publishes."""
FEW: Final = 3
"""A window of fewer usual pauses proves nothing."""


class KeptTags:
    """How often tags come while the host listens, and whether history of them comes later.

    Columns over tag ids: 17 bytes for each tag while a drill is on. Used by the fleet's thread.

    Args:
        begun: when the host began to listen, in seconds of `hearing`.
    """

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._heard = np.empty(0)
        self._pause = np.empty(0, dtype=np.float32)
        self._moments = np.empty(0, dtype=np.int32)
        self._came = np.empty(0, dtype=np.bool_)

    def listen(self, tags: NDArray[np.int32], now: float) -> None:
        """Values of these tags came, each named once, in seconds of `hearing`."""
        if not len(tags):
            return
        self._grow(int(tags.max()) + 1)
        self._pause[tags] = np.maximum(self._pause[tags], now - self._heard[tags])
        self._moments[tags] += 1
        self._heard[tags] = now

    def end_listening(self, now: float) -> None:
        """How often they come is known from now on."""
        self._pause = np.maximum(self._pause, (now - self._heard).astype(np.float32))

    def take_history(self, tags: NDArray[np.int32]) -> None:
        """History of these tags came, of the time in which the host was offline."""
        if len(tags):
            self._grow(int(tags.max()) + 1)
            self._came[tags] = True

    def regular(
        self, node_of: NDArray[np.int64], window_us: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """How many tags of each node publish so often that they would do so in its window.

        Args:
            node_of: index of each tag's node; -1 for none.
            window_us: of each node, in microseconds; 0 where it is not known.
        """
        return self._count(node_of, window_us, of=np.ones(len(self._came), dtype=np.bool_))

    def without_history(
        self, node_of: NDArray[np.int64], window_us: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Of how many of those no history came, by node; arguments as those of `regular`."""
        return self._count(node_of, window_us, of=~self._came)

    def with_history(self, node_of: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
        """Of how many tags of each node history came, however often they publish."""
        owner = node_of[: len(self._came)][self._came[: len(node_of)]]
        return np.bincount(owner[owner >= 0], minlength=nodes)

    def _count(
        self, node_of: NDArray[np.int64], window_us: NDArray[np.int64], *, of: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        known = min(len(of), len(node_of))
        concerned = np.flatnonzero(of[:known] & (self._moments[:known] >= REGULAR))
        owner = node_of[concerned]
        concerned, owner = concerned[owner >= 0], owner[owner >= 0]
        pause_us = self._pause[concerned] * 1e6
        often = (pause_us > 0) & (FEW * pause_us <= window_us[owner])
        return np.bincount(owner[often], minlength=len(window_us))

    def _grow(self, size: int) -> None:
        new = size - len(self._heard)
        if new > 0:
            self._heard = np.append(self._heard, np.full(new, self._begun))
            self._pause = np.append(self._pause, np.zeros(new, dtype=np.float32))
            self._moments = np.append(self._moments, np.zeros(new, dtype=np.int32))
            self._came = np.append(self._came, np.zeros(new, dtype=np.bool_))
