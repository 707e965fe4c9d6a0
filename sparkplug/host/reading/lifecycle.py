"""Births and deaths: sessions begin and end, and births declare metrics.

In which order messages come is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.datatypes import datatype_codes
from sparkplug.events import MOST_NAMED, Event, EventKind, first_names
from sparkplug.host.batch import CODE
from sparkplug.host.catalogue import MAX_NAME_CHARACTERS, NO_TAG
from sparkplug.host.fleet_state import OWNER_TAGS
from sparkplug.host.nodes.edge_node import TRANSMISSION_VERSION
from sparkplug.host.observations import (
    Began,
    SessionTags,
    StaleRows,
    said_by_host,
    stale_observations,
)
from sparkplug.host.owner import MetricOwner, stale_memory
from sparkplug.host.structured_rows import Birth
from sparkplug.host.tag_states import NEVER
from sparkplug.memory import BirthMemory, EndMemory
from sparkplug.messages import Reason
from sparkplug.payload import ABSENT, BEYOND_SEQ, booleans, numbers, validity
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState


class Lifecycle:
    """Begins and ends the sessions of nodes and devices, and tells and remembers it.

    A birth declares the metrics of its node or device: their tags, and their aliases.
    """

    def __init__(self, state: FleetState) -> None:
        self._state = state

    # ------------------------------------------------------------------ births

    def admit(self, arrival: Arrival) -> EdgeNodeState | None:
        """The node that an NBIRTH is of, which may be a new one; None if there are too many."""
        edge_node = self._state.edge_node_of(arrival.topic)
        if edge_node is not None:
            return edge_node
        if len(self._state.edge_nodes) >= self._state.limits.max_nodes:
            arrival.refuse(Reason.TOO_MANY_NODES)
            return None
        return self._state.new_edge_node(arrival.topic)

    def begin_session(self, arrival: Arrival, edge_node: EdgeNodeState) -> bool:
        """Take an NBIRTH in; False if there is no room for its tags. It is not told yet."""
        state, batch = self._state, arrival.batch
        if not self._fits(arrival, edge_node.owner):
            # Its aliases mean something else now.
            self.lose_session(edge_node, arrival.received_us, batch.decoded)
            return False
        batch.node[arrival.position] = edge_node.index
        arrival.batch.give_turn(arrival.position)
        batch.decoded.births.append(arrival.key)
        ended_us = None if state.restoring else arrival.received_us
        state.ended_unheard(edge_node, edge_node.devices.values(), ended_us)
        edge_node.begin(arrival.bd_seq)
        if not state.restoring:
            state.has_news |= state.unheard.born(edge_node.index, state.hearing.now)
            state.alarms.duplicates.born(*arrival.key, edge_node.bd_seq, state.now)
        for owner in edge_node.owners():
            state.topics.live[owner.topic_index] = False
        self._declare(arrival, edge_node, edge_node.owner)
        is_ignition = TRANSMISSION_VERSION in edge_node.owner.tags
        state.nodes.ignition[edge_node.index] = batch.ignition[arrival.position] = is_ignition
        self._remember(arrival, edge_node, None)
        return True

    def device_birth(self, arrival: Arrival, edge_node: EdgeNodeState) -> bool:
        """Take a DBIRTH in and tell it; False if it is refused."""
        device_id = arrival.topic.device_id
        assert device_id is not None
        owner = edge_node.devices.get(device_id)
        if arrival.is_nameless:
            arrival.refuse(Reason.NAMELESS_BIRTH)
            self.lose_device(edge_node, device_id, arrival.received_us, arrival.batch.decoded)
            return False
        if owner is None:
            owner = MetricOwner(*arrival.key, device_id)
            if not self._fits(arrival, owner):
                return False
            edge_node.devices[device_id] = owner
            self._state.add_topic(edge_node, owner, MessageType.DDATA)
        elif not self._fits(arrival, owner):
            self.lose_device(edge_node, device_id, arrival.received_us, arrival.batch.decoded)
            return False
        self._declare(arrival, edge_node, owner)
        self._remember(arrival, edge_node, device_id)
        if not self._state.restoring:
            self.tell(EventKind.DEVICE_BIRTH, arrival, owner)
        return True

    # ------------------------------------------------------------------ what a birth declares

    def _fits(self, arrival: Arrival, owner: MetricOwner) -> bool:
        """Whether there is room for the tags of a birth; it is refused if there is not.

        A new node or device takes room itself, too.
        """
        state, rows = self._state, arrival.rows
        leaves = state.structured.open(arrival.batch, arrival.position, owner)
        tags = state.room.tags - len(owner.declared) + rows.stop - rows.start + len(leaves)
        is_new = owner.topic_index < 0
        tags += OWNER_TAGS * is_new
        names = () if arrival.batch.names is None else arrival.batch.names[rows]
        characters = state.room.characters - owner.characters + leaves.characters
        characters += sum(map(len, filter(None, names))) + is_new * len(arrival.message.topic)
        limits = state.limits
        if tags <= limits.max_tags and characters <= limits.max_name_characters:
            return True
        arrival.refuse(Reason.TOO_MANY_TAGS)
        return False

    def _declare(self, arrival: Arrival, edge_node: EdgeNodeState, owner: MetricOwner) -> None:
        """Register the metrics of a birth that fits; its owner is born."""
        state, batch, rows = self._state, arrival.batch, arrival.rows
        names, codes = _names_and_codes(arrival)
        leaves = batch.structured.opened[arrival.position]
        before, remembered = owner.declared, owner.remembered(state.catalogue)
        declared = owner.declare(
            state.catalogue, [*names, *leaves.names], np.concatenate([codes, leaves.codes])
        )
        if not state.kept_births:  # else the last rows are still those of the session before
            batch.began.append(Began(batch.turns.of(arrival.position), owner.declared))
        tags = batch.tag[rows] = declared[: len(codes)]
        nameless = count_nonzero(tags == NO_TAG)
        if nameless:
            batch.decoded.counts[Reason.METRIC_WITHOUT_NAME] += int(nameless)
        state.unborn.born(edge_node, owner, state.now)
        if not state.restoring:
            state.liveness.stale.born(owner)
            self._retire(arrival, owner, self._with_history(owner, before))
            owner.left_out = owner.kept = before[:0]
        elif state.kept_births:
            known = self._with_history(owner, before)
            owner.left_out = np.setdiff1d(known, owner.declared)
            owner.kept = np.setdiff1d(owner.declared, known)
        self._take_back_stale(arrival)
        birth = Birth(arrival.position, owner, before, leaves, declared[len(codes) :])
        state.structured.declared(batch, birth)
        state.declared.change(remembered, owner.remembered(state.catalogue))
        edge_node.replace_aliases(owner, *self._aliases(arrival, tags), silent=state.restoring)
        owner.born = True
        state.unsure.born(edge_node, owner)
        state.nodes.born[edge_node.index] = edge_node.owner.born
        owner.born_ms = arrival.sent_ms
        state.topics.live[owner.topic_index] = True
        moved = [edge_node]
        if state.pool.wasteful:
            state.pool.compact()
            moved = state.edge_nodes
        for each in moved:
            state.publish_table(each, owner if each is edge_node else each.owner)

    def _with_history(self, owner: MetricOwner, before: NDArray[np.int32]) -> NDArray[np.int32]:
        """Tags of an owner that may have rows: of the births `before` that of now.

        A tag that only a server's kept birth has declared has none, unless data named it. If it
        did, it is the one of its name.
        """
        catalogue = self._state.catalogue
        never = np.isin(before, owner.kept) & (catalogue.states.read_us[before] == NEVER)
        if not (never.any() or len(owner.left_out)):
            return before
        tags = before[~never]
        names = {catalogue.names[tag] for tag in tags.tolist()}
        left_out = owner.left_out[~catalogue.named(owner.left_out, names)]
        return np.union1d(tags, left_out).astype(np.int32)

    def _retire(self, arrival: Arrival, owner: MetricOwner, before: NDArray[np.int32]) -> None:
        """Tags that a birth leaves out have no value any more; those that come back have one."""
        state, batch, position = self._state, arrival.batch, arrival.position
        if np.array_equal(before, owner.declared):
            return
        stale, retired_tags = state.liveness.stale, state.liveness.retired
        fresh = np.setdiff1d(owner.declared, before, assume_unique=True)
        stale.were_retired(retired_tags.bring_back(owner, fresh))
        others = np.setdiff1d(before, owner.declared, assume_unique=True)
        retired = retired_tags.left_out(owner, others)
        if not len(retired):
            return
        names = [state.catalogue.names[tag] for tag in retired[: MOST_NAMED + 1].tolist()]
        arrival.batch.decoded.events.append(
            Event(
                EventKind.RETIRED,
                arrival.received_us,
                owner.group_id,
                owner.edge_node_id,
                owner.device_id,
                detail=f"{len(retired)} tags are not declared any more: {first_names(names)}",
            )
        )
        if state.options.emit_stale:
            retired_tags.retire(owner, retired)
            due = stale.said_of_retired(owner, retired)
            if len(due):
                left_out = [SessionTags(due, before)]
                rows = said_by_host(left_out, arrival.received_us)
                batch.stale.append(StaleRows(batch.turns.of(position), rows, left_out))

    def _take_back_stale(self, arrival: Arrival) -> None:
        """Note which metrics of a birth are the first that give a row after their death."""
        state, batch, rows = self._state, arrival.batch, arrival.rows
        if not state.births_give_rows or not state.catalogue.states.stale.any():
            return
        eligible = np.ones(rows.stop - rows.start, dtype=np.bool_)
        if not state.options.emit_transient:
            eligible &= ~booleans(batch.columns.metric("is_transient")[rows])
        batch.returned[rows] = state.catalogue.take_back_stale(batch.tag[rows], eligible)

    def _aliases(
        self, arrival: Arrival, tags: NDArray[np.int32]
    ) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
        """The aliases of a birth with their tags, without those that are not clear."""
        column = arrival.batch.columns.metric("alias")[arrival.rows]
        aliased = validity(column) & (tags != NO_TAG)
        aliases, alias_tags = numbers(column, np.uint64)[aliased], tags[aliased]
        ambiguous = self._ambiguous(aliases, alias_tags)
        if len(ambiguous):
            arrival.batch.decoded.counts[Reason.DUPLICATE_ALIAS] += len(ambiguous)
            clear = ~np.isin(aliases, ambiguous)
            aliases, alias_tags = aliases[clear], alias_tags[clear]
        return aliases, alias_tags

    def _ambiguous(
        self, aliases: NDArray[np.uint64], tags: NDArray[np.int32]
    ) -> NDArray[np.uint64]:
        """Aliases of a birth that stand for metrics of different names."""
        if len(aliases) < 2 or (aliases[1:] > aliases[:-1]).all():
            return aliases[:0]
        order = np.argsort(aliases, kind="stable")
        again = np.flatnonzero(np.diff(aliases[order]) == 0)
        names = self._state.catalogue.names
        first, second = tags[order[again]].tolist(), tags[order[again + 1]].tolist()
        differ = [names[one] != names[other] for one, other in zip(first, second, strict=True)]
        return np.unique(aliases[order[again]][np.array(differ, dtype=np.bool_)])

    # ------------------------------------------------------------------ deaths

    def node_death(self, arrival: Arrival, edge_node: EdgeNodeState) -> None:
        """An NDEATH ends the present session of its node."""
        owner, bd_seq = edge_node.owner, arrival.bd_seq
        detail = self._elsewhere(owner)
        arrival.batch.turns.give(arrival.position)
        unborn = self._state.unborn.withdraw(edge_node)
        alive = [each for each in edge_node.owners() if each.born]
        self._mark_stale(arrival, alive + unborn)
        arrival.batch.decoded.memories += map(stale_memory, unborn)
        self._state.end_session(edge_node)
        edge_node.dead_bd_seq, edge_node.died_at = bd_seq, self._state.now
        self._forget(
            arrival.batch.decoded, owner, stale=True, bd_seq=bd_seq, time_us=arrival.received_us
        )
        self.tell(EventKind.NODE_DEATH, arrival, owner, detail=detail)

    def device_death(self, arrival: Arrival, edge_node: EdgeNodeState, owner: MetricOwner) -> None:
        """A DDEATH ends the session of a device that is alive."""
        detail = self._elsewhere(owner)
        self._mark_stale(arrival, [owner])
        self._state.end_device(edge_node, owner)
        self._forget(arrival.batch.decoded, owner, stale=True)
        self.tell(EventKind.DEVICE_DEATH, arrival, owner, detail=detail)

    def lose_session(self, edge_node: EdgeNodeState, at_us: int, decoded: Decoded) -> None:
        """An NBIRTH was not read: from here on the aliases mean something else."""
        self._state.ended_unheard(edge_node, edge_node.owners(), at_us)
        self._state.end_session(edge_node)
        self._forget(decoded, edge_node.owner, stale=False)

    def lose_device(
        self, edge_node: EdgeNodeState, device_id: str, at_us: int, decoded: Decoded
    ) -> None:
        """A DBIRTH was not read: the aliases of its device, if that lives, mean something else."""
        owner = edge_node.devices.get(device_id)
        if edge_node.owner.born and owner is not None and owner.born:
            self._state.ended_unheard(edge_node, [owner], at_us)
            self._state.end_device(edge_node, owner)
            self._forget(decoded, owner, stale=False)

    def _elsewhere(self, owner: MetricOwner) -> str | None:
        """What to add where a death is told, if another server of the site shows its node alive."""
        if self._state.liveness.presence.is_alive_elsewhere(owner):
            return "alive on another server of its site"
        return None

    def _mark_stale(self, arrival: Arrival, owners: list[MetricOwner]) -> None:
        """A row of quality STALE for every tag that was alive.

        A node dies when the host hears of it, because the will was written at its CONNECT
        (operational-behavior-...-ndeath-node-tags-stale); a device when its node says so.
        """
        state, batch, position = self._state, arrival.batch, arrival.position
        if not state.options.emit_stale:
            return
        owners = state.liveness.presence.alive_nowhere_else(owners)
        if not owners:
            return
        by_owner = state.liveness.stale.with_rows_by_owner(owners)
        for owner, of_owner in zip(owners, by_owner, strict=True):
            state.liveness.stale.note_said(owner, of_owner)
        tags = np.concatenate(by_owner)
        if len(tags) == 0:
            return
        received_us = arrival.received_us
        seq = int(batch.columns.seq[position])
        sent_us = ABSENT if arrival.sent_ms == ABSENT else arrival.sent_ms * 1000
        by_device = batch.message_type[position] == CODE[MessageType.DDEATH]
        rows = stale_observations(
            tags,
            message_type=int(batch.message_type[position]),
            event_time_us=sent_us if by_device and sent_us != ABSENT else received_us,
            payload_time_us=sent_us,
            received_us=received_us,
            seq=seq if seq < BEYOND_SEQ else ABSENT,
        )
        ended = [SessionTags(each, each) for each in by_owner]
        batch.stale.append(StaleRows(batch.turns.of(position), rows, ended))

    # ------------------------------------------------------------------ told and remembered

    def tell(
        self, kind: EventKind, arrival: Arrival, owner: MetricOwner, *, detail: str | None = None
    ) -> None:
        """The event of a birth or death."""
        seq = int(arrival.batch.columns.seq[arrival.position])
        arrival.batch.decoded.events.append(
            Event(
                kind,
                arrival.received_us,
                owner.group_id,
                owner.edge_node_id,
                owner.device_id,
                bd_seq=arrival.bd_seq if owner.device_id is None else None,
                seq=seq if seq != ABSENT else None,
                detail=detail,
            )
        )

    @staticmethod
    def _remember(arrival: Arrival, edge_node: EdgeNodeState, device_id: str | None) -> None:
        arrival.batch.decoded.memories.append(
            BirthMemory(edge_node.index, *arrival.key, device_id, arrival.message)
        )

    def _forget(
        self,
        decoded: Decoded,
        owner: MetricOwner,
        *,
        stale: bool,
        bd_seq: int | None = None,
        time_us: int | None = None,
    ) -> None:
        decoded.memories.append(
            EndMemory(
                owner.group_id,
                owner.edge_node_id,
                owner.device_id,
                stale and self._state.options.emit_stale,
                bd_seq,
                time_us,
            )
        )


def _names_and_codes(arrival: Arrival) -> tuple[list[str | None], NDArray[np.uint8]]:
    """Names of a birth's metrics, None for one that is too long, and their datatypes."""
    batch, rows = arrival.batch, arrival.rows
    column = batch.columns.metric("datatype")[rows]
    codes = datatype_codes(numbers(column, np.uint32))
    codes[~validity(column)] = 0
    names: list[str | None] = [None] * len(codes)
    if batch.names is not None:
        names = batch.names[rows]
    if max(map(len, filter(None, names)), default=0) > MAX_NAME_CHARACTERS:
        names = [n if n and len(n) <= MAX_NAME_CHARACTERS else None for n in names]
    return names, codes
