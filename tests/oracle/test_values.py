"""Values, times and qualities of docs/decoding.md worked out by hand."""

from __future__ import annotations

import math
import struct

import pytest
import xxhash

from oracle import Arrival
from oracle.messages import (
    ARRIVED,
    NODE,
    SENT_MS,
    arrival,
    born,
    columns,
    data_row,
    fed,
    metric,
)
from sparkplug.pb.sparkplug_b_pb2 import Payload


def golden_id(  # noqa: PLR0917 - the record, field by field
    site, group, node, device, name, event_time, kind, value16, code=192
):
    record = b""
    for text in (site, group, node, device, name):
        raw = (text or "").encode()
        record += struct.pack("<I", 0xFFFFFFFF if text is None else len(raw)) + raw
    record = xxhash.xxh3_128_digest(record) + struct.pack("<q", event_time) + value16
    return xxhash.xxh3_128_hexdigest(record + struct.pack("<iI", code, kind))


# The value


@pytest.mark.parametrize(
    ("datatype", "wire", "expected"),
    [
        (1, "50e901", -23),
        (1, "50e9ffffff0f", -23),
        (2, "50d09502", -30000),
        (2, "50d095feff0f", -30000),
        (3, "50ffffffff0f", -1),
        (4, "58ffffffffffffffffff01", -1),
    ],
    ids=[
        "Int8 narrow",
        "Int8 extended",
        "Int16 narrow",
        "Int16 extended",
        "Int32 at full width",
        "Int64 at full width",
    ],
)
def test_negative_integers_are_read_from_both_encodings_seen_on_the_wire(datatype, wire, expected):
    birth = arrival("NBIRTH", metric("Tag", datatype, alias=0, is_null=True))
    body = bytes.fromhex("1000") + bytes.fromhex(wire)
    data = Arrival(NODE.format("NDATA"), b"\x12" + bytes([len(body)]) + body + b"\x18\x01", ARRIVED)
    oracle = fed(birth, data)
    assert columns(oracle.rows[1]) == (expected, expected, None, None)
    assert not oracle.counts


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        (1, {"int_value": 127}, (127, 127, None, None)),
        (1, {"long_value": 2**64 - 128}, (-128, -128, None, None)),
        (1, {"long_value": 2**32 - 1}, (-1, -1, None, None)),
        (3, {"long_value": 2**64 - 2}, (-2, -2, None, None)),
        (4, {"int_value": 2**32 - 1}, (4294967295, 4294967295, None, None)),
        (4, {"long_value": 2**63}, (-(2.0**63), -(2**63), None, None)),
        (5, {"int_value": 255}, (255, 255, None, None)),
        (6, {"long_value": 65535}, (65535, 65535, None, None)),
        (7, {"int_value": 2**32 - 1}, (4294967295, 4294967295, None, None)),
        (7, {"long_value": 2**32 - 1}, (4294967295, 4294967295, None, None)),
        (8, {"long_value": 2**63 - 1}, (2.0**63, 2**63 - 1, None, None)),
        (8, {"long_value": 2**64 - 1}, (2.0**64, None, "18446744073709551615", None)),
        (9, {"float_value": 1.5}, (1.5, None, None, None)),
        (9, {"double_value": 1e300}, (1e300, None, None, None)),
        (10, {"float_value": 0.1}, (0.10000000149011612, None, None, None)),
        (10, {"int_value": 2**32 - 1}, (4294967295.0, None, None, None)),
        (10, {"double_value": math.nan}, (None, None, "NaN", None)),
        (10, {"double_value": math.inf}, (None, None, "Infinity", None)),
        (9, {"float_value": -math.inf}, (None, None, "-Infinity", None)),
        (11, {"boolean_value": False}, (None, None, None, False)),
        (11, {"int_value": 1}, (None, None, None, True)),
        (11, {"long_value": 0}, (None, None, None, False)),
        (12, {"string_value": ""}, (None, None, "", None)),
        (14, {"string_value": "text"}, (None, None, "text", None)),
        (15, {"string_value": "no uuid"}, (None, None, "no uuid", None)),
        (
            13,
            {"long_value": 1_795_443_214_123},
            (None, 1_795_443_214_123, "2026-11-23T14:13:34.123Z", None),
        ),
        (13, {"long_value": 2**64 - 1}, (None, -1, "1969-12-31T23:59:59.999Z", None)),
        (13, {"int_value": 2**32 - 1}, (None, 4294967295, "1970-02-19T17:02:47.295Z", None)),
        (
            13,
            {"long_value": 2**64 - 62_135_596_800_000},
            (None, -62_135_596_800_000, "0001-01-01T00:00:00.000Z", None),
        ),
        (13, {"long_value": 253_402_300_800_000}, (None, 253_402_300_800_000, None, None)),
    ],
)
def test_a_value_lands_in_the_columns_of_its_datatype(datatype, value, expected):
    oracle, row = data_row(datatype, **value)
    assert columns(row) == expected
    assert row["quality"] == "GOOD"
    assert not oracle.counts


