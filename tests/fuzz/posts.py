"""The target of bodies that are posted: anything is read or refused, and gives valid rows."""

from __future__ import annotations

import json

from support.event_stream import ARRIVED_US, event, rows_of

from consumer.rows import BodyError, StreamTags, read_body

_TAGS = StreamTags(most_tags=100)


def run(data: bytes) -> None:
    """What is accepted becomes rows, as many, with the same ids whatever was read before."""
    try:
        read = read_body(data, ARRIVED_US)
    except BodyError:
        return
    assert all(each.text and each.reason for each in read.refused)
    assert [each.index for each in read.refused] == sorted({each.index for each in read.refused})
    if not read.events:
        return
    _TAGS.make_room()
    rows = rows_of(body=data, tags=_TAGS)
    assert len(rows) == len(read.events)
    assert all(row["metric_name"] and row["message_type"] == "HTTP" for row in rows)
    assert [row["event_id"] for row in rows] == [row["event_id"] for row in rows_of(body=data)]


_ODD = event("[a]b", "NaN", dataType="Int4", timestamp=None, quality="Bad_Stale", qualityCode=None)
SEEDS = [
    json.dumps(each).encode()
    for each in (
        [event(), event("b", True, dataType="Boolean"), event("c", None, dataType=None)],
        event(value=2**64, dataType="UInt64"),
        [_ODD, event(value=float("nan")), 5, {}, event("x/"), event(value=[{"a": {}}])],
        [event("\ud800", '\U0001f600\\" \u00e4', dataType="String")],
    )
]
