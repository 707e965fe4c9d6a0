"""How much of everything a fleet has now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.counting import count_nonzero
from sparkplug.host.node_table import NOT_BORN

if TYPE_CHECKING:
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.reading.awaiting_births import AwaitingBirths


class FleetGauges:
    """How much one fleet has now of what its limits bound, or that does not come.

    Other threads ask, too, while the fleet reads, but for `held_whole`: what they see may be of a
    moment within a batch.

    Args:
        state: of the fleet.
        awaiting: what waits for births.
    """

    def __init__(self, state: FleetState, awaiting: AwaitingBirths) -> None:
        self._state = state
        self._awaiting = awaiting

    @property
    def node_count(self) -> int:
        """Edge nodes whose birth was seen."""
        return len(self._state.edge_nodes)

    @property
    def live_tags(self) -> int:
        """Tags that present births declare."""
        return self._state.declared.count

    @property
    def held_messages(self) -> int:
        """Messages that wait, for a missing one or for a birth, late births among them."""
        windows = (edge_node.sequence.waiting for edge_node in self._state.sequences.watched())
        return len(self._awaiting) + sum(map(len, windows))

    @property
    def held_whole(self) -> int:
        """Messages that wait as a whole, and are not quarantined."""
        if not self._state.sequences.attentive:
            return self._awaiting.uncounted
        windows = (edge_node.sequence.waiting for edge_node in self._state.sequences.watched())
        waiting = sum(not entry.counted for window in windows for entry in window)
        return self._awaiting.uncounted + waiting

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the messages that wait for a missing one."""
        return self._state.window_room.taken

    @property
    def unheard_nodes(self) -> int:
        """Nodes that were alive when the host was away, and of which nothing came since."""
        nodes = self._state.nodes
        size = nodes.size  # once: it grows meanwhile
        waiting = ~nodes.confirmed[:size] & (nodes.next_seq[:size] != NOT_BORN)
        return int(count_nonzero(waiting))