def test_minus_zero_keeps_its_sign():
    _, row = data_row(10, double_value=-0.0)
    assert math.copysign(1, row["numeric_value"]) == -1


@pytest.mark.parametrize(
    ("datatype", "value", "text"),
    [
        (1, {"int_value": 300}, "300"),
        (1, {"int_value": 2**32 - 129}, "4294967167"),
        (3, {"long_value": 2**32}, "4294967296"),
        (5, {"int_value": 256}, "256"),
        (5, {"int_value": 2**32 - 1}, "4294967295"),
        (7, {"long_value": 2**32}, "4294967296"),
        (3, {"double_value": 2.5}, "2.5"),
        (3, {"float_value": 0.1}, "0.1"),
        (3, {"float_value": -103.217316}, "-103.217316"),
        (10, {"string_value": "21.5"}, "21.5"),
        (10, {"boolean_value": True}, "true"),
        (11, {"int_value": 2}, "2"),
        (12, {"boolean_value": False}, "false"),
        (12, {"double_value": 1e300}, "1e+300"),
        (12, {"double_value": math.nan}, "NaN"),
        (13, {"string_value": "2026-11-23"}, "2026-11-23"),
        (10, {"bytes_value": b"\x01"}, None),
    ],
)
def test_a_value_that_does_not_fit_is_kept_as_text_with_bad_quality(datatype, value, text):
    oracle, row = data_row(datatype, **value, quality=192)
    assert columns(row) == (None, None, text, None)
    assert (row["quality"], row["quality_code"]) == ("BAD", -1073741052)
    assert oracle.counts == {"value_does_not_fit": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"int_value": 2**32 - 1}, (4294967295, 4294967295, None, None)),
        ({"long_value": 2**64 - 1}, (2.0**64, None, "18446744073709551615", None)),
        ({"float_value": 0.5}, (0.5, None, None, None)),
        ({"boolean_value": True}, (None, None, None, True)),
        ({"string_value": "x"}, (None, None, "x", None)),
    ],
)
@pytest.mark.parametrize("datatype", [0, 35, 4_000_000_000, None])
def test_a_metric_of_unknown_datatype_gives_what_is_there(datatype, value, expected):
    oracle = born(metric("Tag", datatype, **value))
    assert columns(oracle.rows[0]) == expected
    assert oracle.rows[0]["data_type"] == "Unknown"
    assert oracle.counts == {"unknown_datatype": 1}


def test_null_wins_over_a_value():
    oracle, row = data_row(10, double_value=1.0, is_null=True)
    assert columns(row) == (None, None, None, None)
    assert (row["quality"], row["quality_code"]) == ("GOOD", 192)
    assert not oracle.counts


def test_a_metric_without_value_is_null_and_counted():
    oracle, row = data_row(10)
    assert columns(row) == (None, None, None, None)
    assert oracle.counts == {"value_missing": 1}


def several_values(datatype, *wire):
    """A metric that sets several members of the oneof, which no library would write."""
    body = b"\x0a\x03Tag" + b"\x20" + bytes([datatype]) + b"".join(wire)
    message = b"\x12" + bytes([len(body)]) + body + b"\x18\x00"
    return fed(Arrival(NODE.format("NBIRTH"), message, ARRIVED))


def test_of_several_values_the_first_accepted_one_counts():
    boolean = b"\x70\x01"
    double = b"\x69" + struct.pack("<d", 2.5)
    int_300 = b"\x50\xac\x02"
    long_5 = b"\x58\x05"
    assert columns(several_values(11, double, boolean).rows[0]) == (None, None, None, True)
    assert columns(several_values(10, boolean, double).rows[0]) == (2.5, None, None, None)
    assert columns(several_values(10, double, int_300).rows[0]) == (300, None, None, None)
    assert columns(several_values(1, int_300, long_5).rows[0]) == (5, 5, None, None)
    misfit = several_values(12, boolean, double)
    assert columns(misfit.rows[0]) == (None, None, "2.5", None)
    assert misfit.counts == {"value_does_not_fit": 1}


# Time and quality


def test_event_time_falls_back_to_the_payload_and_then_to_the_arrival():
    tag = metric("Tag", 11, timestamp=None, boolean_value=True)
    late = {**tag, "name": "Late", "timestamp": 253_402_300_800_000}
    last = {**tag, "name": "Last", "timestamp": 253_402_300_799_999}
    oracle = born(tag, late, last)
    sent_us = SENT_MS * 1000
    assert [row["event_time"] for row in oracle.rows] == [sent_us, sent_us, 253402300799999000]
    assert oracle.counts == {"timestamp_out_of_range": 1}

    oracle = fed(arrival("NBIRTH", tag, timestamp=None))
    assert oracle.rows[0]["event_time"] == ARRIVED
    assert oracle.rows[0]["payload_timestamp"] is None

    oracle = fed(arrival("NBIRTH", tag, timestamp=2**64 - 1))
    assert oracle.rows[0]["event_time"] == ARRIVED
    assert oracle.rows[0]["payload_timestamp"] is None
    assert oracle.counts == {"timestamp_out_of_range": 1}


