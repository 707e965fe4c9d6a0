"""One batch on its way: screened, resolved, taken one by one where needed, made rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.decoded import Decoded
from sparkplug.host.batch import CODE, is_birth, one_by_one
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.observations import NO_TURNS, Circumstances, RowChoice, in_turn, observe
from sparkplug.host.screening import screen
from sparkplug.host.tag_description import describe
from sparkplug.messages import MESSAGE_TYPES, MessageBatch, Reason
from sparkplug.payload import ABSENT, METRIC_MEMORY, NAMES_PER_ROW
from sparkplug.topics import MessageType, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.observations import Observed
    from sparkplug.host.reading.ordering import Ordering
    from sparkplug.host.reading.recall import Recall
    from sparkplug.host.reading.resolution import Resolution
    from sparkplug.host.reading.undeclared import UndeclaredMetrics
    from sparkplug.host.structured_rows import Flattened
    from sparkplug.messages import Quarantined

_HAS_VALUES: Final = np.array([not each.endswith("DEATH") for each in MESSAGE_TYPES])
_IN_ENVELOPE: Final = (Reason.BAD_ENVELOPE, Reason.ENVELOPE_TOO_LARGE)


class BatchReader:
    """Reads batches of messages with the parts of a fleet."""

    def __init__(
        self,
        state: FleetState,
        resolution: Resolution,
        recall: Recall,
        undeclared: UndeclaredMetrics,
        ordering: Ordering,
    ) -> None:
        self._state = state
        self._resolution = resolution
        self._recall = recall
        self._undeclared = undeclared
        self._ordering = ordering

    def read(
        self,
        messages: MessageBatch,
        decoded: Decoded,
        overdue: Sequence[EdgeNodeState] = (),
    ) -> None:
        """Messages of which either all are deaths, or none.

        The windows and late births of `overdue` nodes are read first, whatever is missing.
        """
        recalled = self._recall.entries(messages, overdue)
        together = messages
        if recalled:
            together = MessageBatch([*(entry.message for entry in recalled), *messages])
        state, seen = self._state, Decoded()
        screened = screen(together, state.data_topics, state.limits, seen, len(recalled))
        lost = [each.message for each in seen.quarantined if _is_lost_birth(each)]
        if lost and len(messages) > 1:
            for part in one_by_one(lost, messages):
                self.read(part, decoded)
            return
        decoded.add(seen)
        for position, entry in enumerate(recalled):
            entry.position = position
        batch = self._resolution.unresolved(screened, recalled, decoded)
        regular = self._read_regular(batch)
        for edge_node in overdue:
            self._ordering.end_waiting(batch, edge_node)
        for index in (~regular[batch.recalled :]).nonzero()[0].tolist():
            batch.turns.come_to(batch.recalled + index)
            self._ordering.read(batch, batch.recalled + index)
        for message in lost:
            topic = parse_topic(message.topic)
            assert isinstance(topic, Topic)
            self._ordering.lose_birth(batch, topic, message.received_us)
        self._undeclared.hold_unresolved(batch, regular)
        self._finish(batch, regular)

    def _read_regular(self, batch: Batch) -> NDArray[np.bool_]:
        """Read what is in order; return which messages that are."""
        regular = self._resolution.accept_regular(batch)
        batch.taken |= regular
        batch.decoded.read += int(count_nonzero(regular))
        self._resolution.resolve_regular(batch, regular)
        if self._state.catalogue.any_structured:
            rows = np.flatnonzero(batch.columns.per_metric(regular))
            self._undeclared.read_structured(batch, rows)
        for position in range(batch.recalled):
            waiter = self._state.edge_node_of(self._state.arrival(batch, position).topic)
            if waiter is not None:
                batch.node[position] = waiter.index
        return regular

    def _finish(self, batch: Batch, regular: NDArray[np.bool_]) -> None:
        """All metrics that are read have their tags: make rows of them."""
        state, decoded = self._state, batch.decoded
        in_order = count_nonzero(regular) == len(regular)  # as a rule: data and nothing else
        decoded.readers.append(
            batch.node if in_order else batch.node[batch.taken & _HAS_VALUES[batch.message_type]]
        )
        if count_nonzero(batch.columns.timestamp_unusable):
            unusable = count_nonzero(batch.columns.timestamp_unusable & ~batch.unread)
            if unusable:
                decoded.counts[Reason.TIMESTAMP_OUT_OF_RANGE] += int(unusable)
        flat = self._without_giants(batch, state.structured.flatten(batch, decoded))
        observed = self._observe(batch, flat)
        # What the edge node itself calls history: rows that came late are not flushed.
        observations = observed.rows if observed is not None else None
        if state.options.describe_tags:
            decoded.metadata += describe(batch, flat, state.catalogue)
        if not state.restoring:
            if in_order:
                state.hearing.heard(batch.node, batch.node)
            else:
                # The server publishes a will, whichever session of the node it is of.
                speaks = batch.message_type[batch.recalled :] != CODE[MessageType.NDEATH]
                heard = batch.node[batch.recalled :][speaks]
                state.hearing.heard(heard[heard != ABSENT], batch.node[regular])
            state.alarms.look(
                batch,
                regular,
                observations,
                catalogue=state.catalogue,
                edge_nodes=state.by_id,
                now=state.now,
            )
            state.completeness.look(batch, regular, observations, state.catalogue)
            if state.kept_history is not None and observations is not None:
                state.kept_history.look_at_rows(observations)
        state.recent.note(batch)
        for entry in batch.placed:
            entry.leave()

    def _without_giants(self, batch: Batch, flat: Flattened) -> Flattened:
        """Leave out the values of messages that few bytes make too many rows, or too long ones.

        An alias stands for a name, which every row repeats: as the metric's, and in a path. So it
        does those of node and device, which are in the topic.
        """
        catalogue, most = self._state.catalogue, self._state.limits.max_row_bytes
        topics = np.fromiter(map(len, batch.messages.topics), np.int64, len(batch.messages))
        longest = catalogue.longest_name + int(topics.max(initial=0))
        if len(flat.tag) * (NAMES_PER_ROW * longest + METRIC_MEMORY) <= most:
            return flat
        message = np.repeat(np.arange(len(batch.messages)), flat.columns.counts)
        names = catalogue.name_lengths(flat.tag).astype(np.int64) + topics[message]
        sizes = NAMES_PER_ROW * names + METRIC_MEMORY
        sizes[flat.tag == NO_TAG] = 0
        giants = np.bincount(message, weights=sizes, minlength=len(batch.messages)) > most
        if not count_nonzero(giants):
            return flat
        for position in np.flatnonzero(giants).tolist():
            topic = self._state.arrival(batch, position).topic
            batch.decoded.counts[Reason.TOO_MANY_ROW_BYTES] += 1
            batch.decoded.examples[Reason.TOO_MANY_ROW_BYTES] = (
                f"{topic.group_id}/{topic.edge_node_id}"
            )
        left_out = giants[message]
        tag, returned = flat.tag.copy(), flat.returned & ~left_out
        tag[left_out] = NO_TAG
        return flat._replace(tag=tag, returned=returned)

    def _observe(self, batch: Batch, flat: Flattened) -> Observed | None:
        """Give the rows of a batch; return those of values, as they came."""
        state, decoded = self._state, batch.decoded
        late = batch.late_of_metrics()
        in_order = not (batch.turns.reordered or batch.stale or batch.began)
        circumstances = Circumstances(
            message_type=batch.message_type,
            received_us=batch.received_us(),
            ignition=flat.of(batch.ignition_of_metrics()),
            late=None if late is None else flat.of(late),
            turn=None if in_order else flat.of(batch.turns.per_metric(batch.columns)),
        )
        choice = RowChoice(births=state.births_give_rows, transient=state.options.emit_transient)
        found = observe(flat, circumstances, state.catalogue, choice, decoded.counts)
        rows = state.read_times.look(found, batch.began, batch.stale)
        turns = NO_TURNS if found is None else found.turns
        decoded.observations += in_turn(rows, turns, batch.stale)
        if count_nonzero(flat.returned):
            decoded.taken_back.append(flat.tag[flat.returned])
        if rows is not None:
            taken_back = state.liveness.stale.take_back(rows)
            if taken_back:
                decoded.taken_back += taken_back
                decoded.memories += state.liveness.stale.taken_back_memories(taken_back)
        return found


def _is_lost_birth(quarantined: Quarantined) -> bool:
    """Whether a birth takes effect at once; the envelope of a DBIRTH still has its seq."""
    topic, in_envelope = quarantined.message.topic, quarantined.reason in _IN_ENVELOPE
    return is_birth(topic) and not (in_envelope and topic.split("/")[2] == "DBIRTH")
