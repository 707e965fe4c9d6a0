"""The metrics that births declare: their tags, their aliases, and whether there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.datatypes import datatype_codes
from sparkplug.events import MOST_NAMED, Event, EventKind, first_names
from sparkplug.host.catalogue import MAX_NAME_CHARACTERS, NEVER, NO_TAG
from sparkplug.host.fleet_state import OWNER_TAGS
from sparkplug.host.observations import SessionTags, StaleRows, said_by_host
from sparkplug.host.structured_rows import Birth
from sparkplug.messages import Reason
from sparkplug.payload import booleans, numbers, validity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.arrival import Arrival
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.session import EdgeNodeSession
    from sparkplug.host.owner import MetricOwner


class Declaration:
    """Takes in what births say of the metrics of their nodes and devices."""

    def __init__(self, state: FleetState) -> None:
        self._state = state

    def fits(self, arrival: Arrival, owner: MetricOwner) -> bool:
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

    def declare(self, arrival: Arrival, session: EdgeNodeSession, owner: MetricOwner) -> None:
        """Register the metrics of a birth that fits; its owner is born."""
        state, batch, rows = self._state, arrival.batch, arrival.rows
        names, codes = _names_and_codes(arrival)
        leaves = batch.structured.opened[arrival.position]
        before, remembered = owner.declared, owner.remembered(state.catalogue)
        declared = owner.declare(
            state.catalogue, [*names, *leaves.names], np.concatenate([codes, leaves.codes])
        )
        if not state.kept_births:  # else the last rows are still those of the session before
            batch.began.append((batch.turns.of(arrival.position), owner.declared))
        tags = batch.tag[rows] = declared[: len(codes)]
        nameless = count_nonzero(tags == NO_TAG)
        if nameless:
            batch.decoded.counts[Reason.METRIC_WITHOUT_NAME] += int(nameless)
        state.unborn.born(session, owner, state.now)
        if not state.restoring:
            state.liveness.born(owner)
            self._retire(arrival, owner, self._with_history(owner, before))
            owner.left_out = owner.kept = before[:0]
        elif state.kept_births:
            known = self._with_history(owner, before)
            owner.left_out = np.setdiff1d(known, owner.declared)
            owner.kept = np.setdiff1d(owner.declared, known)
        self._take_back_stale(arrival)
        birth = Birth(arrival.position, owner, before, leaves, declared[len(codes) :])
        state.structured.declared(batch, birth)
        state.took(remembered, owner.remembered(state.catalogue))
        session.take_aliases(owner, *self._aliases(arrival, tags), silent=state.restoring)
        owner.born = True
        state.be_sure(session, owner)
        state.nodes.born[session.index] = session.owner.born
        owner.born_ms = arrival.sent_ms
        state.topics.live[owner.topic_index] = True
        moved = [session]
        if state.pool.wasteful:
            state.pool.compact()
            moved = state.sessions
        for each in moved:
            state.publish_table(each, owner if each is session else each.owner)

    def _with_history(self, owner: MetricOwner, before: NDArray[np.int32]) -> NDArray[np.int32]:
        """Tags of an owner that may have rows: of the births `before` that of now.

        A tag that only a server's kept birth has declared has none, unless data named it. If it
        did, it is the one of its name.
        """
        catalogue = self._state.catalogue
        never = np.isin(before, owner.kept) & (catalogue.read_us[before] == NEVER)
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
        fresh = np.setdiff1d(owner.declared, before, assume_unique=True)
        state.liveness.back(owner, fresh)
        others = np.setdiff1d(before, owner.declared, assume_unique=True)
        retired = state.liveness.left_out(owner, others)
        if not len(retired):
            return
        names = [state.catalogue.names[tag] for tag in retired[: MOST_NAMED + 1].tolist()]
        arrival.decoded.events.append(
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
            due = state.liveness.retire(owner, retired)
            if len(due):
                left_out = [SessionTags(due, before)]
                rows = said_by_host(left_out, arrival.received_us)
                batch.stale.append(StaleRows(batch.turns.of(position), rows, left_out))

    def _take_back_stale(self, arrival: Arrival) -> None:
        """Note which metrics of a birth are the first that give a row after their death."""
        state, batch, rows = self._state, arrival.batch, arrival.rows
        if not state.births_give_rows or not state.catalogue.stale.any():
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
            arrival.decoded.counts[Reason.DUPLICATE_ALIAS] += len(ambiguous)
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
