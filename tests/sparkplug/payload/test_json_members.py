"""Values in JSON become the member of the value oneof that their datatype asks for."""

import json
import math
import struct
from base64 import b64encode

import pytest

from sparkplug.payload.json_payload import from_json
from sparkplug.pb.sparkplug_b_pb2 import Payload


def read(source):
    text = source if isinstance(source, bytes) else json.dumps(source).encode()
    encoded = from_json(text)
    assert isinstance(encoded, bytes), str(encoded)
    return Payload.FromString(encoded)


def read_metric(**fields):
    return read({"metrics": [fields]}).metrics[0]


def member(data_type, value):
    """Name and content of the member that a value of a datatype is written to."""
    metric = read_metric(dataType=data_type, value=value)
    name = metric.WhichOneof("value")
    return name, getattr(metric, name)


M32, M64 = 2**32, 2**64


@pytest.mark.parametrize(
    ("data_type", "value", "expected"),
    [
        ("Int8", -128, ("int_value", M32 - 128)),
        ("Int8", 127, ("int_value", 127)),
        ("Int16", -30000, ("int_value", M32 - 30000)),
        ("Int32", -(2**31), ("int_value", 2**31)),
        ("Int32", 5.0, ("int_value", 5)),
        ("Int32", "50", ("int_value", 50)),
        ("Int64", -(2**63), ("long_value", 2**63)),
        ("Int64", 2**53 + 1, ("long_value", 2**53 + 1)),
        ("UInt8", 255, ("int_value", 255)),
        ("UInt32", M32 - 1, ("int_value", M32 - 1)),
        ("UInt64", M64 - 1, ("long_value", M64 - 1)),
        ("Float", 1.5, ("float_value", 1.5)),
        ("Float", -7, ("float_value", -7.0)),
        ("Float", 1e300, ("double_value", 1e300)),
        ("Float", "Infinity", ("float_value", math.inf)),
        ("Double", -7, ("double_value", -7.0)),
        ("Double", 0.1, ("double_value", 0.1)),
        ("Double", "-Infinity", ("double_value", -math.inf)),
        ("Double", "-21.5e1", ("double_value", -215.0)),
        ("Boolean", True, ("boolean_value", True)),
        ("Boolean", 0, ("boolean_value", False)),
        ("Boolean", "true", ("boolean_value", True)),
        ("String", "Grüße 🌡", ("string_value", "Grüße 🌡")),
        ("String", "", ("string_value", "")),
        ("String", {"a": [1, "ü"]}, ("string_value", '{"a":[1,"ü"]}')),
        ("Text", "50", ("string_value", "50")),
        ("UUID", "no uuid", ("string_value", "no uuid")),
        ("DateTime", 1_700_000_000_000, ("long_value", 1_700_000_000_000)),
        ("DateTime", -1, ("long_value", M64 - 1)),
        ("Bytes", "AP8=", ("bytes_value", b"\x00\xff")),
        ("File", "", ("bytes_value", b"")),
    ],
)
def test_a_value_is_written_as_an_edge_node_would_write_it(data_type, value, expected):
    assert member(data_type, value) == expected


@pytest.mark.parametrize("text", [b"NaN", b'"NaN"'])
@pytest.mark.parametrize("data_type", ["Float", "Double"])
def test_nan_comes_as_text_and_as_python_and_javascript_write_it(data_type, text):
    metric = read(b'{"metrics":[{"dataType":"%s","value":%s}]}' % (data_type.encode(), text))
    assert math.isnan(getattr(metric.metrics[0], f"{data_type.lower()}_value"))


@pytest.mark.parametrize(
    ("data_type", "value", "expected"),
    [
        ("Int8", 200, ("string_value", "200")),
        ("Int8", -129, ("string_value", "-129")),
        ("Int32", 5.5, ("double_value", 5.5)),
        ("Int32", True, ("boolean_value", True)),
        ("Int32", "five", ("string_value", "five")),
        ("Int32", [5], ("string_value", "[5]")),
        ("UInt16", -1, ("string_value", "-1")),
        ("UInt64", 2**64, ("string_value", str(2**64))),
        ("Int64", 10**30, ("string_value", str(10**30))),
        ("Double", "warm", ("string_value", "warm")),
        ("Double", False, ("boolean_value", False)),
        ("Boolean", 2, ("string_value", "2")),
        ("Boolean", "yes", ("string_value", "yes")),
        ("String", 5, ("long_value", 5)),
        ("String", 5.5, ("double_value", 5.5)),
        ("String", True, ("boolean_value", True)),
        ("DateTime", "2026-11-23T14:13:34Z", ("string_value", "2026-11-23T14:13:34Z")),
        ("Bytes", "no base64!", ("string_value", "no base64!")),
        ("Bytes", 5, ("string_value", "5")),
        ("DataSet", [1], ("string_value", "[1]")),
        ("Template", "x", ("string_value", "x")),
        ("PropertySet", {"a": 1}, ("string_value", '{"a":1}')),
    ],
)
def test_a_value_that_does_not_fit_goes_where_its_datatype_does_not_look(
    data_type, value, expected
):
    assert member(data_type, value) == expected


