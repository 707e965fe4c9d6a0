"""Payloads as JSON, turned into the protobuf encoding so that there is one way to decode.

The form is the one of Eclipse Tahu's model classes (PayloadUtil.toJsonString), which
Ignition's MQTT Transmission publishes as Sparkplug_B_v1_0_JSON:

    {"timestamp": 1700000000000, "seq": 3, "metrics": [
        {"name": "Level", "alias": 7, "timestamp": 1700000000000, "dataType": "Double",
         "properties": {"Quality": {"type": "Int32", "value": 192}}, "value": 1.5}]}

Names of fields are compared without regard to case and underscores, so that the spelling
of the protobuf schema (data_type, is_historical) is understood as well. Unknown fields are
ignored; null is the same as absent; a metric without value is null.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sparkplug.datatypes import INTEGER_WIDTH, DataType, from_code
from sparkplug.payload.json_members import (
    UINT64,
    Member,
    base64_bytes,
    bytes_member,
    json_text,
    scalar_member,
    whole,
)
from sparkplug.pb import sparkplug_b_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODE: Final = {data_type.name.lower(): int(data_type) for data_type in DataType}
_VALUES: Final = (
    "value",
    *("intvalue", "longvalue", "floatvalue", "doublevalue", "booleanvalue", "stringvalue"),
    *("bytesvalue", "datasetvalue", "templatevalue", "propertysetvalue", "propertysetsvalue"),
)
"""Keys of a metric's value, lower case: that of Tahu's JSON, those of the protobuf schema."""
_MOST_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class JsonProblem:
    """Why JSON is not read as a payload, for people: `metrics[3].alias: no integer`."""

    text: str

    def __str__(self) -> str:
        return self.text


class _Unreadable(Exception):  # noqa: N818 - a verdict on the input, not a failure
    """Raised where the reading ends; every level that it passes puts its name in front."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where
        self.what = what

    def inside(self, place: str) -> _Unreadable:
        return _Unreadable(f"{place}.{self.where}" if self.where else place, self.what)


def is_json(payload: bytes) -> bool:
    """Whether the first byte that is no white space is a brace."""
    return payload[:1] == b"{" or (payload[:1].isspace() and payload.lstrip()[:1] == b"{")


def from_json(payload: bytes) -> bytes | JsonProblem:
    """The protobuf encoding of a payload in JSON.

    A value that does not fit its datatype concerns its metric alone, as it would in
    protobuf. Everything else that cannot be read (a name that is no text, an alias that is
    no integer of 64 bits) is a problem of the whole payload.
    """
    try:
        return _payload(payload).SerializeToString()
    except _Unreadable as problem:
        return JsonProblem(str(problem))
    except UnicodeError:
        return JsonProblem("text that is not Unicode")
    except RecursionError:
        return JsonProblem("nested too deeply")


def _payload(content: bytes) -> pb.Payload:
    try:
        fields = _fields(_DECODER.decode(content.decode()))
    except json.JSONDecodeError as error:
        raise _Unreadable("", f"no JSON, {error}") from error
    if not fields.keys() & {"timestamp", "metrics", "seq"}:
        raise _Unreadable("", "neither timestamp nor metrics nor seq")
    payload = pb.Payload()
    if "timestamp" in fields:
        payload.timestamp = _long(fields, "timestamp")
    # A death has no seq; Java's model then says -1.
    if "seq" in fields and whole(fields["seq"]) != -1:
        payload.seq = _long(fields, "seq")
    if "uuid" in fields:
        payload.uuid = _text(fields, "uuid")
    if "body" in fields:
        body = base64_bytes(_text(fields, "body"))
        if body is None:
            raise _Unreadable("body", "no base64")
        payload.body = body
    for place, source in _each(fields, "metrics"):
        try:
            _metric(payload.metrics.add(), source)
        except _Unreadable as problem:
            raise problem.inside(place) from problem
    return payload


def _metric(metric: pb.Metric, source: Any) -> None:
    fields = _fields(source)
    if "name" in fields:
        metric.name = _text(fields, "name")
    if "alias" in fields:
        metric.alias = _long(fields, "alias")
    if "timestamp" in fields:
        metric.timestamp = _long(fields, "timestamp")
    code = _datatype(fields)
    if code is not None:
        metric.datatype = code
    if "ishistorical" in fields:
        metric.is_historical = _flag(fields, "ishistorical")
    if "istransient" in fields:
        metric.is_transient = _flag(fields, "istransient")
    if fields.get("metadata"):
        _meta_data(metric.metadata, fields["metadata"])
    if fields.get("properties"):
        _properties(metric.properties, fields["properties"])
    value = _value(fields)
    if value is None:
        metric.is_null = True
    else:
        _put_value(metric, from_code(code), value)