def test_a_timestamp_of_zero_is_a_time():
    assert born(metric("Tag", 11, timestamp=0, boolean_value=True)).rows[0]["event_time"] == 0


@pytest.mark.parametrize(
    ("code", "quality"),
    [
        (500, "STALE"),
        (192, "GOOD"),
        (0, "BAD"),
        (0x80000204, "STALE"),
        (0xBFFF0204, "STALE"),
        (0xC0000204, "BAD"),
        (0x80000200, "BAD"),
        (0xC0000300, "BAD"),
        (0xFFFFFFFF, "BAD"),
        (0x40000100, "UNCERTAIN"),
        (0x40000204, "UNCERTAIN"),
        (516, "STALE"),
        (511, "UNCERTAIN"),
        (512, "BAD"),
        (780, "BAD"),
        (781, "UNCERTAIN"),
        (255, "UNCERTAIN"),
        (256, "UNCERTAIN"),
        (261, "UNCERTAIN"),
        (2, "GOOD"),
        (200, "GOOD"),
        (203, "GOOD"),
        (204, "UNCERTAIN"),
        (1, "UNCERTAIN"),
    ],
)
def test_quality_follows_from_the_code(code, quality):
    _, row = data_row(11, boolean_value=True, quality=code)
    assert row["quality"] == quality
    assert row["quality_code"] == struct.unpack("<i", struct.pack("<I", code))[0]


def test_code_zero_is_good_for_ignition_and_bad_for_all_others():
    tag = metric("Tag", 11, boolean_value=True, quality=0)
    version = metric("Node Info/Transmission Version", 12, string_value="4.0.33")
    assert [row["quality"] for row in born(tag).rows] == ["BAD"]
    assert [row["quality"] for row in born(tag, version).rows] == ["GOOD", "GOOD"]
    again = fed(arrival("NBIRTH", version, seq=0), arrival("NBIRTH", tag, seq=1))
    assert again.rows[-1]["quality"] == "BAD"


def test_only_an_integer_property_named_quality_is_the_quality():
    message = Payload(seq=0, timestamp=SENT_MS)
    for number, (key, fields) in enumerate(
        (
            ("Quality", {"type": 12, "string_value": "500"}),
            ("Quality", {"type": 3, "is_null": True, "int_value": 500}),
            ("quality", {"type": 3, "int_value": 500}),
            ("Quality", {"type": 4, "long_value": 2**64 - 2147483132}),
        )
    ):
        tag = message.metrics.add(name=f"Tag {number}", datatype=11, boolean_value=True)
        tag.properties.keys.append("engUnit")
        tag.properties.values.add(type=12, string_value="bar")
        tag.properties.keys.append(key)
        tag.properties.values.add(**fields)
    oracle = fed(Arrival(NODE.format("NBIRTH"), message.SerializeToString(), ARRIVED))
    assert [row["quality_code"] for row in oracle.rows] == [192, 192, 192, -2147483132]
    assert oracle.rows[3]["quality"] == "STALE"


@pytest.mark.parametrize(
    ("datatype", "value", "kind", "bytes16"),
    [
        (10, {"is_null": True}, 0, bytes(16)),
        (10, {"double_value": -0.0}, 1, struct.pack("<dQ", -0.0, 0)),
        (9, {"float_value": 0.1}, 1, struct.pack("<d", 0.10000000149011612) + bytes(8)),
        (1, {"int_value": 233}, 2, struct.pack("<q", -23) + bytes(8)),
        (13, {"long_value": 1_000}, 2, struct.pack("<q", 1_000) + bytes(8)),
        (11, {"boolean_value": True}, 3, struct.pack("<Q", 1) + bytes(8)),
        (12, {"string_value": "Grüße"}, 4, xxhash.xxh3_128_digest("Grüße".encode())),
        (12, {"string_value": ""}, 4, xxhash.xxh3_128_digest(b"")),
        (8, {"long_value": 2**63}, 4, xxhash.xxh3_128_digest(b"9223372036854775808")),
        (10, {"double_value": math.nan}, 4, xxhash.xxh3_128_digest(b"NaN")),
        (9, {"float_value": -math.inf}, 4, xxhash.xxh3_128_digest(b"-Infinity")),
    ],
)
def test_event_id_hashes_the_value_of_the_column_that_carries_it(datatype, value, kind, bytes16):
    _, row = data_row(datatype, **value)
    assert row["event_id"] == golden_id(
        "", "Plant A", "Edge 1", None, "Tag", 1_700_000_000_000_000, kind, bytes16
    )
