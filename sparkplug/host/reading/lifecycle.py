"""Births and deaths: sessions begin and end. In which order messages come is not known here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.events import Event, EventKind
from sparkplug.host.batch import CODE
from sparkplug.host.nodes.session import TRANSMISSION_VERSION
from sparkplug.host.observations import SessionTags, StaleRows, stale_observations
from sparkplug.host.owner import MetricOwner, stale_memory
from sparkplug.host.reading.declaration import Declaration
from sparkplug.memory import BirthMemory, EndMemory
from sparkplug.messages import Reason
from sparkplug.payload import ABSENT, BEYOND_SEQ
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from sparkplug.decoded import Decoded
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.session import EdgeNodeSession


class Lifecycle:
    """Begins and ends the sessions of nodes and devices, and tells and remembers it."""

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._declaration = Declaration(state)

    # ------------------------------------------------------------------ births

    def admit(self, arrival: Arrival) -> EdgeNodeSession | None:
        """The session of a node that an NBIRTH is of; None if there are too many nodes."""
        session = self._state.session_of(arrival.topic)
        if session is not None:
            return session
        if len(self._state.sessions) >= self._state.limits.max_nodes:
            arrival.refuse(Reason.TOO_MANY_NODES)
            return None
        return self._state.new_session(arrival.topic)

    def begin_session(self, arrival: Arrival, session: EdgeNodeSession) -> bool:
        """Take an NBIRTH in; False if there is no room for its tags. It is not told yet."""
        state, batch = self._state, arrival.batch
        if not self._declaration.fits(arrival, session.owner):
            # Its aliases mean something else now.
            self.lose_session(session, arrival.received_us, batch.decoded)
            return False
        batch.node[arrival.position] = session.index
        arrival.take()
        batch.decoded.births.append(arrival.key)
        ended_us = None if state.restoring else arrival.received_us
        state.ended_unheard(session, session.devices.values(), ended_us)
        session.begin(arrival.bd_seq)
        if not state.restoring:
            state.has_news |= state.unheard.born(session.index, state.hearing.now)
            state.alarms.duplicates.born(*arrival.key, session.bd_seq, state.now)
        for owner in session.owners():
            state.topics.live[owner.topic_index] = False
        self._declaration.declare(arrival, session, session.owner)
        is_ignition = TRANSMISSION_VERSION in session.owner.tags
        state.nodes.ignition[session.index] = batch.ignition[arrival.position] = is_ignition
        self._remember(arrival, session, None)
        return True

    def device_birth(self, arrival: Arrival, session: EdgeNodeSession) -> bool:
        """Take a DBIRTH in and tell it; False if it is refused."""
        device_id = arrival.topic.device_id
        assert device_id is not None
        owner = session.devices.get(device_id)
        if arrival.is_nameless:
            arrival.refuse(Reason.NAMELESS_BIRTH)
            self.lose_device(session, device_id, arrival.received_us, arrival.decoded)
            return False
        if owner is None:
            owner = MetricOwner(*arrival.key, device_id)
            if not self._declaration.fits(arrival, owner):
                return False
            session.devices[device_id] = owner
            self._state.add_topic(session, owner, MessageType.DDATA)
        elif not self._declaration.fits(arrival, owner):
            self.lose_device(session, device_id, arrival.received_us, arrival.decoded)
            return False
        self._declaration.declare(arrival, session, owner)
        self._remember(arrival, session, device_id)
        if not self._state.restoring:
            self.tell(EventKind.DEVICE_BIRTH, arrival, owner)
        return True

    # ------------------------------------------------------------------ deaths

    def node_death(self, arrival: Arrival, session: EdgeNodeSession) -> None:
        """An NDEATH ends the present session of its node."""
        owner, bd_seq = session.owner, arrival.bd_seq
        detail = self._elsewhere(owner)
        arrival.batch.turns.give(arrival.position)
        unborn = self._state.unborn.take(session)
        alive = [each for each in session.owners() if each.born]
        self._mark_stale(arrival, alive + unborn)
        arrival.decoded.memories += map(stale_memory, unborn)
        self._state.end_session(session)
        session.dead_bd_seq, session.died_at = bd_seq, self._state.now
        self._forget(arrival.decoded, owner, stale=True, bd_seq=bd_seq, time_us=arrival.received_us)
        self.tell(EventKind.NODE_DEATH, arrival, owner, detail=detail)

    def device_death(self, arrival: Arrival, session: EdgeNodeSession, owner: MetricOwner) -> None:
        """A DDEATH ends the session of a device that is alive."""
        detail = self._elsewhere(owner)
        self._mark_stale(arrival, [owner])
        self._state.end_device(session, owner)
        self._forget(arrival.decoded, owner, stale=True)
        self.tell(EventKind.DEVICE_DEATH, arrival, owner, detail=detail)

    def lose_session(self, session: EdgeNodeSession, at_us: int, decoded: Decoded) -> None:
        """An NBIRTH was not read: from here on the aliases mean something else."""
        self._state.ended_unheard(session, session.owners(), at_us)
        self._state.end_session(session)
        self._forget(decoded, session.owner, stale=False)

    def lose_device(
        self, session: EdgeNodeSession, device_id: str, at_us: int, decoded: Decoded
    ) -> None:
        """A DBIRTH was not read: the aliases of its device, if that lives, mean something else."""
        owner = session.devices.get(device_id)
        if session.owner.born and owner is not None and owner.born:
            self._state.ended_unheard(session, [owner], at_us)
            self._state.end_device(session, owner)
            self._forget(decoded, owner, stale=False)

    def _elsewhere(self, owner: MetricOwner) -> str | None:
        """What to add where a death is told that another server of the site does not show."""
        if self._state.liveness.alive_nowhere_else([owner]):
            return None
        return "alive on another server of its site"

    def _mark_stale(self, arrival: Arrival, owners: list[MetricOwner]) -> None:
        """A row of quality STALE for every tag that was alive.

        A node dies when the host hears of it, because the will was written at its CONNECT
        (operational-behavior-...-ndeath-node-tags-stale); a device when its node says so.
        """
        state, batch, position = self._state, arrival.batch, arrival.position
        if not state.options.emit_stale:
            return
        owners = state.liveness.alive_nowhere_else(owners)
        if not owners:
            return
        by_owner = state.liveness.with_rows_by_owner(owners)
        for owner, of_owner in zip(owners, by_owner, strict=True):
            state.liveness.said_stale(owner, of_owner)
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
        arrival.decoded.events.append(
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
    def _remember(arrival: Arrival, session: EdgeNodeSession, device_id: str | None) -> None:
        arrival.decoded.memories.append(
            BirthMemory(session.index, *arrival.key, device_id, arrival.message)
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
