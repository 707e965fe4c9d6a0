"""Messages and metrics that cannot be read before a birth comes: held, recalled, given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.nodes.holding import Holding
from sparkplug.host.nodes.waiting import HeldMessage, Waiting
from sparkplug.host.reading.late_births import LateBirths
from sparkplug.host.reading.recall import Recall
from sparkplug.messages import Quarantined, QuarantinedPart, Reason, RebirthRequest
from sparkplug.payload import validity
from sparkplug.topics import MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.seq_place import SeqPlace
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner
    from sparkplug.messages import Message


def give_up(entries: Iterable[Waiting], decoded: Decoded, reason: Reason | None = None) -> None:
    """What was held becomes a dead letter, by default for the reason it was held for."""
    for entry in entries:
        why = reason or entry.reason
        assert why is not None
        kind = QuarantinedPart if entry.counted else Quarantined
        decoded.expired.append(kind(entry.message, why))


def need_no_birth(
    catalogue: TagCatalogue, batch: Batch, owner: MetricOwner, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of some metrics of data give no row, whatever a birth says of them."""
    never = np.zeros(len(rows), dtype=np.bool_)
    names = batch.names
    if names is None:
        return never
    is_template = validity(batch.columns.metric("template_value").take(pa.array(rows)))
    for index, row in enumerate(rows.tolist()):
        name = names[row]
        never[index] = bool(name) and catalogue.never_gives_rows(
            owner, name or "", is_template=bool(is_template[index])
        )
    return never


class AwaitingBirths:
    """Everything of one fleet that waits for the birth of its node or device.

    Attributes:
        late: births that wait for data that continues them.
        recall: what of all that is to be read together with a batch.
    """

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._holding = Holding(state.options.hold_limits)
        self.late = LateBirths(state, self._holding)
        self.recall = Recall(state, self._holding)

    def __len__(self) -> int:
        """Messages that are held, late births among them."""
        return len(self._holding) + len(self.late)

    @property
    def uncounted(self) -> int:
        """Messages that are held whole, late births among them."""
        return self._holding.uncounted + len(self.late)

    @property
    def left(self) -> set[int]:
        """Numbers on disk of what is held no longer."""
        return self._holding.left

    # ------------------------------------------------------------------ holding

    def hold(self, batch: Batch, key: NodeKey, entry: Waiting) -> None:
        """Hold what is at a position of a batch; others may have to go for it."""
        batch.placed.append(entry)
        give_up(self._holding.hold(key, entry), batch.decoded, Reason.HOLD_FULL)

    def hold_for_node(self, arrival: Arrival, *, by_name: bool) -> None:
        """A message of a node whose NBIRTH is not known, or not believed.

        `by_name`: some of its metrics were found, the others are held.
        """
        arrival.ask_for_birth(Reason.DATA_BEFORE_BIRTH)
        message: Message | None = arrival.message
        if by_name:
            rows = arrival.rows
            rest = rows.start + np.flatnonzero(arrival.batch.tag[rows] == NO_TAG)
            owner = self._state.by_id[arrival.key].owner_of(arrival.topic.device_id)
            assert owner is not None
            rest = rest[~need_no_birth(self._state.catalogue, arrival.batch, owner, rest)]
            message = arrival.batch.part(arrival.position, rest) if len(rest) else None
        if message is not None and not arrival.is_unread:
            entry = Waiting(
                message,
                arrival.seq,
                self._state.now,
                arrival.position,
                reason=Reason.DATA_BEFORE_BIRTH,
                counted=by_name or arrival.position in arrival.batch.counted,
            )
            self.hold(arrival.batch, arrival.key, entry)
        if by_name:
            arrival.count_read()
        else:
            if arrival.is_unread:
                arrival.stay_closed()
            arrival.skip()

    def hold_for_device(self, arrival: Arrival, place: SeqPlace) -> None:
        """A message, at `place`, of a device whose DBIRTH is not known."""
        arrival.ask_for_birth(Reason.DEVICE_DATA_BEFORE_BIRTH)
        if arrival.topic.message_type is MessageType.DDEATH:
            arrival.count_read()
        elif arrival.is_unread:
            arrival.stay_closed()
        else:
            entry = Waiting(
                arrival.message,
                arrival.seq,
                self._state.now,
                arrival.position,
                reason=Reason.DEVICE_DATA_BEFORE_BIRTH,
                device_id=arrival.topic.device_id,
                counted=arrival.position in arrival.batch.counted,
                seq_place=place,
            )
            self.hold(arrival.batch, arrival.key, entry)
        arrival.skip()

    # ------------------------------------------------------------------ no longer held

    def release(self, key: NodeKey, device_id: str | None) -> list[Waiting]:
        """What waits for the birth of a device, or for the node's own; no longer held."""
        return self._holding.release(key, device_id)

    def session_ended(
        self, key: NodeKey, edge_node: EdgeNodeState | None, decoded: Decoded
    ) -> None:
        """A node died: what waits for births of its session waits in vain.

        What waits to know its aliases does not: a birth of any later session tells.
        """
        taken = self._holding.release_node(key)
        for entry in taken:
            if entry.reason is Reason.ALIAS_OF_UNSEEN_BIRTH:
                self._holding.put_back(key, entry)
        ended = [entry for entry in taken if entry.reason is not Reason.ALIAS_OF_UNSEEN_BIRTH]
        give_up(ended, decoded, Reason.SESSION_ENDED)
        if edge_node is not None and (late := self.late.withdraw(edge_node)):
            give_up([late], decoded, Reason.SESSION_ENDED)

    def expire(self, decoded: Decoded) -> None:
        """Give up what has waited for too long."""
        expired = self._holding.expired(self._state.now)
        if expired:
            give_up(expired, decoded)

    # ------------------------------------------------------------------ over a restart

    def held(self) -> list[HeldMessage]:
        """What waits for a birth, late births among it."""
        late = [edge_node.late_birth for edge_node in self._state.sequences.watched()]
        return [
            HeldMessage(entry.message, entry.device_id, entry.reason, entry.counted)
            for entry in [*self._holding, *filter(None, late)]
            if entry.reason is not None
        ]

    def restore(self, messages: Iterable[HeldMessage]) -> None:
        """Let messages wait that waited at the end of an earlier run.

        Who is asked for births, and why, was told before. Late births are among them now: more
        may wait than was allowed, until another has to.
        """
        for key, entry in self._waiting_again(messages):
            self._holding.put_back(key, entry)
            if entry.reason is Reason.LATE_BIRTH:
                self.late.restored(key, entry)

    def hold_again(self, messages: Iterable[HeldMessage], decoded: Decoded) -> None:
        """Let messages wait that had been given up, and ask for the births."""
        for key, entry in self._waiting_again(messages):
            give_up(self._holding.hold(key, entry), decoded, Reason.HOLD_FULL)
            assert entry.reason is not None
            decoded.rebirths.append(RebirthRequest(*key, entry.reason))

    def _waiting_again(self, messages: Iterable[HeldMessage]) -> Iterator[tuple[NodeKey, Waiting]]:
        """Messages that are in no batch, and the nodes whose births they wait for."""
        for message, device_id, reason, counted, kept in messages:
            read = parse_topic(message.topic)
            if isinstance(read, Topic):
                entry = Waiting(
                    message,
                    0,
                    self._state.now,
                    reason=reason,
                    device_id=device_id,
                    counted=counted,
                    kept=kept,
                )
                key = (read.group_id, read.edge_node_id)
                if key not in self._state.by_id:
                    self._state.completeness.heard_of_stranger(key)
                yield key, entry