def _put_value(metric: pb.Metric, data_type: DataType, value: Any) -> None:
    if data_type is DataType.DataSet and isinstance(value, dict):
        found = _data_set(value)
        if found is not None:
            metric.dataset_value.CopyFrom(found)
            return
    if data_type is DataType.Template and isinstance(value, dict):
        metric.template_value.SetInParent()
        _template(metric.template_value, value)
        return
    member = bytes_member(data_type, value) or scalar_member(data_type, value)
    setattr(metric, *member)


def _template(template: pb.Template, source: dict[str, Any]) -> None:
    fields = _fields(source)
    if "version" in fields:
        template.version = _text(fields, "version")
    for name in ("reference", "templateref"):
        if name in fields:
            template.template_ref = _text(fields, name)
    if "isdefinition" in fields:
        template.is_definition = _flag(fields, "isdefinition")
    for place, member in _each(fields, "metrics"):
        try:
            _metric(template.metrics.add(), member)
        except _Unreadable as problem:
            raise problem.inside(f"value.{place}") from problem
    for place, parameter in _each(fields, "parameters"):
        try:
            _parameter(template.parameters.add(), parameter)
        except _Unreadable as problem:
            raise problem.inside(f"value.{place}") from problem


def _parameter(parameter: pb.Template.Parameter, source: Any) -> None:
    fields = _fields(source)
    if "name" in fields:
        parameter.name = _text(fields, "name")
    code = _datatype(fields)
    if code is not None:
        parameter.type = code
    value = _value(fields)
    if value is not None:
        setattr(parameter, *scalar_member(from_code(code), value))


def _data_set(source: dict[str, Any]) -> pb.DataSet | None:
    """A DataSet from its JSON; None if columns, types and rows are not what they should be."""
    fields = {_plain(name): value for name, value in source.items()}
    columns = fields.get("columnnames", fields.get("columns"))
    types, rows = fields.get("types"), fields.get("rows", [])
    if not (isinstance(columns, list) and isinstance(types, list) and isinstance(rows, list)):
        return None
    if not all(isinstance(name, str) for name in columns):
        return None
    codes = [code for code in map(_code_of, types) if code is not None]
    width = whole(fields.get("numberofcolumns", fields.get("numofcolumns", len(columns))))
    if len(codes) < len(types) or width is None or not 0 <= width <= UINT64:
        return None
    found = pb.DataSet(num_of_columns=width, columns=columns, types=codes)
    data_types = [from_code(code) for code in codes]
    for row in rows:
        cells = row.get("elements") if isinstance(row, dict) else row
        if not isinstance(cells, list) or len(cells) > len(data_types):
            return None
        elements = found.rows.add().elements
        for cell, data_type in zip(cells, data_types, strict=False):
            element = elements.add()
            if cell is not None:
                setattr(element, *scalar_member(data_type, cell))
    return found


def _properties(properties: pb.PropertySet, source: Any) -> None:
    """A map of key to {"type", "value"}, as Tahu has it, or to a plain value.

    Two lists of keys and values, as the protobuf schema has it, are understood as well.
    """
    if not isinstance(source, dict):
        raise _Unreadable("properties", "no object")
    keys, values = source.get("keys"), source.get("values")
    listed = isinstance(keys, list) and isinstance(values, list)
    pairs = zip(keys, values, strict=False) if listed else source.items()  # type: ignore[arg-type]
    for key, value in pairs:
        if not isinstance(key, str):
            raise _Unreadable("properties", "a key that is no text")
        properties.keys.append(key)
        _property(properties.values.add(), value)