@pytest.mark.parametrize("digits", ["1e400", "-1e400", "9" * 50, "1" + "0" * 400])
@pytest.mark.parametrize("data_type", ["Double", "Int64"])
def test_a_number_beyond_all_datatypes_is_neither_infinite_nor_lost(data_type, digits):
    text = f'{{"metrics":[{{"dataType":"{data_type}","value":{digits}}}]}}'
    metric = read(text.encode()).metrics[0]
    whole_double = data_type == "Double" and len(digits) == 50
    if whole_double:
        assert metric.double_value == float(digits)
    else:
        assert metric.string_value == digits


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, ("long_value", 5)),
        (2**64 - 1, ("long_value", 2**64 - 1)),
        (5.5, ("double_value", 5.5)),
        (True, ("boolean_value", True)),
        ("on", ("string_value", "on")),
        # As two's complement it would be a huge number if the birth declares a Double.
        (-5, ("double_value", -5.0)),
        (10**30, ("double_value", 1e30)),
    ],
)
def test_a_value_without_datatype_is_written_as_what_it_is(value, expected):
    metric = read_metric(alias=0, value=value)
    name = metric.WhichOneof("value")
    assert (name, getattr(metric, name)) == expected


@pytest.mark.parametrize(
    ("name", "data_type", "value", "expected"),
    [
        ("intValue", 2, -3, ("int_value", M32 - 3)),
        ("int_value", 7, 4, ("int_value", 4)),
        ("longValue", 4, "-3", ("long_value", M64 - 3)),
        ("doubleValue", 10, "NaN", None),
        ("booleanValue", 11, True, ("boolean_value", True)),
        ("stringValue", 12, "x", ("string_value", "x")),
        ("bytesValue", 17, "AA==", ("bytes_value", b"\x00")),
    ],
)
def test_a_value_is_found_under_the_names_of_the_protobuf_schema(name, data_type, value, expected):
    metric = read_metric(datatype=data_type, **{name: value})
    found = metric.WhichOneof("value")
    if expected is None:
        assert math.isnan(metric.double_value)
    else:
        assert (found, getattr(metric, found)) == expected


# Examples of the specification, with the bytes that its text asks for.
ARRAYS = [
    ("Int8Array", [-23, 123], "E9 7B"),
    ("Int16Array", [-30000, 30000], "D0 8A 30 75"),
    ("Int32Array", [-1, 315338746], "FF FF FF FF FA AF CB 12"),
    ("Int64Array", [-4270929666821191986], "CE 06 72 AC 18 9C BA C4"),
    ("UInt8Array", [23, 250], "17 FA"),
    ("UInt16Array", [30, 52360], "1E 00 88 CC"),
    ("UInt32Array", [52, 3293969225], "34 00 00 00 49 FB 55 C4"),
    ("UInt64Array", [16444743074749521625], "D9 9E 02 D1 B2 76 37 E4"),
    ("FloatArray", [1.23, 89.341], "A4 70 9D 3F 98 AE B2 42"),
    ("DoubleArray", [12.354213], "D7 A2 05 68 5B B5 28 40"),
    (
        "BooleanArray",
        [False, False, True, True, False, True, False, False, True, True, False, True],
        "0C 00 00 00 34 D0",
    ),
    ("StringArray", ["ABC", "hello", ""], "41 42 43 00 68 65 6C 6C 6F 00 00"),
    ("DateTimeArray", [1256102875335], "C7 D0 90 75 24 01 00 00"),
]


@pytest.mark.parametrize(("data_type", "value", "expected"), ARRAYS)
def test_arrays_are_packed_as_the_specification_says(data_type, value, expected):
    raw = bytes.fromhex(expected)
    assert member(data_type, value) == ("bytes_value", raw)
    assert member(data_type, b64encode(raw).decode()) == ("bytes_value", raw)
    assert member(data_type, []) == (
        "bytes_value",
        struct.pack("<I", 0) if data_type == "BooleanArray" else b"",
    )


def test_what_json_has_no_numbers_for_is_text_in_arrays_too():
    name, raw = member("DoubleArray", ["NaN", "Infinity", 1])
    assert name == "bytes_value"
    assert repr(struct.unpack("<3d", raw)) == "(nan, inf, 1.0)"


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        ("Int8Array", [1, 200]),
        ("UInt32Array", [-1]),
        ("Int32Array", [1.5]),
        ("Int32Array", [None]),
        ("FloatArray", [1e300]),
        ("BooleanArray", [True, 2]),
        ("StringArray", ["a", 1]),
        ("StringArray", ["nul\0byte"]),
        ("DateTimeArray", ["soon"]),
    ],
)
def test_an_array_with_an_element_that_does_not_fit_is_shown_as_text(data_type, value):
    name, text = member(data_type, value)
    assert (name, json.loads(text)) == ("string_value", value)
