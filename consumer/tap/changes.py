"""Reads what one server brings as values of metrics, with the births that are heard meanwhile.

A fleet of its own resolves aliases; nobody is asked for births, and nothing is remembered. What no
birth explains yet is shown at once, as it is written in the message.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from consumer.config import sight
from consumer.tap.items import Change
from consumer.tap.reading import heard, limits_of, place_of
from sparkplug import (
    QUALITY_NAMES,
    ROW_TYPES,
    DataType,
    Fleet,
    FleetOptions,
    HoldLimits,
    PlainPayloads,
    QuarantinedPart,
    Topic,
    parse_topic,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from consumer.config import Configuration, Server
    from consumer.tap.filters import Filters
    from consumer.tap.items import Heard, Item
    from consumer.tap.listening import HeardBatch
    from sparkplug import Decoded, Message, MessageBatch, Observations, TagCatalogue

NO_BIRTH: Final = "no birth heard yet"
"""Note on a metric of a node or device of which no birth was heard."""
NOT_DECLARED: Final = "not in the birth that was heard"
"""Note on a metric that the birth of its node or device does not declare."""

_AT_ONCE: Final = 5_000
"""Rows that are made at a time: whoever looks may have seen enough after the first ones."""
_LONGEST_UNIT: Final = 64
_NOTHING_IS_HELD: Final = HoldLimits(node_messages=0, node_bytes=0, total_bytes=0, seconds=0.0)
_NAMES: Final = {int(each): each.name for each in DataType}


class ChangeReader:
    """Changes of metrics of one server. Single-threaded.

    Args:
        server: its configuration, with the topic filters that are listened with.
        configuration: bounds of what is read.
        filters: what is shown.

    Attributes:
        unnamed: metrics that a glob kept from being shown because their names are not known.
    """

    def __init__(self, server: Server, configuration: Configuration, filters: Filters) -> None:
        self._server = server.name
        self._filters = filters
        self._limits = limits_of(configuration)
        wanted = None if filters.places.is_everything else filters.places
        self._fleet = Fleet(
            self._limits,
            FleetOptions(
                wanted=wanted,
                sight=sight(server.topics),
                emit_transient=True,
                describe_tags=True,
                hold_limits=_NOTHING_IS_HELD,
                passive=True,
            ),
        )
        self._units = _Units(self._fleet.catalogue)
        self.unnamed = 0

    @property
    def waiting(self) -> int:
        """Messages that wait to be read: none, for what cannot be read yet is shown at once."""
        return 0

    def read(self, batch: HeardBatch, now: float) -> Iterator[Item]:
        """What is to be shown of a batch, in order of arrival. `now`: monotonic seconds."""
        if batch.certificates:
            yield from self._shown(self._fleet.memory.warm_start(batch.certificates, now), ())
        for portion in self._fleet.portions(batch.messages):
            decoded = self._fleet.feed(portion.messages, now)
            yield from self._shown(decoded, portion.messages)
        if batch.lost_us is not None:
            yield from self._shown(self._fleet.connection_lost(now, batch.lost_us), ())

    def let_pass(self, now: float) -> Iterator[Item]:
        """What is to be shown because time has passed."""
        return self._shown(self._fleet.tick(now), ())

    def _shown(
        self, decoded: Decoded, messages: MessageBatch | tuple[()]
    ) -> Iterator[Change | Heard]:
        for metadata in decoded.metadata:
            self._units.note(metadata.tag, metadata.unit.to_pylist())
        unresolved = [(each.message, _note(each)) for each in decoded.expired]
        commands = [
            (messages[position], "")
            for position, topic in enumerate(messages.topics if messages else ())
            if "CMD/" in topic
        ]
        unread = [
            heard(self._server, each.message, problem=str(each.reason))
            for each in decoded.quarantined
            if self._filters.shows_problem(each.message.topic)
        ]
        by_arrival: list[Iterator[Change | Heard]] = [
            self._values(decoded.observations),
            self._plain(unresolved),
            self._plain(commands),
            iter(unread),
        ]
        return heapq.merge(*by_arrival, key=lambda item: item.received_us)

    def _values(self, pieces: Sequence[Observations]) -> Iterator[Change]:
        catalogue = self._fleet.catalogue
        for observations in pieces:
            kept = self._filters.rows(observations)
            for start in range(0, len(kept), _AT_ONCE):
                yield from self._changes(
                    observations.pick(kept[start : start + _AT_ONCE]), catalogue
                )

    def _changes(self, rows: Observations, catalogue: TagCatalogue) -> Iterator[Change]:
        units = self._units
        for tag, event_us, received_us, value, quality, code, historical, kind, seq in zip(
            rows.tag.tolist(),
            rows.event_time_us.tolist(),
            rows.received_us.tolist(),
            rows.values.to_list(),
            rows.quality.tolist(),
            rows.quality_code.tolist(),
            rows.historical.tolist(),
            rows.message_type.tolist(),
            rows.seq.tolist(),
            strict=True,
        ):
            owner = catalogue.owners[tag]
            ids = (owner.group_id, owner.edge_node_id, owner.device_id)
            yield Change(
                self._server,
                ROW_TYPES[kind],
                place_of(*ids),
                *ids,
                catalogue.names[tag],
                None,
                event_us,
                received_us,
                value,
                _NAMES[int(catalogue.datatype[tag])],
                units.of(tag),
                QUALITY_NAMES[quality],
                code,
                historical,
                seq if seq >= 0 else None,
            )

    def _plain(self, noted: Sequence[tuple[Message, str]]) -> Iterator[Change]:
        """Metrics as they are written in messages, with a note on why no more is known of them."""
        chosen = [
            (message, topic, note)
            for message, note in noted
            for topic in [parse_topic(message.topic)]
            if isinstance(topic, Topic) and self._filters.may_show(topic)
        ]
        if not chosen:
            return
        plain = PlainPayloads(
            [message.payload for message, *_ in chosen], self._limits.max_payload_bytes
        )
        for position, (message, topic, note) in enumerate(chosen):
            yield from self._metrics(plain, position, message, topic, note)

    def _metrics(
        self, plain: PlainPayloads, position: int, message: Message, topic: Topic, note: str
    ) -> Iterator[Change]:
        head, ids = plain.heads[position], (topic.group_id, topic.edge_node_id, topic.device_id)
        place = place_of(*ids)
        sent_us = message.received_us
        if head.timestamp_ms is not None:
            sent_us = head.timestamp_ms * 1_000
        for metric in plain.metrics(position):
            if not self._filters.shows_metric(place, metric.name, metric.quality):
                self.unnamed += metric.name is None
                continue
            yield Change(
                self._server,
                str(topic.message_type),
                place,
                *ids,
                metric.name,
                metric.alias,
                sent_us if metric.timestamp_ms is None else metric.timestamp_ms * 1_000,
                message.received_us,
                metric.value,
                metric.datatype.name,
                "",
                QUALITY_NAMES[metric.quality],
                metric.quality_code,
                metric.historical,
                head.seq,
                note,
            )


class _Units:
    """Units of tags, as far as births say them."""

    def __init__(self, catalogue: TagCatalogue) -> None:
        self._units: dict[int, str] = {}
        catalogue.on_renamed.append(self._rename)

    def note(self, tags: NDArray[np.int32], units: Sequence[str | None]) -> None:
        for tag, unit in zip(tags.tolist(), units, strict=True):
            if unit:
                self._units[tag] = unit[:_LONGEST_UNIT]
            else:
                self._units.pop(tag, None)

    def of(self, tag: int) -> str:
        return self._units.get(tag, "")

    def _rename(self, renamed: NDArray[np.int32]) -> None:
        moved = ((int(renamed[tag]), unit) for tag, unit in self._units.items())
        self._units = {tag: unit for tag, unit in moved if tag >= 0}


def _note(unresolved: object) -> str:
    return NOT_DECLARED if isinstance(unresolved, QuarantinedPart) else NO_BIRTH