def _property(target: pb.PropertyValue, source: Any) -> None:
    code, value = None, source
    if isinstance(source, dict):
        fields = _fields(source)
        if not source or fields.keys() & {"type", "isnull", *_VALUES}:
            code, value = _datatype(fields), _value(fields)
    if code is None:
        code = _natural_type(value)
    if code is not None:
        target.type = code
    if value is None:
        target.is_null = True
    elif code == DataType.PropertySet and isinstance(value, dict):
        target.propertyset_value.SetInParent()
        _properties(target.propertyset_value, value)
    elif code == DataType.PropertySetList and isinstance(value, list):
        target.propertysets_value.SetInParent()
        for each in value:
            _properties(target.propertysets_value.propertyset.add(), each)
    elif isinstance(value, list | dict):
        target.string_value = json_text(value)
    else:
        setattr(target, *_property_member(from_code(code), value))


def _property_member(data_type: DataType, value: Any) -> Member:
    """An integer stays one even if it is out of range: quality codes come unsigned, too."""
    member = scalar_member(data_type, value)
    number = whole(value) if data_type in INTEGER_WIDTH else None
    if member[0] == "string_value" and number is not None and 0 <= number <= UINT64:
        return "long_value", number
    return member


def _natural_type(value: Any) -> DataType | None:
    """The datatype of a property that comes without one; None if it is null."""
    if isinstance(value, bool):
        return DataType.Boolean
    if isinstance(value, int):
        return DataType.Int32 if -(2**31) <= value < 2**31 else DataType.Int64
    if isinstance(value, float):
        return DataType.Double
    if isinstance(value, dict):
        return DataType.PropertySet
    return None if value is None else DataType.String


def _meta_data(target: pb.MetaData, source: Any) -> None:
    """Read a metric's metadata, which goes with files and templates; odd fields are left out."""
    if not isinstance(source, dict):
        return
    fields = _fields(source)
    flag = fields.get("ismultipart", fields.get("multipart"))
    if isinstance(flag, bool):
        target.is_multi_part = flag
    for name in ("size", "seq"):
        number = whole(fields.get(name))
        if number is not None and 0 <= number <= UINT64:
            setattr(target, name, number)
    for name in ("content_type", "file_name", "file_type", "md5", "description"):
        text = fields.get(_plain(name))
        if isinstance(text, str):
            setattr(target, name, text)


# ------------------------------------------------------------------ fields


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _fields(source: Any) -> dict[str, Any]:
    """The fields of an object that are not null, by their plain names."""
    if not isinstance(source, dict):
        raise _Unreadable("", "no object")
    return {_plain(name): value for name, value in source.items() if value is not None}


def _each(fields: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """The elements of a list, with the place they have in it."""
    elements = fields.get(name, [])
    if not isinstance(elements, list):
        raise _Unreadable(name, "no list")
    for index, element in enumerate(elements):
        yield f"{name}[{index}]", element


def _value(fields: dict[str, Any]) -> Any:
    """The value under whichever name; None for null."""
    if "isnull" in fields and _flag(fields, "isnull"):
        return None
    return next((fields[name] for name in _VALUES if name in fields), None)


def _datatype(fields: dict[str, Any]) -> int | None:
    """The code of a datatype that is given by name or by code; None if none is given."""
    given = fields.get("datatype", fields.get("type"))
    if given is None:
        return None
    code = _code_of(given)
    if code is None:
        raise _Unreadable("dataType", "neither a name nor a code")
    return code


def _code_of(given: Any) -> int | None:
    """A name that the specification does not list is `Unknown`."""
    code = whole(given)
    if code is None and isinstance(given, str):
        return _CODE.get(given.lower(), int(DataType.Unknown))
    return code if code is not None and 0 <= code < 2**32 else None


def _long(fields: dict[str, Any], name: str) -> int:
    """64 bits, signed or unsigned."""
    number = whole(fields[name])
    if number is None or not -(2**63) <= number <= UINT64:
        raise _Unreadable(name, "no integer of 64 bits")
    return number & UINT64


def _text(fields: dict[str, Any], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str):
        raise _Unreadable(name, "no text")
    return text


def _flag(fields: dict[str, Any], name: str) -> bool:
    flag = fields[name]
    if not isinstance(flag, bool | int) or flag not in {0, 1}:
        raise _Unreadable(name, "neither true nor false")
    return bool(flag)


def _float(digits: str) -> float | str:
    """A number beyond the range of a double stays text: it is not infinite."""
    number = float(digits)
    return number if math.isfinite(number) else digits


def _int(digits: str) -> int | str:
    """An integer of more digits than any datatype has stays text."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


_DECODER: Final = json.JSONDecoder(parse_float=_float, parse_int=_int)
