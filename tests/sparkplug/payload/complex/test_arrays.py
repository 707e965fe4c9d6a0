"""Arrays: bytes of the specification's table, an independent encoder, and hostile bytes."""

import json
import math
import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.peer import PeerType

from sparkplug.datatypes import DataType
from sparkplug.payload.complex.arrays import ARRAYS, array_text

# What the specification's text says of its own examples, where these contradict it.
GOLDEN = [
    ("Int8Array", "E9 7B", [-23, 123]),
    ("Int16Array", "D0 8A 30 75", [-30000, 30000]),
    ("Int32Array", "FF FF FF FF FA AF CB 12", [-1, 315338746]),
    (
        "Int64Array",
        "CE 06 72 AC 18 9C BA C4 C4 BA 9C 18 AC 72 06 CE",
        [-4270929666821191986, -3601064768563266876],
    ),
    ("UInt8Array", "17 FA", [23, 250]),
    ("UInt16Array", "1E 00 88 CC", [30, 52360]),
    ("UInt32Array", "34 00 00 00 49 FB 55 C4", [52, 3293969225]),
    (
        "UInt64Array",
        "34 00 00 00 00 00 00 00 D9 9E 02 D1 B2 76 37 E4",
        [52, 16444743074749521625],
    ),
    ("FloatArray", "A4 70 9D 3F 98 AE B2 42", [1.23, 89.341]),
    (
        "DoubleArray",
        "D7 A2 05 68 5B B5 28 40 8E 17 1C 6F 4C F7 8F 40",
        [12.354213, 1022.9123213],
    ),
    (
        "BooleanArray",
        "0C 00 00 00 34 D0",
        [False, False, True, True, False, True, False, False, True, True, False, True],
    ),
    ("StringArray", "41 42 43 00 68 65 6C 6C 6F 00", ["ABC", "hello"]),
    (
        "DateTimeArray",
        "C7 D0 90 75 24 01 00 00 B8 BA B8 97 81 01 00 00",
        ["2009-10-21T05:27:55.335Z", "2022-06-24T21:57:55.000Z"],
    ),
]


@pytest.mark.parametrize(("name", "raw", "elements"), GOLDEN, ids=[each[0] for each in GOLDEN])
def test_the_examples_of_the_specification(name, raw, elements):
    assert json.loads(array_text(DataType[name], bytes.fromhex(raw))) == elements


def test_the_golden_bytes_cover_every_array_datatype():
    assert {DataType[name] for name, _, _ in GOLDEN} == ARRAYS
    assert len(ARRAYS) == 13


def test_the_text_is_compact():
    assert array_text(DataType.UInt8Array, b"\1\2") == "[1,2]"
    assert array_text(DataType.StringArray, "Grüße\0日本\0".encode()) == '["Grüße","日本"]'
    assert array_text(DataType.BooleanArray, b"\2\0\0\0\x40") == "[false,true]"


# Round trips with an independent encoder

INTEGERS = {
    "INT8_ARRAY": (-(2**7), 2**7 - 1),
    "INT16_ARRAY": (-(2**15), 2**15 - 1),
    "INT32_ARRAY": (-(2**31), 2**31 - 1),
    "INT64_ARRAY": (-(2**63), 2**63 - 1),
    "UINT8_ARRAY": (0, 2**8 - 1),
    "UINT16_ARRAY": (0, 2**16 - 1),
    "UINT32_ARRAY": (0, 2**32 - 1),
    "UINT64_ARRAY": (0, 2**64 - 1),
}


def elements(peer_type, values):
    """What comes out of the bytes that the independent encoder makes of `values`."""
    return json.loads(array_text(DataType(int(peer_type)), peer_type.encode(values)))


@pytest.mark.parametrize("name", INTEGERS)
@given(st.data())
def test_integers_are_exact(name, data):
    values = data.draw(st.lists(st.integers(*INTEGERS[name])))
    assert elements(PeerType[name], values) == values


@given(st.lists(st.floats()))
def test_doubles_are_exact(values):
    assert elements(PeerType.DOUBLE_ARRAY, values) == [spoken(value) for value in values]


@given(st.lists(st.floats(width=32)))
def test_floats_have_the_shortest_digits_of_the_32_bit_number(values):
    shortest = [
        float(str(np.float32(value))) if math.isfinite(value) else spoken(value) for value in values
    ]
    assert elements(PeerType.FLOAT_ARRAY, values) == shortest


def spoken(value):
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


