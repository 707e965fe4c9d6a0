"""Messages of one edge node with one device, written in a line each, for hand-made examples."""

from __future__ import annotations

from typing import Any

from oracle.decoder import Arrival, Oracle
from sparkplug.pb.sparkplug_b_pb2 import Payload

ARRIVED = 1_700_000_100_000_000
SENT_MS = 1_700_000_050_000
MEASURED_MS = 1_700_000_000_000

NODE = "spBv1.0/Plant A/{}/Edge 1"
DEVICE = "spBv1.0/Plant A/{}/Edge 1/Boiler"

VALUE_COLUMNS = ("numeric_value", "integer_value", "string_value", "boolean_value")


def payload(
    *metrics: dict[str, Any], seq: int | None = 0, timestamp: int | None = SENT_MS
) -> bytes:
    message = Payload(timestamp=timestamp, seq=seq)
    for fields in metrics:
        plain = dict(fields)
        quality = plain.pop("quality", None)
        metric = message.metrics.add(**plain)
        if quality is not None:
            metric.properties.keys.append("Quality")
            metric.properties.values.add(type=3, int_value=quality)
    return message.SerializeToString()


def metric(
    name: str | None = None,
    datatype: int | None = None,
    *,
    timestamp: int | None = MEASURED_MS,
    **fields: Any,
) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "timestamp": timestamp, **fields}


def arrival(
    verb: str,
    *metrics: dict[str, Any],
    seq: int | None = 0,
    timestamp: int | None = SENT_MS,
    **fields: Any,
) -> Arrival:
    topic = (DEVICE if verb.startswith("D") else NODE).format(verb)
    return Arrival(topic, payload(*metrics, seq=seq, timestamp=timestamp), ARRIVED, **fields)


def fed(*arrivals: Arrival, **options: Any) -> Oracle:
    oracle = Oracle(**options)
    oracle.feed(arrivals)
    return oracle


def born(*metrics: dict[str, Any], **options: Any) -> Oracle:
    return fed(arrival("NBIRTH", *metrics, seq=0), **options)


def data_row(datatype: int, **value: Any) -> tuple[Oracle, dict[str, Any]]:
    """The row of one value that arrives in data by alias, without datatype."""
    oracle = fed(
        arrival("NBIRTH", metric("Tag", datatype, alias=0, is_null=True)),
        arrival("NDATA", metric(alias=0, **value), seq=1),
    )
    assert len(oracle.rows) == 2
    return oracle, oracle.rows[1]


def columns(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in VALUE_COLUMNS)
