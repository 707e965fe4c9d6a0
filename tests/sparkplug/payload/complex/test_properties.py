"""Property sets as plain values."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.datatypes import DataType
from sparkplug.payload.complex.properties import properties_of
from sparkplug.pb.sparkplug_b_pb2 import PropertySet, PropertyValue


def encoded(**properties):
    return of(properties).SerializeToString()


def of(properties):
    """A PropertySet; values are given as the fields that carry them."""
    found = PropertySet(keys=properties)
    for fields in properties.values():
        found.values.append(PropertyValue(**fields))
    return found


def nested(depth):
    """Sets within sets, each with its level: 1 is the outermost."""
    found = of({"level": {"int_value": depth}})
    for level in range(depth - 1, 0, -1):
        outer = of({"level": {"int_value": level}, "inner": {}})
        outer.values[1].propertyset_value.CopyFrom(found)
        found = outer
    return found.SerializeToString()


def test_values_by_their_type():
    assert properties_of(
        encoded(
            engUnit={"type": DataType.String, "string_value": "°C"},
            engLow={"type": DataType.Double, "double_value": -40.0},
            readOnly={"type": DataType.Boolean, "boolean_value": False},
            Quality={"type": DataType.Int32, "int_value": 2147484164},
            small={"type": DataType.Int8, "int_value": 233},
            big={"type": DataType.UInt64, "long_value": 2**64 - 1},
            scale={"type": DataType.Float, "float_value": 0.1},
            since={"type": DataType.DateTime, "long_value": 1_795_443_214_123},
        )
    ) == {
        "engUnit": "°C",
        "engLow": -40.0,
        "readOnly": False,
        "Quality": -2147483132,
        "small": -23,
        "big": 2**64 - 1,
        "scale": 0.1,
        "since": "2026-11-23T14:13:34.123Z",
    }


def test_a_null_stays_a_null():
    raw = encoded(
        told={"type": DataType.Int32, "is_null": True, "int_value": 3},
        empty={"type": DataType.Int32},
    )
    assert properties_of(raw) == {"told": None, "empty": None}


def test_values_without_type_are_read_as_found():
    raw = encoded(a={"int_value": 4294967295}, b={"string_value": "x"}, c={"boolean_value": True})
    assert properties_of(raw) == {"a": 4294967295, "b": "x", "c": True}


def test_values_that_do_not_fit_their_type_are_shown_as_found():
    raw = encoded(
        a={"type": DataType.Int8, "int_value": 300},
        b={"type": DataType.Int32, "string_value": "high"},
        c={"type": DataType.PropertySet, "int_value": 1},
    )
    assert properties_of(raw) == {"a": 300, "b": "high", "c": 1}


def test_nan_and_infinities_are_text():
    raw = encoded(a={"double_value": math.nan}, b={"float_value": -math.inf})
    assert properties_of(raw) == {"a": "NaN", "b": "-Infinity"}


def test_sets_and_lists_of_sets_are_nested_values():
    inner = of({"x": {"type": DataType.Int32, "int_value": 1}})
    raw = encoded(
        one={"type": DataType.PropertySet, "propertyset_value": inner},
        many={
            "type": DataType.PropertySetList,
            "propertysets_value": {"propertyset": [inner, PropertySet()]},
        },
    )
    assert properties_of(raw) == {"one": {"x": 1}, "many": [{"x": 1}, {}]}


def test_what_is_nested_too_deep_is_left_out():
    def depth(properties):
        return 1 + (depth(properties["inner"]) if "inner" in properties else 0)

    assert depth(properties_of(nested(16))) == 16
    assert depth(properties_of(nested(17))) == 16
    assert properties_of(nested(3), max_depth=1) == {"level": 1}


def test_a_nesting_that_protobuf_itself_refuses():
    assert properties_of(nested(200)) == {}


def test_keys_and_values_that_differ_in_number():
    found = of({"a": {"int_value": 1}, "b": {"int_value": 2}})
    found.keys.append("c")
    assert properties_of(found.SerializeToString()) == {"a": 1, "b": 2}
    found = of({"a": {"int_value": 1}})
    found.values.add(int_value=2)
    assert properties_of(found.SerializeToString()) == {"a": 1}


def test_only_what_is_not_utf_8_is_left_out():
    raw = encoded(key={"string_value": "good"}, bad={"string_value": "evil"}, sick={"int_value": 1})
    raw = raw.replace(b"evil", b"\xff\xfe\xfd\xfc").replace(b"sick", b"\xff\xfe\xfd\xfc")
    assert properties_of(raw) == {"key": "good"}


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x12\x01\xff"])
def test_bytes_that_are_no_property_set(raw):
    assert properties_of(raw) == {}


def test_the_bytes_are_limited():
    raw = encoded(a={"int_value": 1})
    assert properties_of(raw, max_bytes=len(raw)) == {"a": 1}
    assert properties_of(raw, max_bytes=len(raw) - 1) == {}


@given(st.binary())
def test_any_bytes_give_plain_values(raw):
    json.dumps(properties_of(raw), allow_nan=False)


@given(st.binary(max_size=100))
def test_any_bytes_as_a_nested_set_give_plain_values(raw):
    value = b"\x4a" + bytes([len(raw)]) + raw  # propertyset_value
    json.dumps(properties_of(b"\x0a\x01k\x12" + bytes([len(value)]) + value), allow_nan=False)
