"""Messages that are read one by one, where their seq is settled or does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.host.nodes.seq_place import NOWHERE
from sparkplug.messages import QuarantinedPart, Reason
from sparkplug.payload import ABSENT
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.arrival import Arrival
    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.seq_place import SeqPlace
    from sparkplug.host.nodes.waiting import Waiting
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.reading.awaiting_births import AwaitingBirths
    from sparkplug.host.reading.lifecycle import Lifecycle
    from sparkplug.host.reading.resolution import Resolution
    from sparkplug.host.reading.undeclared import UndeclaredMetrics


class SessionReader:
    """Reads messages in the sessions of their nodes; what cannot be read is held."""

    def __init__(
        self,
        state: FleetState,
        resolution: Resolution,
        awaiting: AwaitingBirths,
        undeclared: UndeclaredMetrics,
        lifecycle: Lifecycle,
    ) -> None:
        self._state = state
        self._resolution = resolution
        self._awaiting = awaiting
        self._undeclared = undeclared
        self._lifecycle = lifecycle

    # ------------------------------------------------------------------ in the session

    def read(
        self,
        arrival: Arrival,
        edge_node: EdgeNodeState,
        place: SeqPlace,
        *,
        steady: bool = False,
    ) -> None:
        """A message of a born node, its seq accounted for; it stands at `place`.

        `steady`: data may be from before the birth of its node or device.
        """
        arrival.batch.give_turn(arrival.position)
        if arrival.topic.message_type is MessageType.DBIRTH:
            self._device_birth(arrival, edge_node, place)
            return
        owner = edge_node.owner_of(arrival.topic.device_id)
        if owner is None or not owner.born:
            self._awaiting.hold_for_device(arrival, place)
        elif arrival.topic.message_type is MessageType.DDEATH:
            arrival.skip()
            arrival.count_read()
            self._lifecycle.device_death(arrival, edge_node, owner)
        else:
            self._read_data(arrival, owner, steady=steady)

    def read_late(self, arrival: Arrival, edge_node: EdgeNodeState, place: SeqPlace) -> None:
        """A message that others have overtaken; `place` is NOWHERE if its seq says nothing."""
        owner = edge_node.owner_of(arrival.topic.device_id)
        if arrival.topic.message_type is MessageType.DDEATH:
            if owner is None or not owner.born or not _outlived(owner, arrival.sent_ms):
                arrival.discard(Reason.DEATH_OF_OTHER_SESSION)
                return
        elif (
            arrival.topic.message_type is MessageType.DBIRTH
            and owner is not None
            and owner.born
            and not arrival.is_unread
        ):
            arrival.batch.late[arrival.position] = True
            self._read_data(arrival, owner)
            return
        # The values of a birth that is one are as present as ever.
        is_birth = arrival.topic.message_type is MessageType.DBIRTH
        arrival.batch.late[arrival.position] = not is_birth
        is_after = (
            owner is not None and owner.born and _is_after_birth(arrival, edge_node, owner, place)
        )
        is_explained = place.gap is not None and not place.gap.guessed
        if not is_explained and self._state.unsure.may_wait_for_birth(edge_node):
            arrival.batch.astray[arrival.position] = True  # of a later birth, perhaps
        self.read(arrival, edge_node, place, steady=not is_after)
        if is_birth and place == NOWHERE:
            edge_node.born_at.pop(arrival.topic.device_id or "", None)

    def read_without_birth(self, arrival: Arrival, edge_node: EdgeNodeState | None) -> None:
        """A message of a node whose NBIRTH is not known, or not believed."""
        by_name = edge_node is not None and self._resolution.resolve_by_name(arrival, edge_node)
        self._awaiting.hold_for_node(arrival, by_name=by_name)

    def _device_birth(self, arrival: Arrival, edge_node: EdgeNodeState, place: SeqPlace) -> None:
        device_id = arrival.topic.device_id
        assert device_id is not None
        if arrival.is_unread:
            arrival.stay_closed()
            self._lifecycle.lose_device(
                edge_node, device_id, arrival.received_us, arrival.batch.decoded
            )
            return
        if not self._lifecycle.device_birth(arrival, edge_node):
            return
        arrival.count_read()
        edge_node.born_at.pop(device_id, None)
        if not self._state.restoring:
            edge_node.born_at[device_id] = place
            for entry in self._awaiting.release(arrival.key, device_id):
                there = entry.seq_place or NOWHERE
                sent_ms = arrival.batch.sent_ms(entry.place)
                is_older = sent_ms != ABSENT and sent_ms < arrival.sent_ms
                after = place.is_next_before(there) and not is_older
                self.read_released(arrival.batch, entry, edge_node, after=after)
            edge_node.devices[device_id].forget_steady()

    # ------------------------------------------------------------------ held before

    def read_released(
        self, batch: Batch, entry: Waiting, edge_node: EdgeNodeState, *, after: bool = False
    ) -> None:
        """A held message whose birth has come; its seq was counted, or does not count.

        `after`: it was sent after that birth for certain, with none between the two.
        """
        position = entry.place
        batch.node[position] = edge_node.index
        batch.released[position] = True
        is_ignition = bool(self._state.nodes.ignition[edge_node.index])
        if entry.members is not None:
            if position < batch.recalled and entry.rows is not None:  # else: read where it came
                batch.turns.give_rows(entry.rows, ignition=is_ignition)
            rest = self._state.structured.resume(batch, entry.members)
            if rest is not None:
                batch.decoded.expired.append(QuarantinedPart(rest, Reason.UNKNOWN_METRIC))
        elif entry.rows is not None:
            owner = edge_node.owner_of(self._state.arrival(batch, position).topic.device_id)
            assert owner is not None
            batch.turns.give_rows(entry.rows, ignition=is_ignition)
            self._read_metrics(batch, position, owner, entry.rows, steady=True)
        else:
            arrival = self._state.arrival_of(batch, entry, edge_node)
            self._read_released_message(arrival, entry, edge_node, after=after)

    def _read_released_message(
        self, arrival: Arrival, entry: Waiting, edge_node: EdgeNodeState, *, after: bool
    ) -> None:
        owner = edge_node.owner_of(arrival.topic.device_id)
        if arrival.topic.message_type is MessageType.DDEATH:
            arrival.discard(Reason.DEATH_OF_OTHER_SESSION)
        elif owner is None or not owner.born:
            arrival.skip()
            entry.device_id = arrival.topic.device_id
            self._awaiting.hold(arrival.batch, arrival.key, entry)
        elif arrival.is_unread:
            arrival.stay_closed()
        else:
            arrival.batch.give_turn(arrival.position)
            arrival.batch.late[arrival.position] = True
            self._read_data(arrival, owner, steady=not after)

    # ------------------------------------------------------------------ data

    def _read_data(self, arrival: Arrival, owner: MetricOwner, *, steady: bool = False) -> None:
        """Read all metrics of a message, as data of a node or device.

        `steady`: aliases only as far as the owner's last two births agree on them.
        """
        if arrival.is_unread:
            arrival.stay_closed()
            return
        arrival.count_read()
        rows = np.arange(arrival.rows.start, arrival.rows.stop)
        self._read_metrics(arrival.batch, arrival.position, owner, rows, steady=steady)

    def _read_metrics(
        self,
        batch: Batch,
        position: int,
        owner: MetricOwner,
        rows: NDArray[np.int64],
        *,
        steady: bool,
    ) -> None:
        if not steady and (batch.astray[position] or self._state.unsure.is_unsure(owner)):
            rows = self._undeclared.hold_aliases(batch, position, owner, rows)
        unknown = self._resolution.resolve(batch, position, owner, rows, steady=steady)
        if len(unknown):
            self._undeclared.hold(batch, position, owner, unknown, unsteady=steady)
        self._undeclared.read_structured(batch, rows)


def _is_after_birth(
    arrival: Arrival, edge_node: EdgeNodeState, owner: MetricOwner, place: SeqPlace
) -> bool:
    """Whether a late message at `place` was sent after the present birth of its owner.

    Its node says so by its clock, or its seq: a known gap is one of the present session, so
    it is behind the NBIRTH. One without seq is late by nothing but its clock.
    """
    if arrival.batch.columns.seq[arrival.position] == ABSENT:
        return ABSENT in (owner.born_ms, arrival.sent_ms) or owner.born_ms <= arrival.sent_ms
    if owner.born_ms != ABSENT and arrival.sent_ms > owner.born_ms:
        return True
    device_id = owner.device_id
    born_at = NOWHERE if device_id is None else edge_node.born_at.get(device_id)
    return born_at is not None and born_at.is_before(place)


def _outlived(owner: MetricOwner, sent_ms: int) -> bool:
    """Whether a late DDEATH came after the device's present birth, for all we know."""
    return ABSENT in (owner.born_ms, sent_ms) or owner.born_ms <= sent_ms
