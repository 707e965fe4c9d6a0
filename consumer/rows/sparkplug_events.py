"""Events of edge nodes and devices to rows of `sparkplug_events`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import xxhash

from consumer.pb.sparkplug_event_pb2 import SparkplugEvent
from consumer.rows.encoded import EncodedRows
from consumer.rows.event_id import counted
from consumer.rows.templates import PathTemplate
from sparkplug import Event, EventKind, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.rows.templates import SourceNames
    from sparkplug import Message, Quarantined, Reason

MOST_QUARANTINE_EVENTS: Final = 100
"""Per batch; what is beyond becomes one event without edge node."""

_MOST_TEXT: Final = 1_000
_MOST_INT: Final = 2**31 - 1
_MOST_BIGINT: Final = 2**63 - 1


class EventRows:
    """Makes the rows of one MQTT server's events."""

    def __init__(self, names: SourceNames) -> None:
        self._names = names
        self._source = PathTemplate(names.source_system_id, server=names.server, site=names.site)

    def encode(self, events: Sequence[Event], first_stamp_us: int) -> EncodedRows:
        """One encoded row per event.

        Args:
            events: in the order in which they became known.
            first_stamp_us: ingestion_timestamp of the first; each next one is a microsecond
                later, so that the end of a gap is newer than its begin.
        """
        rows = [self._row(event, first_stamp_us + n) for n, event in enumerate(events)]
        return EncodedRows.from_messages([row.SerializeToString() for row in rows])

    def _row(self, event: Event, stamp_us: int) -> SparkplugEvent:
        return SparkplugEvent(
            event_id=event_id(self._names.site, self._names.server, event),
            event_time=event.time_us,
            event_type=event.kind,
            source_system_id=self._source_system_id(event),
            server=self._names.server,
            group_id=event.group_id,
            edge_node_id=event.edge_node_id,
            device_id=event.device_id,
            reason=event.reason,
            bd_seq=_within(event.bd_seq, _MOST_BIGINT),
            seq=_within(event.seq, _MOST_INT),
            missing_messages=_within(event.missing, _MOST_BIGINT),
            missing_is_modulo_256=event.missing is not None,
            healing=event.healing,
            detail=None if event.detail is None else event.detail[:_MOST_TEXT],
            ingestion_timestamp=stamp_us,
        )

    def _source_system_id(self, event: Event) -> str | None:
        if event.group_id is None or event.edge_node_id is None:
            return None
        return self._source.fill(event.group_id, event.edge_node_id, event.device_id, "")


def event_id(site: str, server: str, event: Event) -> str:
    """The id of an event (docs/side-tables.md, "event_id"): equal for begin and end of a gap."""
    is_gap = event.kind is EventKind.GAP
    texts = (
        site,
        server,
        str(event.kind),
        event.group_id,
        event.edge_node_id,
        event.device_id,
        None if is_gap else event.reason,
    )
    numbers = (-1 if number is None else number for number in (event.seq, event.bd_seq))
    record = b"".join(map(counted, texts)) + struct.pack(
        "<qqq", event.time_us, *(min(number, _MOST_BIGINT) for number in numbers)
    )
    return xxhash.xxh3_128_hexdigest(record)


def quarantine_events(quarantined: Iterable[Quarantined]) -> list[Event]:
    """One event per edge node and reason of a batch: which topic, how many, how large."""
    found: dict[tuple[str | None, str | None, Reason], list[Message]] = {}
    for each in quarantined:
        topic = parse_topic(each.message.topic)
        ids = (topic.group_id, topic.edge_node_id) if isinstance(topic, Topic) else (None, None)
        found.setdefault((*ids, each.reason), []).append(each.message)
    events = [
        Event(
            EventKind.QUARANTINE,
            messages[0].received_us,
            group_id,
            edge_node_id,
            reason=str(reason),
            detail=_said_of(messages),
        )
        for (group_id, edge_node_id, reason), messages in found.items()
    ]
    beyond = [
        each for messages in list(found.values())[MOST_QUARANTINE_EVENTS:] for each in messages
    ]
    if not beyond:
        return events
    rest = Event(
        EventKind.QUARANTINE,
        beyond[0].received_us,
        detail=f"{_said_of(beyond)}, and of {len(events) - MOST_QUARANTINE_EVENTS} kinds",
    )
    return [*events[:MOST_QUARANTINE_EVENTS], rest]


def _said_of(messages: Sequence[Message]) -> str:
    size = sum(len(message.payload) for message in messages)
    topic = messages[0].topic[: _MOST_TEXT // 2]
    if len(messages) == 1:
        return f"{size:,} bytes on {topic}"
    return f"{len(messages):,} messages, {size:,} bytes, the first on {topic}"


def _within(number: int | None, most: int) -> int | None:
    return number if number is not None and 0 <= number <= most else None
