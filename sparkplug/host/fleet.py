"""All edge nodes behind one MQTT server: batches of messages in, columns of observations out.

What is in order (data of a born node, seq unbroken) is handled with whole-batch
operations, whatever the number of nodes. Only nodes with something to tell (births,
deaths, gaps, data without birth) are taken message by message, in order of arrival.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.decoded import Decoded
from sparkplug.events import Event, EventKind
from sparkplug.host.absence import Absence, say_stale
from sparkplug.host.batch import apart_from_deaths
from sparkplug.host.fleet_gauges import FleetGauges
from sparkplug.host.fleet_memory import FleetMemory
from sparkplug.host.fleet_options import FleetOptions
from sparkplug.host.fleet_state import FleetState
from sparkplug.host.owner import stale_memory
from sparkplug.host.portions import Portion, Scale
from sparkplug.host.reading.awaiting_births import AwaitingBirths
from sparkplug.host.reading.batch_reader import BatchReader
from sparkplug.host.reading.lifecycle import Lifecycle
from sparkplug.host.reading.ordering import Ordering
from sparkplug.host.reading.resolution import Resolution
from sparkplug.host.reading.restoring import Restoration
from sparkplug.host.reading.undeclared import UndeclaredMetrics
from sparkplug.host.screening import FleetLimits, TagRoom
from sparkplug.host.views import declared_tags, node_views
from sparkplug.host.watch.kept_history import KeptHistory
from sparkplug.messages import MessageBatch, Reason, RebirthRequest, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import HeldMessage
    from sparkplug.host.views import NodeView
    from sparkplug.host.watch.completeness import Received
    from sparkplug.messages import Message


class Fleet:
    """Decodes everything that one MQTT server delivers (docs/decoding.md).

    Single-threaded, and all fleets of a site on the same thread, for they change each other; of
    `gauges` others may ask as well. Rows come in the order in which messages are read, which
    is not that of arrival where something waited. The catalogue may start a new
    generation of tag ids at the beginning of a `feed`, never within one. Times called
    `now` are monotonic, in seconds.

    Attributes:
        limits: bounds of what is read and remembered.
        catalogue: of its tags.
        memory: what outlives the process, and how it is taken in at a start.
        gauges: how much of everything there is now.
        absence: what is not heard; it is told that somebody listens, and who was asked.
        liveness: who is alive, here and on the other servers of its site.
        alarms: what is wrong with nodes.

    All parts share a `FleetState`. What its reading consists of is in `sparkplug.host.reading`.
    """

    def __init__(
        self,
        limits: FleetLimits | None = None,
        options: FleetOptions | None = None,
        *,
        room: TagRoom | None = None,
    ) -> None:
        """Make a fleet without nodes.

        Args:
            limits: bounds of what is read and remembered.
            options: how it reads.
            room: what is taken of the limits of tags; None: shared with no other fleet.
        """
        self.limits = limits or FleetLimits()
        self._state = state = FleetState(self.limits, options or FleetOptions(), room)
        self._awaiting = AwaitingBirths(state)
        resolution = Resolution(state)
        undeclared = UndeclaredMetrics(state, self._awaiting)
        ordering = Ordering(state, resolution, self._awaiting, undeclared, Lifecycle(state))
        recall = self._awaiting.recall
        self._batches = BatchReader(state, resolution, recall, undeclared, ordering)
        self._scale = Scale(state, recall)
        self.catalogue = state.catalogue
        self.absence = Absence(state)
        self.liveness = state.liveness
        self.alarms = state.alarms
        self.gauges = FleetGauges(state, self._awaiting)
        restoration = Restoration(state, self._batches)
        self.memory = FleetMemory(state, self._awaiting, restoration, self.absence)

    def portions(self, messages: MessageBatch) -> Iterator[Portion]:
        """The messages as they are to be fed: in portions that take little memory to be read."""
        return self._scale.portions(messages)

    def feed(self, messages: Sequence[Message], now: float = 0.0) -> Decoded:
        """Take a batch in; return its rows, counts, rebirth wishes and bad messages."""
        decoded, state = Decoded(), self._state
        if not self.memory.has_unfinished:
            state.declared.drop_dead()
        if type(messages) is not MessageBatch:  # isinstance asks Sequence, in plain Python
            messages = MessageBatch(messages)
        self._end_waiting(now, decoded)
        if len(messages):
            state.heard_us = messages.received_us[-1]
        state.recent.next_batch()
        for part in apart_from_deaths(messages) if messages.deaths else (messages,):
            self._batches.read(part, decoded)
        self.absence.look(decoded)
        for key in self.liveness.unsettled.to_ask():
            decoded.rebirths.append(RebirthRequest(*key, Reason.CONNECTION_LOST))
        decoded.events += self.alarms.events(state.edge_nodes, now, state.heard_us)
        if decoded.rebirths:
            decoded.rebirths = merged(decoded.rebirths)
        return self._without_vain_requests(decoded)

    def tick(self, now: float) -> Decoded:
        """Let time pass: what waited for too long goes on, or is given up."""
        decoded = Decoded()
        self._end_waiting(now, decoded)
        self.absence.look(decoded)
        decoded.events += self.alarms.events(self._state.edge_nodes, now, self._state.heard_us)
        return self._without_vain_requests(decoded)

    def flush(self, now: float) -> Decoded:
        """Do not wait for missing messages any longer; `memory.held` tells what remains."""
        decoded = Decoded()
        self._state.now = now
        watched = self._state.sequences.watched()
        self._end_waiting_of([each for each in watched if each.sequence.needs_attention], decoded)
        self.absence.learn()
        return self._without_vain_requests(decoded)

    def _without_vain_requests(self, decoded: Decoded) -> Decoded:
        """Leave out requests for births that nobody would show us."""
        sight = self._state.options.sight
        if sight is not None:
            decoded.rebirths = [
                each
                for each in decoded.rebirths
                if sight(each.group_id, each.edge_node_id).would_show_answer(each.reason)
            ]
        return decoded

    def node_views(self) -> list[NodeView]:
        """All edge nodes as they are now; any thread may ask."""
        return node_views(self._state)

    def declared_tags(self) -> NDArray[np.int32]:
        """The tags that the last births declared; any thread may ask.

        Right if the generation of the catalogue is the same before and after.
        """
        return declared_tags(self._state)

    def _end_waiting(self, now: float, decoded: Decoded) -> None:
        self._state.now = now
        self._state.unborn.await_nodes(now)
        self._state.hearing.pass_time(now)
        timeout = self._state.options.reorder_timeout
        self._awaiting.late.pass_time()
        if self._state.sequences.attentive:
            unfinished = self.memory.unfinished_session
            overdue = [
                each
                for each in self._state.sequences.watched()
                if each.due(timeout) <= now and each is not unfinished
            ]
            self._end_waiting_of(overdue, decoded)
        self._awaiting.expire(decoded)

    def _end_waiting_of(self, edge_nodes: Sequence[EdgeNodeState], decoded: Decoded) -> None:
        """Read what waits for missing messages, and late births, as they are."""
        if edge_nodes:
            self._batches.read(MessageBatch(), decoded, edge_nodes)

    # ------------------------------------------------------------------ the connection

    def connection_lost(self, now: float, at_us: int | None = None) -> Decoded:
        """The connection to the MQTT server ended; what was sent since then is lost.

        What waits for a missing message goes on, and late births are births. Every node is
        unconfirmed from now on.
        `at_us` is when, microseconds since 1970 UTC; by default when the last message came.
        """
        decoded, state = Decoded(), self._state
        state.now = now
        late = [each for each in state.sequences.watched() if each.late_birth is not None]
        self._end_waiting_of(late, decoded)
        decoded.add(self.flush(now))  # what follows a late birth waits no longer either
        at_us = state.heard_us if at_us is None else at_us
        self.absence.leave(at_us, decoded)
        state.nodes.confirmed[:] = False
        state.hearing.missed()
        state.unheard.lost()
        state.recent.clear()
        alive = sum(edge_node.owner.born for edge_node in state.edge_nodes)
        for edge_node in state.edge_nodes:
            if edge_node.in_doubt and not state.nodes.partial[edge_node.index]:
                state.completeness.left_in_doubt(
                    (edge_node.owner.group_id, edge_node.owner.edge_node_id)
                )
        decoded.events.append(
            Event(EventKind.CONNECTION_LOST, at_us, detail=f"{alive} edge nodes were alive")
        )
        if state.options.stale_when_lost:
            # Nothing is known any more of all that is alive, and of what was waited for.
            unborn = [owner for each in state.edge_nodes for owner in state.unborn.withdraw(each)]
            say_stale(state.read_times, self.liveness.stale.declare_lost(unborn), at_us, decoded)
            decoded.memories += map(stale_memory, unborn)
        return self._without_vain_requests(decoded)

    # ------------------------------------------------------------------ rows that were lost

    def lose(self, decoded: Decoded) -> dict[tuple[str, str], int]:
        """What `feed` just gave goes nowhere, except for its rows of quality STALE.

        The sessions go on as they are: what was read was read. Tags whose birth values are
        lost stay STALE, which is added to the memories.

        Returns:
            How many messages that makes, by (group id, edge node id).
        """
        state = self._state
        for tags in decoded.taken_back:
            owners = self.liveness.stale.stale_after_all(tags)
            decoded.memories += map(stale_memory, owners)
            decoded.memories += self.liveness.stale.partly_stale(owners)
        readers = np.concatenate([np.empty(0, dtype=np.int64), *decoded.readers])
        lost: dict[tuple[str, str], int] = {}
        for index, count in zip(*np.unique(readers, return_counts=True), strict=True):
            owner = state.edge_nodes[index].owner
            lost[owner.group_id, owner.edge_node_id] = int(count)
        return lost

    def alive(self, group_id: str, edge_node_id: str, device_id: str | None = None) -> bool:
        """Whether a node, or a device of it, is in a session, as far as that is known."""
        edge_node = self._state.by_id.get((group_id, edge_node_id))
        owner = None if edge_node is None else edge_node.owner_of(device_id)
        return owner is not None and owner.born

    # ------------------------------------------------------------------ accounts

    @property
    def heard_us(self) -> int:
        """When the last message came, microseconds since 1970 UTC; 0 if none did."""
        return self._state.heard_us

    def take_received(self, *, never_born: bool = False) -> list[Received]:
        """The messages of each node that took part in seq since the last call.

        `never_born`: also of nodes of which no birth was read yet, which are told with it
        otherwise. A fleet that ends tells nothing later.
        """
        return self._state.completeness.take_received(self._state.edge_nodes, never_born=never_born)

    # ------------------------------------------------------------------ once more

    def hold_again(self, messages: Iterable[HeldMessage], now: float) -> Decoded:
        """Let messages that were given up wait for a birth once more, and ask for it."""
        decoded = Decoded()
        self._state.now = now
        self._awaiting.hold_again(messages, decoded)
        return self._without_vain_requests(decoded)

    # ------------------------------------------------------------------ offline on purpose

    def watch_history(self, window_us: int) -> KeptHistory:
        """Look from now on who keeps data while the host is offline, for so many microseconds."""
        state = self._state
        state.kept_history = KeptHistory(
            state.nodes,
            state.edge_nodes,
            state.by_id,
            state.catalogue,
            state.hearing,
            window_us,
        )
        return state.kept_history

    def stop_watching_history(self) -> None:
        """Look no longer."""
        self._state.kept_history = None
