"""What is not heard: births that do not come back, nodes that say nothing. Time decides."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sparkplug.events import Event, EventKind, first_names
from sparkplug.host.observations import said_by_host
from sparkplug.host.owner import stale_memory
from sparkplug.host.watch.silence import Silence, Silences
from sparkplug.host.watch.unheard import UNANSWERED
from sparkplug.messages import Reason, RebirthRequest

if TYPE_CHECKING:
    from sparkplug.decoded import Decoded
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.watch.read_times import ReadTimes
    from sparkplug.host.watch.stale_tags import Gone

_EVERY: Final = 1.0
_LEARN_EVERY: Final = 600.0


def say_stale(
    read_times: ReadTimes,
    gone: Gone,
    at_us: int,
    decoded: Decoded,
) -> None:
    """Rows of quality STALE of the host itself; whose tags these are is remembered."""
    decoded.memories += map(stale_memory, gone.owners)
    rows = said_by_host(gone.by_owner, at_us)
    if len(rows):
        read_times.date(rows, gone.by_owner)
        decoded.observations.append(rows)


class Absence:
    """Draws the conclusions of one fleet from what does not come.

    Args:
        state: of the fleet.
    """

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._silent_after = state.options.silent_after
        self._passive = state.options.passive
        self._looked_at = self._learned_at = -math.inf
        self.silences = Silences(state.nodes)
        self.conduct = b""
        """What was learned of every node, by slot: whether it answers, its longest pause."""
        self._listening_us = 0

    def look(self, decoded: Decoded) -> None:
        """After a batch was read, or when nothing has come."""
        state = self._state
        at_us = max(self._listening_us, state.heard_us)
        if at_us:  # else nothing tells what time it is
            self._give_up_unborn(at_us, decoded)
        if state.now - self._looked_at < _EVERY:
            return
        self._looked_at = state.now
        if at_us:
            self._look_at_unheard(at_us, decoded)
            self._look_at_quiet(at_us)
            decoded.events += self.silences.take_events(at_us, self._is_elsewhere)
        if state.has_news or state.now - self._learned_at >= _LEARN_EVERY:
            self.learn()

    def leave(self, at_us: int, decoded: Decoded) -> None:
        """The connection is lost: tell what is known of silent nodes.

        The caller lets go of when nodes were heard afterwards.
        """
        decoded.events += self.silences.take_events(at_us, self._is_elsewhere)

    def listening(self, at_us: int) -> None:
        """The connection is there, now that it is `at_us`, microseconds since 1970 UTC."""
        self._listening_us = at_us
        self._state.unheard.listening(self._state.hearing.now)

    def asked(self, group_id: str, edge_node_id: str) -> None:
        """A rebirth request was sent to a node."""
        state, key = self._state, (group_id, edge_node_id)
        edge_node = state.by_id.get(key)
        if edge_node is None:
            state.unheard.asked_stranger(key, state.hearing.now)
        else:
            state.unheard.asked(edge_node.index, state.hearing.now)
            state.unsure.asked(edge_node)

    def is_unheard(self, group_id: str, edge_node_id: str) -> bool:
        """Whether a node is to be asked because it was not heard for long after an absence."""
        edge_node = self._state.by_id.get((group_id, edge_node_id))
        if edge_node is None:
            return False
        overdue = self._state.unheard.overdue(self._state.hearing.now)
        return edge_node.index in overdue and self._is_missed(edge_node.index)

    def learn(self) -> None:
        """Take down what is known of the nodes."""
        self._learned_at, self._state.has_news = self._state.now, False
        conduct = self._state.hearing.conduct()
        if conduct != self.conduct:
            self.conduct = conduct

    # ------------------------------------------------------------------ births

    def _give_up_unborn(self, at_us: int, decoded: Decoded) -> None:
        """What was alive in a session that ended unheard, and was not born again since."""
        for edge_node, owners, known_us in self._state.unborn.overdue(self._state.now):
            ended_us = at_us if known_us is None else known_us
            decoded.memories += map(stale_memory, owners)  # also of those alive elsewhere
            gone = self._state.liveness.stale.declare_gone(owners)
            if not gone.owners:
                continue
            say_stale(self._state.read_times, gone, ended_us, decoded)
            names = [each.device_id or "the edge node itself" for each in gone.owners]
            decoded.events.append(
                Event(
                    EventKind.NOT_BORN_AGAIN,
                    ended_us,
                    edge_node.owner.group_id,
                    edge_node.owner.edge_node_id,
                    detail=f"{len(names)} were alive and are not any more: {first_names(names)}",
                )
            )

    # ------------------------------------------------------------------ nodes

    def _look_at_unheard(self, at_us: int, decoded: Decoded) -> None:
        """Ask the next one that was not heard after an absence; give up who does not answer."""
        state = self._state
        overdue, now = state.unheard.overdue(state.hearing.now), state.hearing.now
        if not len(overdue):
            return
        if self._passive:
            silent = overdue
        else:
            silent = state.unheard.unanswering(overdue, now)
            for index in state.unheard.next_to_ask(overdue, now, self._is_missed):
                owner = state.edge_nodes[index].owner
                decoded.rebirths.append(
                    RebirthRequest(owner.group_id, owner.edge_node_id, Reason.UNHEARD)
                )
        for index in silent.tolist():
            edge_node = state.edge_nodes[index]
            if not self.silences.may_tell:
                break
            if self.silences.reason_of(edge_node) is Silence.UNHEARD or not self._is_missed(index):
                continue
            detail = "not heard since an absence of this host"
            if not self._passive:
                detail += f", and {UNANSWERED} rebirth requests were not answered"
                if state.nodes.answers[index] and state.options.emit_stale:
                    detail += ": its tags are STALE"
                    self._give_up(edge_node, at_us, decoded)
            self.silences.begin(edge_node, Silence.UNHEARD, now, at_us, detail)

    def _give_up(self, edge_node: EdgeNodeState, at_us: int, decoded: Decoded) -> None:
        unborn = self._state.unborn.withdraw(edge_node)
        decoded.memories += map(stale_memory, unborn)
        gone = self._state.liveness.stale.declare_given_up(edge_node, unborn)
        say_stale(self._state.read_times, gone, at_us, decoded)

    def _is_missed(self, index: int) -> bool:
        """Whether a node was heard at some time, and no other server of the site shows it.

        What a node says that is seen in part may not be seen.
        """
        edge_node = self._state.edge_nodes[index]
        if self._state.nodes.partial[index]:
            return False
        if edge_node.by_certificate and not self._state.nodes.sent_us[index]:
            return False
        return not self._is_elsewhere(edge_node)

    def _is_elsewhere(self, edge_node: EdgeNodeState) -> bool:
        """Whether another server of the site shows a node alive."""
        return self._state.liveness.presence.is_alive_elsewhere(edge_node.owner)

    def _look_at_quiet(self, at_us: int) -> None:
        """Who says nothing for longer than it ever did."""
        hearing = self._state.hearing
        if not self._silent_after:
            return
        for index in hearing.quiet(self._silent_after).tolist():
            edge_node = self._state.edge_nodes[index]
            if not self.silences.may_tell:
                return
            if self.silences.reason_of(edge_node) is None and self._is_missed(index):
                quiet = timedelta(seconds=round(hearing.now - self._state.nodes.heard_at[index]))
                usual = timedelta(seconds=math.ceil(self._state.nodes.pause[index]))
                detail = f"it has said nothing for {quiet}, and its longest pause was {usual}"
                self.silences.begin(edge_node, Silence.QUIET, hearing.now, at_us, detail)
