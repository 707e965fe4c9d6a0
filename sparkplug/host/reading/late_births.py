"""Births of sessions that have ended already: they wait for data that continues them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.host.nodes.edge_node import LATE_SECONDS
from sparkplug.host.nodes.waiting import Waiting
from sparkplug.messages import Reason

if TYPE_CHECKING:
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.holding import Holding
    from sparkplug.host.nodes.waiting import NodeKey


class LateBirths:
    """The late births of one fleet, each with its node. `len()` is how many wait.

    One of an earlier run is among what is held, until it was heard for as long that no other came.

    Args:
        state: of the fleet.
        holding: what waits for the births of nodes.
    """

    def __init__(self, state: FleetState, holding: Holding) -> None:
        self._state = state
        self._holding = holding
        self._before: dict[NodeKey, Waiting] = {}  # the last of each node, of an earlier run

    def __len__(self) -> int:
        if not self._state.sequences.attentive:
            return 0
        return sum(each.late_birth is not None for each in self._state.sequences.watched())

    def restored(self, key: NodeKey, entry: Waiting) -> None:
        """A late birth of an earlier run is held again."""
        self._before[key] = entry

    def keep(self, arrival: Arrival, edge_node: EdgeNodeState) -> bool:
        """Its session has ended, for all we know: wait for what follows, but not for long.

        It shares the room of the windows. False: there is none, and it does not wait.
        """
        entry = Waiting(
            arrival.message,
            arrival.seq,
            self._state.now,
            arrival.position,
            reason=Reason.LATE_BIRTH,
        )
        room = self._state.window_room
        if room.taken + entry.size > room.most:
            return False
        arrival.skip()
        arrival.batch.decoded.counts[Reason.LATE_BIRTH] += 1
        arrival.batch.decoded.examples[Reason.LATE_BIRTH] = "/".join(arrival.key)
        self._state.nodes.confirmed[edge_node.index] = True  # nothing is missed while it waits
        arrival.batch.placed.append(entry)
        self._let_wait(entry, edge_node)
        return True

    def _let_wait(self, birth: Waiting, edge_node: EdgeNodeState) -> None:
        edge_node.late_birth = birth
        self._state.window_room.taken += birth.size
        self._state.sequences.watch(edge_node)

    def withdraw(self, edge_node: EdgeNodeState) -> Waiting | None:
        """The late birth of a node, which waits no longer; None if there is none."""
        birth, edge_node.late_birth = edge_node.late_birth, None
        if birth is not None:
            self._state.window_room.taken -= birth.size
        self._state.sequences.watch(edge_node)
        return birth

    def pass_time(self) -> None:
        """Late births of an earlier run that nothing has explained since the start are births."""
        for key, entry in list(self._before.items()):
            if entry.since + LATE_SECONDS > self._state.now:
                continue
            del self._before[key]
            edge_node = self._state.by_id.get(key)
            if edge_node is None or edge_node.owner.born or edge_node.late_birth is not None:
                continue  # it is held until the next birth
            if self._holding.remove(key, entry):
                edge_node.died_at = entry.since
                self._let_wait(entry, edge_node)
