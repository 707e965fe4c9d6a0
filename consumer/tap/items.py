"""What is shown of the wire, one by one: changes of metrics, messages, rows."""

from __future__ import annotations

from typing import Any, NamedTuple


class Change(NamedTuple):
    """A value of a metric, as a message brought it. Times are microseconds since 1970 UTC.

    Args:
        server: name of the MQTT server.
        kind: type of the message; HOST for what is known without one, such as that a tag is no
            longer declared.
        place: `group/node[/device]`.
        group_id, edge_node_id, device_id: of the topic; no device id at node level.
        metric: its name; None if no birth was heard that says it.
        alias: what stands in the message instead.
        event_us: time of the metric, else of the payload, else of arrival.
        received_us: time of arrival.
        value: None for a null, and for what is no scalar.
        datatype: its name in the specification.
        unit: what the birth says; empty if nothing.
        quality: GOOD, UNCERTAIN, BAD or STALE.
        quality_code: signed 32 bit.
        historical: whether it comes from a store of the edge node.
        seq: of the message; None if it has none.
        note: why something is not known; empty if all is.
    """

    server: str
    kind: str
    place: str
    group_id: str
    edge_node_id: str
    device_id: str | None
    metric: str | None
    alias: int | None
    event_us: int
    received_us: int
    value: float | int | bool | str | None
    datatype: str
    unit: str
    quality: str
    quality_code: int
    historical: bool
    seq: int | None
    note: str = ""


class Heard(NamedTuple):
    """A message as it came. Times are microseconds since 1970 UTC.

    Args:
        server: name of the MQTT server.
        topic: as it came.
        kind: NBIRTH, ..., DCMD, STATE; empty for a topic that is none of Sparkplug's.
        payload: as it came.
        received_us: time of arrival.
        retained: whether the server had kept it.
        seq: None if the payload has none, or was not looked at.
        metrics: how many it has; None if the payload was not looked at, or is none.
        sent_us: timestamp of the payload; None like `seq`.
        problem: why it cannot be read; empty if it can.
    """

    server: str
    topic: str
    kind: str
    payload: bytes
    received_us: int
    retained: bool
    seq: int | None = None
    metrics: int | None = None
    sent_us: int | None = None
    problem: str = ""


class Row(NamedTuple):
    """A row of tag_events by its columns; nulls are left out."""

    columns: dict[str, Any]


Item = Change | Heard | Row
