"""What is known before anything is heard: births from disk, and those that a server keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.decoded import Decoded
from sparkplug.host.fleet_state import ENDED_IN_DOUBT
from sparkplug.host.node_table import NOT_BORN
from sparkplug.host.reading.certificates import (
    CERTIFICATE_PREFIX,
    Certificate,
    read_certificates,
    tells_more,
)
from sparkplug.messages import MessageBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.reading.batch_reader import BatchReader
    from sparkplug.memory import RememberedBirth
    from sparkplug.messages import Message

_SEQ_NUMBERS: Final = 256
_RESTORED_AT_ONCE: Final = 64
_RESTORED_BYTES: Final = 4 << 20
_MOST_EARLY: Final = 1000
_MOST_EARLY_BYTES: Final = 4 << 20


class Restoration:
    """Takes births in that were read before, or by others.

    `early_certificates` are those of devices whose node is not known yet.
    """

    def __init__(self, state: FleetState, batches: BatchReader) -> None:
        self._state = state
        self._batches = batches
        self.early_certificates: list[Message] = []

    # ------------------------------------------------------------------ from disk

    def restore(
        self, births: Iterable[RememberedBirth], next_seq: NDArray[np.int16]
    ) -> dict[int, int]:
        """Take in what an earlier run remembered: births in order, seq by their slots.

        They are read piece by piece; all payloads at once might be more than the memory has.

        Returns:
            The slots by the indices that the nodes have now.
        """
        slots = {}
        taken_in: list[RememberedBirth] = []
        for piece in _pieces(_nodes_first(births)):
            self._take_silently([each.birth.message for each in piece])
            for each in piece:
                slots[each.birth.group_id, each.birth.edge_node_id] = each.birth.slot
                taken_in.append(_without_payload(each))
        for each in taken_in:
            edge_node = self._state.by_id.get((each.birth.group_id, each.birth.edge_node_id))
            if edge_node is not None:
                self._restore_end(edge_node, each)
        self._count_on(slots, next_seq)
        for edge_node in self._state.edge_nodes:
            edge_node.counted_bd_seq = edge_node.bd_seq
            for owner in edge_node.owners():
                owner.forget_birth_before()
        by_id = self._state.by_id
        return {by_id[key].index: slot for key, slot in slots.items() if key in by_id}

    def _restore_end(self, edge_node: EdgeNodeState, remembered: RememberedBirth) -> None:
        """What became of the session of a birth, after the birth was taken in."""
        state, device_id = self._state, remembered.birth.device_id
        owner = edge_node.owner_of(device_id)
        if owner is None:
            return
        state.catalogue.states.stale[state.catalogue.with_rows(owner.declared)] = remembered.stale
        if device_id is None:
            edge_node.dead_bd_seq = remembered.dead_bd_seq
            # How long ago that was no clock tells that could not have been set since.
            edge_node.died_at = state.now
        if remembered.stale or not remembered.alive:
            state.unborn.settled(edge_node, owner)
        if not (remembered.stale or remembered.alive):
            state.await_births(edge_node, [owner], None)
        if remembered.alive and remembered.stale:
            state.liveness.stale.note_stale(owner, owner.tags.keys())
        if remembered.alive and remembered.taken_back:
            state.liveness.unsettled.note(owner)
        if not remembered.alive and owner.born:
            if device_id is None:
                state.end_session(edge_node)
            else:
                state.end_device(edge_node, owner)

    def _count_on(self, slots: Mapping[NodeKey, int], next_seq: NDArray[np.int16]) -> None:
        """Expect of each node what was expected; its first message is to confirm it."""
        for key, edge_node in self._state.by_id.items():
            slot = slots.get(key, len(next_seq))
            expected = int(next_seq[slot]) if 0 <= slot < len(next_seq) else NOT_BORN
            if expected == ENDED_IN_DOUBT:
                self._state.completeness.left_in_doubt(key)
                expected = NOT_BORN
            if not (edge_node.owner.born and 0 <= expected < _SEQ_NUMBERS):
                expected = NOT_BORN
            if edge_node.owner.born and expected == NOT_BORN:
                self._state.doubt(edge_node)
                if not self._state.nodes.partial[edge_node.index]:
                    self._state.completeness.left_in_doubt(key)
            self._state.nodes.next_seq[edge_node.index] = expected
            self._state.nodes.confirmed[edge_node.index] = False

    # ------------------------------------------------------------------ from the server

    def warm_start(self, messages: Sequence[Message]) -> None:
        """Take in certificates, where they tell anything new."""
        certificates = read_certificates([*self.early_certificates, *messages], self._state.limits)
        self.early_certificates = []
        for of_devices in (False, True):  # nodes, then their devices
            news = [
                each
                for each in certificates
                if (each.topic.device_id is not None) is of_devices and self._is_news(each)
            ]
            self._state.kept_births = True
            self._take_silently([each.message for each in news])
            self._state.kept_births = False
            for each in news:
                edge_node = self._state.edge_node_of(each.topic)
                if edge_node is not None and edge_node.owner.born:
                    edge_node.by_certificate = True
                    self._state.doubt(edge_node)
                    self._state.nodes.confirmed[edge_node.index] = False

    def _is_news(self, certificate: Certificate) -> bool:
        edge_node = self._state.edge_node_of(certificate.topic)
        if edge_node is None and certificate.topic.device_id is not None:
            # Its node's may come yet.
            early = certificate.message
            self._keep_early(early._replace(topic=CERTIFICATE_PREFIX + early.topic))
        confirmed = edge_node is not None and bool(self._state.nodes.confirmed[edge_node.index])
        return tells_more(certificate, edge_node, confirmed=confirmed)

    def _keep_early(self, message: Message) -> None:
        """Keep a certificate for a while; older ones may have to go."""
        early = [*self.early_certificates[1 - _MOST_EARLY :], message]
        size = sum(len(each.payload) for each in early)
        while size > _MOST_EARLY_BYTES:
            size -= len(early.pop(0).payload)
        self.early_certificates = early

    # ------------------------------------------------------------------ both

    def _take_silently(self, births: Sequence[Message]) -> None:
        """Know the metrics of births, and nothing else: no rows, no events, nothing released."""
        self._state.restoring = True
        for start in range(0, len(births), _RESTORED_AT_ONCE):
            some = MessageBatch(births[start : start + _RESTORED_AT_ONCE])
            self._batches.read(some, Decoded())
        self._state.restoring = False


def _nodes_first(births: Iterable[RememberedBirth]) -> Iterator[RememberedBirth]:
    """Births of devices from before their node's come behind it, and then that once more.

    They say nothing without a birth of the node, and the last one that it had ended them.
    """
    early: list[RememberedBirth] = []
    known: int | None = None
    for each in births:
        if early and each.birth.slot != early[0].birth.slot:
            early = []  # of a node without birth
        if each.birth.device_id is None:
            if early:
                yield each
                yield from early
                early = []
            yield each
            known = each.birth.slot
        elif known == each.birth.slot:
            yield each
        else:
            early.append(each)


def _pieces(births: Iterable[RememberedBirth]) -> Iterator[list[RememberedBirth]]:
    """Some births at a time, of bounded size; at least one."""
    piece: list[RememberedBirth] = []
    size = 0
    for each in births:
        length = len(each.birth.message.payload)
        if piece and (size + length > _RESTORED_BYTES or len(piece) == _RESTORED_AT_ONCE):
            yield piece
            piece, size = [], 0
        piece.append(each)
        size += length
    if piece:
        yield piece


def _without_payload(remembered: RememberedBirth) -> RememberedBirth:
    birth = remembered.birth
    return remembered._replace(birth=birth._replace(message=birth.message._replace(payload=b"")))
