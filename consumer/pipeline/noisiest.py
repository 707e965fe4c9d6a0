"""Counts messages that a full queue refused, and the edge nodes that most of them were of."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_NODES: Final = 20
_MOST_NODES: Final = 1_000
"""Edge nodes that are remembered: whoever may publish may invent more."""


class Noisiest:
    """Counts refused messages by server and edge node, since the start. Thread-safe.

    Of too many nodes those are remembered of which most was refused.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages = 0
        self._nodes: Counter[tuple[str, str]] = Counter()

    def count(self, server: str, nodes: Mapping[str, int]) -> None:
        """Messages of a server were refused, by `group id/edge node id`; empty for no node."""
        with self._lock:
            self._messages += sum(nodes.values())
            for node, messages in nodes.items():
                self._nodes[server, node] += messages
            if len(self._nodes) > _MOST_NODES:
                self._nodes = Counter(dict(self._nodes.most_common(_MOST_NODES // 2)))

    @property
    def messages(self) -> int:
        """How many messages were refused since the start."""
        return self._messages

    def status(self) -> dict[str, Any]:
        """How many messages were refused in all, and the nodes that most were of."""
        with self._lock:
            messages, most = self._messages, self._nodes.most_common(_SHOWN_NODES)
        shown = []
        for (server, node), count in most:
            group_id, _, edge_node_id = node.partition("/")
            shown.append(
                {
                    "messages": count,
                    "server": server,
                    "group_id": group_id,
                    "edge_node_id": edge_node_id,
                }
            )
        return {"messages_refused": messages, "most_refused": shown}
