"""The baseline of the benchmark: google.protobuf, one Python object per metric.

The plain loop looks the tag up in a dictionary, fills one message per row and serializes
it. With `prepared` it copies what is constant for a tag from a message that was filled at
its birth, which is about as fast as such a loop gets. Scalar datatypes and valid sessions
only; neither checks seq nor converts what does not fit, so they have less to do than the
columnar path they are compared with.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import isfinite, isnan
from typing import TYPE_CHECKING

import xxhash

from consumer.pb.tag_event_pb2 import TagEvent
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

TYPE_NAMES = {
    1: "Int8",
    2: "Int16",
    3: "Int32",
    4: "Int64",
    5: "UInt8",
    6: "UInt16",
    7: "UInt32",
    8: "UInt64",
    9: "Float",
    10: "Double",
    11: "Boolean",
    12: "String",
    14: "Text",
    15: "UUID",
}
SIGNED_WIDTHS = {1: 8, 2: 16, 3: 32, 4: 64}
INTEGERS = frozenset(range(1, 9))
FLOATS = frozenset({9, 10})
BOOLEAN = 11

# Kinds of docs/event_id.md and the records they are hashed in.
DOUBLE_RECORD = struct.Struct("<16sqdQiI")
INTEGER_RECORD = struct.Struct("<16sqqQiI")
BYTES_RECORD = struct.Struct("<16sq16siI")
NO_VALUE = bytes(16)
BEYOND_BIGINT = 2**63


@dataclass(slots=True)
class Tag:
    """What the loop needs of a tag: its type, its identity and the constant fields."""

    datatype: int
    half: int  # 2^(n-1) for signed integers of n bits, else 0
    identity: bytes
    fields: dict[str, str | None]
    constant: TagEvent


class Baseline:
    """Rows of data messages; the births are handled once, here, before the data."""

    def __init__(self, births: Iterable[tuple[str, bytes, int]], *, prepared: bool = False) -> None:
        self._prepared = prepared
        # Topic of the data -> tags by alias, tags by name.
        self._tables: dict[str, tuple[dict[int, Tag], dict[str, Tag]]] = {}
        self._rows = 0
        for topic, payload, _ in births:
            self._birth(topic, payload)

    def _birth(self, topic: str, payload: bytes) -> None:
        _, group, verb, node, *rest = topic.split("/")
        device = rest[0] if rest else None
        by_alias: dict[int, Tag] = {}
        by_name: dict[str, Tag] = {}
        for metric in Payload.FromString(payload).metrics:
            name = metric.name
            if name == "bdSeq" or name.startswith(("Node Control/", "Device Control/")):
                continue
            level = f"{device}/" if device else ""
            fields = {
                "tag_path": f"[MQTT Engine]Edge Nodes/{group}/{node}/{level}{name}",
                "tag_provider": "MQTT Engine",
                "data_type": TYPE_NAMES[metric.datatype],
                "source_system_id": f"{group}/{node}",
                "group_id": group,
                "edge_node_id": node,
                "device_id": device,
                "metric_name": name,
                "message_type": verb[0] + "DATA",
            }
            # What most rows have; the loop overwrites it where a metric says otherwise.
            constant = TagEvent(quality="GOOD", quality_code=192, is_historical=False, **fields)
            width = SIGNED_WIDTHS.get(metric.datatype)
            half = 1 << (width - 1) if width else 0
            identifier = identity(group, node, device, name)
            tag = Tag(metric.datatype, half, identifier, fields, constant)
            by_name[name] = tag
            if metric.HasField("alias"):
                by_alias[metric.alias] = tag
        self._tables[topic.replace("BIRTH", "DATA", 1)] = by_alias, by_name

    def normalize(self, arrivals: Iterable[tuple[str, bytes, int]]) -> list[bytes]:  # noqa: C901, PLR0912, PLR0915
        """Serialized TagEvent rows of data messages, in order.

        Raises KeyError for tags that no birth declared, DecodeError for bytes
        that are no payload.
        """
        prepared = self._prepared
        tables = self._tables
        parse = Payload.FromString
        digest = xxhash.xxh3_128_digest
        hexdigest = xxhash.xxh3_128_hexdigest
        number = self._rows
        rows: list[bytes] = []
        append = rows.append
        for topic, payload, received_us in arrivals:
            by_alias, by_name = tables[topic]
            message = parse(payload)
            seq = message.seq
            sent_us = message.timestamp * 1000 if message.HasField("timestamp") else None
            fallback_us = received_us if sent_us is None else sent_us
            for metric in message.metrics:
                # Only a metric without alias needs its name.
                tag = by_alias[metric.alias] if metric.HasField("alias") else by_name[metric.name]
                event = TagEvent()
                if prepared:
                    event.CopyFrom(tag.constant)
                else:
                    constant = tag.fields
                    event.tag_path = constant["tag_path"]
                    event.tag_provider = constant["tag_provider"]
                    event.data_type = constant["data_type"]
                    event.source_system_id = constant["source_system_id"]
                    event.group_id = constant["group_id"]
                    event.edge_node_id = constant["edge_node_id"]
                    if constant["device_id"] is not None:
                        event.device_id = constant["device_id"]
                    event.metric_name = constant["metric_name"]
                    event.message_type = constant["message_type"]
                    event.quality = "GOOD"
                    event.quality_code = 192
                    event.is_historical = False
                time_us = metric.timestamp * 1000 if metric.HasField("timestamp") else fallback_us
                code = 192
                if metric.HasField("properties"):
                    code, event.quality = quality_of(metric)
                    event.quality_code = code
                if metric.is_historical:
                    event.is_historical = True
                member = None if metric.is_null else metric.WhichOneof("value")
                datatype = tag.datatype
                if member is None:
                    record = BYTES_RECORD.pack(tag.identity, time_us, NO_VALUE, code, 0)
                elif datatype in FLOATS:
                    value = getattr(metric, member)
                    if isfinite(value):
                        event.numeric_value = value
                        record = DOUBLE_RECORD.pack(tag.identity, time_us, value, 0, code, 1)
                    else:
                        text = "NaN" if isnan(value) else f"{'-' * (value < 0)}Infinity"
                        event.string_value = text
                        record = BYTES_RECORD.pack(
                            tag.identity, time_us, digest(text.encode()), code, 4
                        )
                elif datatype in INTEGERS:
                    value = getattr(metric, member)
                    half = tag.half
                    if half:
                        # Masks to the width of the type and extends the sign.
                        value = (value + half) % (2 * half) - half
                    event.numeric_value = value
                    if value < BEYOND_BIGINT:
                        event.integer_value = value
                        record = INTEGER_RECORD.pack(tag.identity, time_us, value, 0, code, 2)
                    else:
                        text = event.string_value = str(value)
                        record = BYTES_RECORD.pack(
                            tag.identity, time_us, digest(text.encode()), code, 4
                        )
                elif datatype == BOOLEAN:
                    value = bool(getattr(metric, member))
                    event.boolean_value = value
                    record = INTEGER_RECORD.pack(tag.identity, time_us, value, 0, code, 3)
                else:
                    text = event.string_value = metric.string_value
                    record = BYTES_RECORD.pack(
                        tag.identity, time_us, digest(text.encode()), code, 4
                    )
                event.event_id = hexdigest(record)
                event.event_time = time_us
                event.seq = seq
                if sent_us is not None:
                    event.payload_timestamp = sent_us
                event.ingestion_timestamp = received_us
                number += 1
                event.arrival_number = number
                append(event.SerializeToString())
        self._rows = number
        return rows


def identity(group: str, node: str, device: str | None, metric: str) -> bytes:
    """The identity of docs/event_id.md, for a server without site."""
    record = bytearray()
    for text in ("", group, node, device, metric):
        raw = b"" if text is None else text.encode()
        record += struct.pack("<I", 0xFFFFFFFF if text is None else len(raw)) + raw
    return xxhash.xxh3_128_digest(record)


def quality_of(metric: Metric) -> tuple[int, str]:
    """Code and class of the Quality property, for codes of the specification and Ignition."""
    properties = metric.properties
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key == "Quality":
            raw = value.int_value
            code = raw - 2**32 if raw >= 2**31 else raw
            if raw == 500 or (raw >> 30 == 0b10 and raw & 0xFFFF == 516):
                return code, "STALE"
            if raw >> 31 or raw == 0:
                return code, "BAD"
            return code, "UNCERTAIN" if raw >> 30 else "GOOD"
    return 192, "GOOD"
