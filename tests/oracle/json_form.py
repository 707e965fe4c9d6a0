"""Payloads in JSON, written as an edge node would write them and read by docs/decoding.md.

Scalars only: a message with anything else is not written as JSON.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from oracle.values import (
    BOOLEAN,
    DATE_TIME,
    DOUBLE,
    ENCODED_NAMES,
    FLOAT,
    NOT_SCALAR,
    OPAQUE_MEMBERS,
    PROPERTY_SET,
    SCALAR_NAMES,
    SIGNED,
    STRING,
    TEXT,
    UNSIGNED,
    UUID,
    VALUE_MEMBERS,
    NotAccepted,
    signed,
)
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload
from sparkplug.pb.sparkplug_b_pb2 import PropertySet

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

CODES = {name: code for code, name in SCALAR_NAMES.items()}
LARGEST_FLOAT = 3.4028234663852886e38
FLAGS = {"isHistorical": "is_historical", "isTransient": "is_transient"}


class NotWritten(Exception):  # noqa: N818 - a verdict, not a failure
    """The message has something that this module does not write as JSON."""


# Writing


def written(
    message: Payload, metrics: Iterable[Mapping[str, Any]], rng: random.Random
) -> bytes | None:
    """A message as JSON text, or None."""
    source: dict[str, Any] = {}
    if message.HasField("timestamp"):
        source["timestamp"] = message.timestamp
    try:
        source["metrics"] = [written_metric(fields, rng) for fields in metrics]
    except NotWritten:
        return None
    if message.HasField("seq"):
        source["seq"] = message.seq
    text = json.dumps(source, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
    return rng.choice(("", "", "\n ")).encode() + text.encode()


def written_metric(fields: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    code = fields.get("datatype")
    if (
        code in NOT_SCALAR
        or code in ENCODED_NAMES
        or any(member in fields for member in OPAQUE_MEMBERS)
    ):
        raise NotWritten
    source: dict[str, Any] = {name: fields[name] for name in ("name", "alias") if name in fields}
    if "timestamp" in fields:
        source["timestamp"] = rng.choice((fields["timestamp"], str(fields["timestamp"])))
    if code is not None:
        spelling = rng.choice(("dataType", "dataType", "datatype", "data_type"))
        source[spelling] = rng.choice((SCALAR_NAMES.get(code, code), code))
    for camel, snake in FLAGS.items():
        if snake in fields:
            source[rng.choice((camel, snake))] = fields[snake]
    if "properties" in fields:
        source["properties"] = written_properties(fields["properties"])
    value = next((fields[member] for member in VALUE_MEMBERS if member in fields), None)
    if fields.get("is_null"):
        source.update(rng.choice(({}, {"value": None}, {"isNull": True, "value": value})))
    elif value is not None:
        source["value"] = written_value(code, value)
    return source


def written_value(code: int | None, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool):
        width = 64 if code == DATE_TIME else SIGNED.get(code or 0)
        if width is not None:
            try:
                return signed(value, width)
            except NotAccepted:
                return value
    return value


def written_properties(raw: bytes) -> dict[str, Any]:
    try:
        properties = PropertySet.FromString(raw)
    except DecodeError:
        raise NotWritten from None
    source: dict[str, Any] = {}
    for key, value in zip(properties.keys, properties.values, strict=False):
        entry = source[key] = {"type": value.type}
        member = value.WhichOneof("value")
        if member == "propertyset_value":
            entry["value"] = written_properties(value.propertyset_value.SerializeToString())
        elif member is not None:
            entry["value"] = written_value(value.type, getattr(value, member))
    return source


# Reading


class NotRead(Exception):  # noqa: N818 - a verdict, not a failure
    """The text is no payload."""


def read(text: bytes) -> Payload | None:
    """The payload that a JSON text stands for; None if it cannot be read."""
    try:
        source = json.loads(text.decode())
        payload = Payload()
        if not isinstance(source, dict) or not source.keys() & {"timestamp", "metrics", "seq"}:
            return None
        for name in ("timestamp", "seq"):
            if source.get(name) is not None:
                setattr(payload, name, bits(source[name]))
        metrics = source.get("metrics") or []
        if not isinstance(metrics, list):
            return None
        for each in metrics:
            read_metric(payload.metrics.add(), each)
    except (ValueError, NotRead):
        return None
    return payload


def read_metric(metric: Any, source: Any) -> None:
    if not isinstance(source, dict):
        raise NotRead
    fields = {key.replace("_", "").lower(): v for key, v in source.items() if v is not None}
    if "name" in fields:
        metric.name = fields["name"]
    for name in ("alias", "timestamp"):
        if name in fields:
            setattr(metric, name, bits(fields[name]))
    code = fields.get("datatype")
    if code is not None:
        metric.datatype = code = CODES.get(code, 0) if isinstance(code, str) else code
    metric.is_historical = fields.get("ishistorical", False)
    metric.is_transient = fields.get("istransient", False)
    if fields.get("properties"):
        metric.properties = read_properties(fields["properties"])
    if fields.get("isnull") or "value" not in fields:
        metric.is_null = True
        return
    for member, value in read_value(code or 0, fields["value"]).items():
        setattr(metric, member, value)


def bits(value: Any) -> int:
    """64 bits as unsigned number."""
    number = integer(value)
    if number is None or not -(2**63) <= number < 2**64:
        raise NotRead
    return number % 2**64


def integer(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch("[+-]?[0-9]+", value, re.ASCII) else None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    return None if isinstance(value, bool) else value


def number(value: Any) -> float | None:
    if isinstance(value, str):
        if not re.fullmatch(r"NaN|-?Infinity|[+-]?[0-9]+(\.[0-9]*)?", value, re.ASCII):
            return None
        return float(value)
    return None if isinstance(value, bool) else float(value)


def read_value(code: int, value: Any) -> dict[str, Any]:  # noqa: C901, PLR0911 - the table
    """The member of the value, as the table of docs/decoding.md has it."""
    if code in SIGNED or code in UNSIGNED or code == DATE_TIME:
        width = 64 if code == DATE_TIME else SIGNED.get(code) or UNSIGNED[code]
        low = 0 if code in UNSIGNED else -(2 ** (width - 1))
        whole = integer(value)
        if whole is not None and low <= whole < low + 2**width:
            if width == 64:
                return {"long_value": whole % 2**64}
            return {"int_value": whole % 2**32}
    elif code in {FLOAT, DOUBLE}:
        real = number(value)
        if real is not None:
            fits = abs(real) <= LARGEST_FLOAT or not math.isfinite(real)
            return {"float_value" if code == FLOAT and fits else "double_value": real}
    elif code == BOOLEAN:
        if value in {0, 1} and not isinstance(value, float):
            return {"boolean_value": value == 1}
        if value in {"true", "false"}:
            return {"boolean_value": value == "true"}
    elif code in {STRING, TEXT, UUID}:
        return as_it_is(value)
    else:
        return as_it_is(value)
    if isinstance(value, bool):
        return {"boolean_value": value}
    if isinstance(value, float):
        return {"double_value": value}
    return {"string_value": str(value)}


def as_it_is(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolean_value": value}
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, int) and 0 <= value < 2**64:
        return {"long_value": value}
    return {"double_value": float(value)}


def read_properties(source: dict[str, Any]) -> bytes:
    properties = PropertySet()
    for key, entry in source.items():
        properties.keys.append(key)
        code, value = entry["type"], entry.get("value")
        target = properties.values.add(type=code)
        if value is None:
            target.is_null = True
        elif code == PROPERTY_SET:
            target.propertyset_value.ParseFromString(read_properties(value))
        else:
            whole = integer(value) if code in SIGNED or code in UNSIGNED else None
            for member, content in read_value(code, value).items():
                if member == "string_value" and whole is not None and 0 <= whole < 2**64:
                    target.long_value = whole
                else:
                    setattr(target, member, content)
    return properties.SerializeToString()
