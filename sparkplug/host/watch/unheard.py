"""Nodes that were alive when the host was away, and are not heard after it: they are asked.

Whoever speaks after an absence tells by its seq whether it was missed. Whoever does not may have
nothing to say, or be gone; a rebirth request tells them apart, if the node is one that answers
(docs/decoding.md, "Nodes that are not heard after an absence").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.waiting import NodeKey

ANSWER_SECONDS: Final = 60.0
"""So long a node has to answer a request."""

UNANSWERED: Final = 3
"""Requests that a node may leave unanswered."""


class Unheard:
    """Who of one fleet is asked, and who does not answer. `now` is in heard seconds.

    Args:
        nodes: of the fleet; `wanted_at`, `asked_at` and `requests` are its own, and `answers` is
            learned here; `heard_at`, `born` and `confirmed` are read.
        after: seconds that a node may be unheard after an absence; 0: for ever.
    """

    def __init__(self, nodes: NodeTable, after: float) -> None:
        self._nodes = nodes
        self._after = after
        self._listening_since: float | None = None
        self._strangers: dict[NodeKey, float] = {}  # when they were asked, oldest first

    def new(self, index: int, key: NodeKey) -> None:
        """A node became known; it may have been asked for its first birth."""
        asked_at = self._strangers.pop(key, None)
        self._nodes.wanted_at[index] = -np.inf
        self._nodes.asked_at[index] = -np.inf if asked_at is None else asked_at
        self._nodes.requests[index] = asked_at is not None

    def listening(self, now: float) -> None:
        """The connection is there: the absence is over."""
        if self._listening_since is None:
            self._listening_since = now

    def lost(self) -> None:
        """The connection is not there any more."""
        self._listening_since = None

    def asked(self, index: int, now: float) -> None:
        """A request was sent to a node."""
        nodes = self._nodes
        in_a_row = nodes.asked_at[index] > self._quiet_since()[index]
        nodes.requests[index] = nodes.requests[index] + 1 if in_a_row else 1
        nodes.asked_at[index] = now

    def asked_stranger(self, key: NodeKey, now: float) -> None:
        """A request was sent to a node of which no birth was read yet."""
        self._strangers.pop(key, None)
        self._strangers[key] = now
        for each, asked_at in list(self._strangers.items()):
            if now - asked_at <= ANSWER_SECONDS:
                break
            del self._strangers[each]

    def born(self, index: int, now: float) -> bool:
        """An NBIRTH came; return whether it shows for the first time that the node answers."""
        nodes = self._nodes
        answers = nodes.requests[index] and now - nodes.asked_at[index] <= ANSWER_SECONDS
        is_new = bool(answers and not nodes.answers[index])
        nodes.answers[index] |= is_new
        nodes.requests[index] = 0
        return is_new

    def overdue(self, now: float) -> NDArray[np.int64]:
        """Nodes that have not been heard for too long."""
        if self._listening_since is None or not self._after:
            return np.empty(0, dtype=np.int64)
        size = self._nodes.size
        found = now - self._quiet_since()[:size] >= self._after
        found &= self._nodes.born[:size] & ~self._nodes.confirmed[:size]
        return np.flatnonzero(found)

    def unanswering(self, overdue: NDArray[np.int64], now: float) -> NDArray[np.int64]:
        """Those that have left enough requests unanswered."""
        enough = overdue[self._were_asked_enough(overdue)]
        return enough[now - self._nodes.asked_at[enough] >= ANSWER_SECONDS]

    def next_to_ask(
        self, overdue: NDArray[np.int64], now: float, may_be_asked: Callable[[int], bool]
    ) -> Iterator[int]:
        """The one node that is to be asked now, if there is one: who has waited longest."""
        wanted_at = self._nodes.wanted_at
        waiting = overdue[~self._were_asked_enough(overdue)]
        waiting = waiting[now - wanted_at[waiting] >= ANSWER_SECONDS]
        for index in waiting[np.argsort(wanted_at[waiting], kind="stable")].tolist():
            if may_be_asked(index):
                wanted_at[index] = now
                yield index
                return

    def _were_asked_enough(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        since_quiet = self._nodes.asked_at[indices] > self._quiet_since()[indices]
        found: NDArray[np.bool_] = since_quiet & (self._nodes.requests[indices] >= UNANSWERED)
        return found

    def _quiet_since(self) -> NDArray[np.float64]:
        """When each node was heard, or could have been for the first time."""
        since = -np.inf if self._listening_since is None else self._listening_since
        found: NDArray[np.float64] = np.fmax(self._nodes.heard_at, since)
        return found
