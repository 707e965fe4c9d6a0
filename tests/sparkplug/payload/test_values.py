"""Every scalar datatype in every encoding met in the field: docs/decoding.md, "The value"."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columnar import Columnar
from support.value_rows import COLUMNS, misfits, values

from sparkplug.datatypes import DataType
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload

SIGNED = {DataType.Int8: 8, DataType.Int16: 16, DataType.Int32: 32, DataType.Int64: 64}
UNSIGNED = {DataType.UInt8: 8, DataType.UInt16: 16, DataType.UInt32: 32, DataType.UInt64: 64}
FLOATS = (DataType.Float, DataType.Double)
TEXTS = (DataType.String, DataType.Text, DataType.UUID)


def encodings(value, width):
    """How a signed value travels: narrow, and sign-extended to 32 and to 64 bits."""
    found = [{"long_value": value % 2**bits} for bits in {width, 32, 64} if bits >= width]
    found += [{"int_value": value % 2**bits} for bits in {width, 32} if width <= bits <= 32]
    return found


# Integers


@pytest.mark.parametrize("datatype", SIGNED)
def test_a_signed_integer_is_the_same_in_all_encodings(datatype):
    width = SIGNED[datatype]
    for value in (-(2 ** (width - 1)), -5, -1, 0, 1, 2 ** (width - 1) - 1):
        wire = encodings(value, width)
        assert values(datatype, *wire) == [(float(value), value, None, None)] * len(wire)


@pytest.mark.parametrize("datatype", SIGNED)
@given(st.data())
def test_any_signed_integer_is_the_same_in_all_encodings(datatype, data):
    width = SIGNED[datatype]
    value = data.draw(st.integers(-(2 ** (width - 1)), 2 ** (width - 1) - 1))
    wire = encodings(value, width)
    assert values(datatype, *wire) == [(float(value), value, None, None)] * len(wire)


def test_the_two_encodings_of_minus_23_seen_in_the_field():
    assert (
        values(DataType.Int8, {"int_value": 233}, {"int_value": 4294967273})
        == [(-23.0, -23, None, None)] * 2
    )


@pytest.mark.parametrize("datatype", [DataType.Int8, DataType.Int16])
def test_a_signed_integer_just_beyond_its_type_does_not_fit(datatype):
    width = SIGNED[datatype]
    beyond = [2**width, 2**width + 1, 2**32 - 2 ** (width - 1) - 1, 2**31, 2**31 - 1]
    found = misfits(datatype, *({"int_value": raw} for raw in beyond))
    assert found == [str(raw) for raw in beyond]


@pytest.mark.parametrize("datatype", [DataType.Int8, DataType.Int16, DataType.Int32])
def test_a_long_beyond_a_narrow_signed_type_does_not_fit(datatype):
    width = SIGNED[datatype]
    beyond = [2**32, 2**63, 2**64 - 2 ** (width - 1) - 1, 2**32 + 1, 2**40]
    found = misfits(datatype, *({"long_value": raw} for raw in beyond))
    assert found == [str(raw) for raw in beyond]


def test_an_int_field_of_an_int64_is_no_negative_number():
    assert values(DataType.Int64, {"int_value": 2**32 - 1}) == [
        (4294967295.0, 2**32 - 1, None, None)
    ]


@pytest.mark.parametrize("datatype", [DataType.UInt8, DataType.UInt16, DataType.UInt32])
@pytest.mark.parametrize("field", ["int_value", "long_value"])
def test_an_unsigned_integer_is_read_from_either_field(datatype, field):
    largest = 2 ** UNSIGNED[datatype] - 1
    numbers = [0, 1, largest // 2 + 1, largest]
    assert values(datatype, *({field: n} for n in numbers)) == [
        (float(n), n, None, None) for n in numbers
    ]


@pytest.mark.parametrize("datatype", [DataType.UInt8, DataType.UInt16, DataType.UInt32])
def test_an_unsigned_integer_just_beyond_its_type_does_not_fit(datatype):
    beyond = [2 ** UNSIGNED[datatype], 2**64 - 1]
    assert misfits(datatype, *({"long_value": n} for n in beyond)) == [str(n) for n in beyond]


@pytest.mark.parametrize("datatype", [DataType.UInt8, DataType.UInt16])
def test_an_unsigned_integer_is_not_sign_extended(datatype):
    assert misfits(datatype, {"int_value": 2**32 - 1}) == ["4294967295"]


def test_a_uint64_that_no_bigint_holds_is_text_and_a_number():
    numbers = [2**63 - 1, 2**63, 2**64 - 1]
    assert values(DataType.UInt64, *({"long_value": n} for n in numbers)) == [
        (2.0**63, 2**63 - 1, None, None),
        (2.0**63, None, "9223372036854775808", None),
        (2.0**64, None, "18446744073709551615", None),
    ]
    assert values(DataType.UInt64, {"int_value": 7}) == [(7.0, 7, None, None)]


# Floats


@pytest.mark.parametrize("datatype", FLOATS)
def test_floats_are_read_from_every_numeric_field(datatype):
    assert values(
        datatype,
        {"float_value": 1.5},
        {"double_value": 0.1},
        {"int_value": 2**32 - 1},
        {"long_value": 2**64 - 1},
    ) == [(number, None, None, None) for number in (1.5, 0.1, 4294967295.0, 2.0**64)]


def test_a_float_is_widened_to_the_double_of_the_same_value():
    assert values(DataType.Float, {"float_value": 0.1}) == [(0.10000000149011612, *[None] * 3)]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_any_finite_double_arrives_bit_for_bit(numbers):
    found = values(DataType.Double, *({"double_value": n} for n in numbers))
    assert [struct.pack("<d", row[0]) for row in found] == [struct.pack("<d", n) for n in numbers]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_any_finite_float_arrives_bit_for_bit(numbers):
    found = values(DataType.Float, *({"float_value": n} for n in numbers))
    assert [struct.pack("<d", row[0]) for row in found] == [struct.pack("<d", n) for n in numbers]


@pytest.mark.parametrize(
    "number", [5e-324, -5e-324, 2.2250738585072009e-308, -0.0, 1.7976931348623157e308]
)
def test_the_edges_of_a_double_arrive_bit_for_bit(number):
    ((found, *others),) = values(DataType.Double, {"double_value": number})
    assert struct.pack("<d", found) == struct.pack("<d", number)
    assert others == [None] * 3


@pytest.mark.parametrize("field", ["float_value", "double_value"])
@pytest.mark.parametrize("datatype", [*FLOATS, DataType.Unknown])
def test_what_is_no_finite_number_is_text_alone(datatype, field):
    numbers = [math.nan, -math.nan, math.inf, -math.inf]
    found = values(datatype, *({field: n} for n in numbers))
    texts = ["NaN", "NaN", "Infinity", "-Infinity"]
    assert found == [(None, None, text, None) for text in texts]


# Booleans, texts, times


def test_booleans_are_read_from_their_field_and_from_zero_and_one():
    wire = [
        {field: kind(value)}
        for field, kind in (("boolean_value", bool), ("int_value", int), ("long_value", int))
        for value in (False, True)
    ]
    expected = [(None, None, None, value) for value in (False, True)] * 3
    assert values(DataType.Boolean, *wire) == expected


def test_another_integer_is_no_boolean():
    wire = [{"int_value": 2}, {"long_value": 2**64 - 1}, {"int_value": 2**32 - 1}]
    assert misfits(DataType.Boolean, *wire) == ["2", "18446744073709551615", "4294967295"]


@pytest.mark.parametrize("datatype", TEXTS)
def test_texts_arrive_as_they_are(datatype):
    texts = ["", "on", "NaN", "Grüße 🌡", "nul\0byte", "a\nb", "x" * 100_000]
    found = values(datatype, *({"string_value": text} for text in texts))
    assert found == [(None, None, text, None) for text in texts]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_443_214_123, "2026-11-23T14:13:34.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (-62_135_596_800_001, None),
        (253_402_300_800_000, None),
        (-(2**63), None),
        (2**63 - 1, None),
    ],
)
def test_a_date_time_is_milliseconds_and_iso_text(milliseconds, text):
    found = values(DataType.DateTime, {"long_value": milliseconds % 2**64})
    assert found == [(None, milliseconds, text, None)]


def test_a_date_time_in_the_int_field_is_unsigned():
    assert values(DataType.DateTime, {"int_value": 2**32 - 1}) == [
        (None, 4294967295, "1970-02-19T17:02:47.295Z", None)
    ]


# All at once


def test_all_datatypes_in_one_message_do_not_disturb_each_other():
    wire = {
        DataType.Int8: ({"int_value": 255}, (-1.0, -1, None, None)),
        DataType.UInt64: ({"long_value": 2**63}, (2.0**63, None, str(2**63), None)),
        DataType.Double: ({"double_value": math.nan}, (None, None, "NaN", None)),
        DataType.Float: ({"float_value": 2.5}, (2.5, None, None, None)),
        DataType.Boolean: ({"boolean_value": True}, (None, None, None, True)),
        DataType.String: ({"string_value": ""}, (None, None, "", None)),
        DataType.DateTime: ({"long_value": 0}, (None, 0, "1970-01-01T00:00:00.000Z", None)),
        DataType.UInt32: ({"int_value": 2**31}, (2.0**31, 2**31, None, None)),
    }
    birth = Payload(seq=0)
    for datatype, (fields, _) in wire.items():
        birth.metrics.add(name=datatype.name, datatype=datatype, **fields)
    seen = Columnar()
    rows = seen.feed(Message("spBv1.0/G/NBIRTH/E", birth.SerializeToString(), 0))
    found = {row["data_type"]: tuple(row[name] for name in COLUMNS) for row in rows}
    assert found == {datatype.name: expected for datatype, (_, expected) in wire.items()}
    assert not seen.counts
