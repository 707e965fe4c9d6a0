"""Posts as the handler of an Ignition Event Stream makes them, and what is answered."""

from __future__ import annotations

import json

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows import StreamTags, normalize, read_body
from consumer.rows.tables import COLUMNS

SENT_MS = 1_795_443_214_123  # 2026-11-23T14:13:34.123Z
ARRIVED_US = 1_795_443_215_000_000
SOURCE = "http"


def event(path="Edge Nodes/Plant/Edge/Ramp", value=21.5, **more):
    """One event with all keys that handlers send."""
    return {
        "tagPath": path,
        "tagProvider": "default",
        "value": value,
        "quality": "Good",
        "qualityCode": 192,
        "timestamp": SENT_MS,
        "dataType": "Float8",
        **more,
    }


def body_of(*events):
    return json.dumps(list(events)).encode()


def decoded(raw):
    """What a record holds, null for every optional field that is absent."""
    row = TagEvent.FromString(raw)
    assert row.IsInitialized()
    return {
        column.name: getattr(row, column.name) if row.HasField(column.name) else None
        for column in COLUMNS
    }


def rows_of(*events, tags=None, source=SOURCE, first=1, body=None, received_us=ARRIVED_US):
    """The rows that events give."""
    tags = tags or StreamTags()
    read = read_body(body or body_of(*events), received_us)
    made = normalize(tags.observations([(source, read.events)]), tags, first)
    return [decoded(raw) for piece in made.encode() for raw in piece.to_pylist()]