@given(st.lists(st.booleans()))
def test_booleans_of_any_number(values):
    assert elements(PeerType.BOOLEAN_ARRAY, tuple(values)) == values


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_strings_of_any_language(values):
    assert elements(PeerType.STRING_ARRAY, values) == values


@given(st.lists(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))))  # noqa: DTZ001
def test_times_since_1970(values):
    # The encoder goes by floats, which drop a millisecond here and there.
    for shown, value in zip(elements(PeerType.DATETIME_ARRAY, values), values, strict=True):
        assert abs(datetime.fromisoformat(shown) - value) < timedelta(milliseconds=2)


# What the encoder does not do


def test_times_before_1970_are_negative():
    assert array_text(DataType.DateTimeArray, struct.pack("<2q", -1, -62_135_596_800_000)) == (
        '["1969-12-31T23:59:59.999Z","0001-01-01T00:00:00.000Z"]'
    )


def test_times_outside_the_years_1_to_9999_are_null():
    beyond = (-62_135_596_800_001, 253_402_300_800_000, -(2**63), 2**63 - 1)
    raw = struct.pack("<5q", *beyond, 253_402_300_799_999)
    assert array_text(DataType.DateTimeArray, raw) == (
        '[null,null,null,null,"9999-12-31T23:59:59.999Z"]'
    )


@pytest.mark.parametrize(
    ("datatype", "code"), [(DataType.FloatArray, "f"), (DataType.DoubleArray, "d")]
)
def test_nan_and_infinities_are_text_in_valid_json(datatype, code):
    raw = struct.pack(f"<4{code}", math.nan, math.inf, -math.inf, 1.5)
    assert array_text(datatype, raw) == '["NaN","Infinity","-Infinity",1.5]'


def test_the_last_string_may_lack_its_nul():
    assert array_text(DataType.StringArray, b"ABC\0hello") == '["ABC","hello"]'


def test_a_lone_nul_is_one_empty_string():
    assert array_text(DataType.StringArray, b"\0") == '[""]'
    assert array_text(DataType.StringArray, b"\0\0a\0") == '["","","a"]'


@pytest.mark.parametrize("datatype", sorted(ARRAYS))
def test_no_bytes_are_no_elements(datatype):
    assert array_text(datatype, b"") == "[]"


def test_bits_beyond_the_count_do_not_matter():
    assert array_text(DataType.BooleanArray, b"\3\0\0\0\xbf") == "[true,false,true]"
    assert array_text(DataType.BooleanArray, b"\0\0\0\0") == "[]"


# Bytes that are no such array


ONE_BYTE = {DataType.Int8Array, DataType.UInt8Array, DataType.StringArray}


@pytest.mark.parametrize("datatype", sorted(ARRAYS - ONE_BYTE))
def test_a_length_that_is_no_multiple_of_the_element(datatype):
    assert array_text(datatype, b"\1\0\0") is None


@pytest.mark.parametrize(
    "raw",
    [
        b"\1\0\0\0",  # a bit, and no byte for it
        b"\x09\0\0\0\xff",  # nine bits in one byte
        b"\xff\xff\xff\xff\xff",
        b"\1\0\0\0\x80\x80",  # a byte that the count knows nothing of
        b"\0\0\0\0\0",
    ],
)
def test_a_count_of_bits_that_is_not_that_of_the_bytes(raw):
    assert array_text(DataType.BooleanArray, raw) is None


def test_text_that_is_not_utf_8():
    assert array_text(DataType.StringArray, b"good\0\xff\xfe\0") is None


@pytest.mark.parametrize("datatype", sorted(set(DataType) - ARRAYS))
def test_what_is_no_array_datatype(datatype):
    assert array_text(datatype, b"\1\2\3\4") is None


# Hostile sizes


@pytest.mark.parametrize("datatype", sorted(ARRAYS))
def test_the_number_of_elements_is_limited(datatype):
    def raw(count):
        if datatype == DataType.BooleanArray:
            return struct.pack("<I", count) + bytes((count + 7) // 8)
        if datatype == DataType.StringArray:
            return b"\0" * count
        size = len(bytes.fromhex(next(r for name, r, _ in GOLDEN if DataType[name] == datatype)))
        return bytes(size // 2 * count)

    assert len(json.loads(array_text(datatype, raw(9), max_elements=9))) == 9
    assert array_text(datatype, raw(10), max_elements=9) is None


@given(st.sampled_from(sorted(ARRAYS)), st.binary())
def test_any_bytes_give_a_json_array_or_none(datatype, raw):
    text = array_text(datatype, raw)
    if text is not None:
        found = json.loads(text, parse_constant=pytest.fail)
        assert isinstance(found, list)
