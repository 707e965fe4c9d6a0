"""Examples of docs/decoding.md worked out by hand, so that the oracle can be believed."""

from __future__ import annotations

import math
import struct

import pytest
import xxhash
from oracle import COLUMNS, Arrival, Oracle, to_tag_event

from consumer.pb.tag_event_pb2 import TagEvent
from sparkplug.pb.sparkplug_b_pb2 import Payload

ARRIVED = 1_700_000_100_000_000
SENT_MS = 1_700_000_050_000
MEASURED_MS = 1_700_000_000_000

NODE = "spBv1.0/Plant A/{}/Edge 1"
DEVICE = "spBv1.0/Plant A/{}/Edge 1/Boiler"

VALUE_COLUMNS = ("numeric_value", "integer_value", "string_value", "boolean_value")


def payload(*metrics, seq=0, timestamp=SENT_MS):
    message = Payload(timestamp=timestamp, seq=seq)
    for fields in metrics:
        plain = dict(fields)
        quality = plain.pop("quality", None)
        metric = message.metrics.add(**plain)
        if quality is not None:
            metric.properties.keys.append("Quality")
            metric.properties.values.add(type=3, int_value=quality)
    return message.SerializeToString()


def metric(name=None, datatype=None, *, timestamp=MEASURED_MS, **fields):
    return {"name": name, "datatype": datatype, "timestamp": timestamp, **fields}


def arrival(verb, *metrics, seq=0, timestamp=SENT_MS, **fields):
    topic = (DEVICE if verb.startswith("D") else NODE).format(verb)
    return Arrival(topic, payload(*metrics, seq=seq, timestamp=timestamp), ARRIVED, **fields)


def fed(*arrivals, **options):
    oracle = Oracle(**options)
    oracle.feed(arrivals)
    return oracle


def born(*metrics, **options):
    return fed(arrival("NBIRTH", *metrics, seq=0), **options)


def value_row(datatype, **value):
    """The row of one value that arrives in data by alias, without datatype."""
    oracle = fed(
        arrival("NBIRTH", metric("Tag", datatype, alias=0, is_null=True)),
        arrival("NDATA", metric(alias=0, **value), seq=1),
    )
    assert len(oracle.rows) == 2
    return oracle, oracle.rows[1]


def columns(row):
    return tuple(row[name] for name in VALUE_COLUMNS)


def golden_id(  # noqa: PLR0917 - the record, field by field
    site, group, node, device, name, event_time, kind, value16, code=192
):
    record = b""
    for text in (site, group, node, device, name):
        raw = (text or "").encode()
        record += struct.pack("<I", 0xFFFFFFFF if text is None else len(raw)) + raw
    record = xxhash.xxh3_128_digest(record) + struct.pack("<q", event_time) + value16
    return xxhash.xxh3_128_hexdigest(record + struct.pack("<iI", code, kind))


# Whole rows


def test_a_birth_value_becomes_a_row_of_every_column():
    oracle = born(metric("Line/Ramp", 10, alias=0, double_value=21.5))
    time_us = 1_700_000_000_000_000
    assert oracle.rows == [
        {
            "event_id": golden_id(
                "", "Plant A", "Edge 1", None, "Line/Ramp", time_us, 1, struct.pack("<dQ", 21.5, 0)
            ),
            "event_time": time_us,
            "tag_path": "[MQTT Engine]Edge Nodes/Plant A/Edge 1/Line/Ramp",
            "tag_provider": "MQTT Engine",
            "numeric_value": 21.5,
            "integer_value": None,
            "string_value": None,
            "boolean_value": None,
            "quality": "GOOD",
            "quality_code": 192,
            "data_type": "Double",
            "source_system_id": "Plant A/Edge 1",
            "group_id": "Plant A",
            "edge_node_id": "Edge 1",
            "device_id": None,
            "metric_name": "Line/Ramp",
            "message_type": "NBIRTH",
            "is_historical": False,
            "seq": 0,
            "payload_timestamp": 1_700_000_050_000_000,
            "ingestion_timestamp": ARRIVED,
            "arrival_number": 1,
        }
    ]
    assert tuple(oracle.rows[0]) == COLUMNS
    assert not oracle.counts
    assert not oracle.rebirth_requests


def test_device_data_by_alias_becomes_a_row_of_the_device():
    oracle = fed(
        arrival("NBIRTH", seq=7),
        arrival("DBIRTH", metric("Level", 3, alias=12, int_value=1), seq=8),
        arrival(
            "DDATA",
            metric(alias=12, int_value=2**32 - 5, is_historical=True, quality=0x80000204),
            seq=9,
        ),
        site="north",
        tag_path="[hist]{site}/{device_id}/{metric}",
        source="{site}:{group_id}",
    )
    row = oracle.rows[1]
    stale_code = 0x80000204 - 2**32
    assert row == {
        **oracle.rows[0],
        "event_id": golden_id(
            "north",
            "Plant A",
            "Edge 1",
            "Boiler",
            "Level",
            1_700_000_000_000_000,
            2,
            struct.pack("<qQ", -5, 0),
            stale_code,
        ),
        "tag_path": "[hist]north/Boiler/Level",
        "tag_provider": "hist",
        "numeric_value": -5.0,
        "integer_value": -5,
        "quality": "STALE",
        "quality_code": stale_code,
        "source_system_id": "north:Plant A",
        "message_type": "DDATA",
        "is_historical": True,
        "seq": 9,
        "arrival_number": 2,
    }
    assert oracle.rows[0]["tag_path"] == "[hist]north/Boiler/Level"
    assert not oracle.counts


def test_event_id_of_the_documented_example_is_stable():
    oracle = born(metric("Ramp", 10, double_value=21.5))
    assert oracle.rows[0]["event_id"] == "321015daef55deda28ba443379bfe75b"


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
    _, row = value_row(datatype, **value)
    assert row["event_id"] == golden_id(
        "", "Plant A", "Edge 1", None, "Tag", 1_700_000_000_000_000, kind, bytes16
    )


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
    oracle, row = value_row(datatype, **value)
    assert columns(row) == expected
    assert row["quality"] == "GOOD"
    assert not oracle.counts


def test_minus_zero_keeps_its_sign():
    _, row = value_row(10, double_value=-0.0)
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
    oracle, row = value_row(datatype, **value, quality=192)
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
    oracle, row = value_row(10, double_value=1.0, is_null=True)
    assert columns(row) == (None, None, None, None)
    assert (row["quality"], row["quality_code"]) == ("GOOD", 192)
    assert not oracle.counts


def test_a_metric_without_value_is_null_and_counted():
    oracle, row = value_row(10)
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
    late = {**tag, "timestamp": 253_402_300_800_000}
    last = {**tag, "timestamp": 253_402_300_799_999}
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
    _, row = value_row(11, boolean_value=True, quality=code)
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
    for key, fields in (
        ("Quality", {"type": 12, "string_value": "500"}),
        ("Quality", {"type": 3, "is_null": True}),
        ("quality", {"type": 3, "int_value": 500}),
        ("Quality", {"type": 4, "long_value": 2**64 - 2147483132}),
    ):
        tag = message.metrics.add(name="Tag", datatype=11, boolean_value=True)
        tag.properties.keys.append("engUnit")
        tag.properties.values.add(type=12, string_value="bar")
        tag.properties.keys.append(key)
        tag.properties.values.add(**fields)
    oracle = fed(Arrival(NODE.format("NBIRTH"), message.SerializeToString(), ARRIVED))
    assert [row["quality_code"] for row in oracle.rows] == [192, 192, 192, -2147483132]
    assert oracle.rows[3]["quality"] == "STALE"


# Which metrics become rows


def test_control_metrics_and_the_death_counter_give_no_rows():
    oracle = born(
        metric("bdSeq", 4, long_value=3),
        metric("Node Control/Rebirth", 11, boolean_value=False),
        metric("Device Control/Reboot", 11, boolean_value=False),
        metric("Node Control", 11, boolean_value=False),
    )
    assert [row["metric_name"] for row in oracle.rows] == ["Node Control"]
    assert not oracle.counts


def test_transient_metrics_are_counted_and_written_on_request():
    tag = metric("Tag", 11, boolean_value=True, is_transient=True)
    assert born(tag).counts == {"transient": 1}
    assert born(tag).rows == []
    assert len(born(tag, emit_transient=True).rows) == 1


def test_datatypes_that_are_not_scalar_and_nameless_births_are_counted():
    oracle = born(
        metric("Bytes", 17, alias=1, bytes_value=b"x"),
        metric("Array", 34, bytes_value=b""),
        metric("Set", 16, is_null=True),
        metric(None, 11, alias=4, boolean_value=True),
        metric("Tag", 11, alias=5, boolean_value=True),
    )
    assert [row["metric_name"] for row in oracle.rows] == ["Tag"]
    assert oracle.counts == {"datatype_not_supported": 3, "metric_without_name": 1}


def test_unknown_metrics_are_counted_and_the_others_of_the_message_are_not_touched():
    oracle = born(metric("Tag", 11, alias=0, boolean_value=True))
    oracle.feed(
        [
            arrival(
                "NDATA",
                metric(alias=99, boolean_value=True),
                metric(alias=0, boolean_value=False),
                metric("tag", boolean_value=True),
                metric("Tag", alias=99, boolean_value=True),
                metric("Other", alias=0, boolean_value=True),
                seq=1,
            )
        ]
    )
    assert [row["boolean_value"] for row in oracle.rows] == [True, False, True]
    assert oracle.counts == {"unknown_alias": 1, "unknown_metric": 2}
    assert set(oracle.rebirth_requests) == {
        ("Plant A", "Edge 1", "unknown_alias"),
        ("Plant A", "Edge 1", "unknown_metric"),
    }


def test_the_datatype_of_the_birth_is_used_even_if_data_names_another():
    oracle = born(metric("Tag", 1, alias=0, int_value=1))
    oracle.feed([arrival("NDATA", metric(alias=0, datatype=8, int_value=233), seq=1)])
    assert oracle.rows[1]["integer_value"] == -23
    assert oracle.rows[1]["data_type"] == "Int8"


def test_the_later_of_two_equal_aliases_in_a_birth_wins():
    oracle = born(
        metric("First", 11, alias=0, boolean_value=True),
        metric("Second", 3, alias=0, int_value=1),
    )
    oracle.feed([arrival("NDATA", metric(alias=0, int_value=2), seq=1)])
    assert [row["metric_name"] for row in oracle.rows] == ["First", "Second", "Second"]


def test_an_alias_is_searched_in_the_own_device_and_then_on_the_whole_node():
    def device(verb, name, *metrics, seq):
        topic = f"spBv1.0/Plant A/{verb}/Edge 1/{name}"
        return Arrival(topic, payload(*metrics, seq=seq), ARRIVED)

    oracle = fed(
        arrival("NBIRTH", metric("N", 3, alias=0, int_value=0), seq=0),
        device("DBIRTH", "A", metric("a", 3, alias=1, int_value=0), seq=1),
        device("DBIRTH", "B", metric("b", 3, alias=1, int_value=0), seq=2),
        device("DDATA", "A", metric(alias=1, int_value=1), seq=3),
        device("DDATA", "B", metric(alias=1, int_value=1), seq=4),
        device("DDATA", "B", metric(alias=0, int_value=1), seq=5),
        arrival("NDATA", metric(alias=1, int_value=1), seq=6),
        device("DBIRTH", "A", metric("a", 3, alias=1, int_value=0), seq=7),
        arrival("NDATA", metric(alias=1, int_value=1), seq=8),
    )
    found = [(row["device_id"], row["metric_name"]) for row in oracle.rows[3:]]
    assert found == [("A", "a"), ("B", "b"), (None, "N"), ("B", "b"), ("A", "a"), ("A", "a")]
    assert oracle.rows[5]["message_type"] == "DDATA"
    assert oracle.rows[5]["tag_path"] == "[MQTT Engine]Edge Nodes/Plant A/Edge 1/N"


def test_a_birth_replaces_aliases_names_and_datatypes():
    oracle = fed(
        arrival("NBIRTH", metric("Old", 3, alias=0, int_value=1), seq=0),
        arrival("NBIRTH", metric("New", 1, alias=0, int_value=1), seq=200),
        arrival("NDATA", metric(alias=0, int_value=233), metric("Old", int_value=2), seq=201),
    )
    assert [(r["metric_name"], r["integer_value"]) for r in oracle.rows] == [
        ("Old", 1),
        ("New", 1),
        ("New", -23),
    ]
    assert oracle.counts == {"unknown_metric": 1}


# Which messages are read


def test_seq_is_one_counter_per_node_that_wraps_and_every_jump_is_counted():
    tag = metric("Tag", 11, alias=0, boolean_value=True)
    oracle = fed(
        arrival("NBIRTH", tag, seq=254),
        arrival("DBIRTH", seq=255),
        arrival("DDATA", seq=0),
        arrival("DDEATH", seq=1),
        arrival("NDATA", tag, seq=2),
    )
    assert not oracle.counts
    oracle.feed([arrival("NDATA", tag, seq=4), arrival("NDATA", tag, seq=5)])
    assert oracle.counts == {"sequence_gap": 1}
    assert oracle.rebirth_requests == [("Plant A", "Edge 1", "sequence_gap")]
    assert [row["seq"] for row in oracle.rows] == [254, 2, 4, 5]
    oracle.feed([arrival("NDATA", tag, seq=5), arrival("NBIRTH", tag, seq=77)])
    assert oracle.counts == {"sequence_gap": 2}


def test_data_needs_the_birth_of_its_node_and_of_its_device():
    tag = metric("Tag", 11, boolean_value=True)
    oracle = fed(arrival("NDATA", tag, seq=9), arrival("DDATA", tag, seq=9))
    assert oracle.counts == {"data_before_birth": 2}
    oracle.feed([arrival("NBIRTH", seq=0), arrival("DDATA", tag, seq=1)])
    assert oracle.counts == {"data_before_birth": 2, "device_data_before_birth": 1}
    assert oracle.rows == []
    assert [reason for _, _, reason in oracle.rebirth_requests] == [
        "data_before_birth",
        "data_before_birth",
        "device_data_before_birth",
    ]


def test_a_birth_of_the_node_ends_the_sessions_of_its_devices():
    tag = metric("Tag", 11, boolean_value=True)
    oracle = fed(
        arrival("NBIRTH", seq=0),
        arrival("DBIRTH", tag, seq=1),
        arrival("NBIRTH", seq=2),
        arrival("DDATA", tag, seq=3),
    )
    assert len(oracle.rows) == 1
    assert oracle.counts == {"device_data_before_birth": 1}


def test_deaths_end_sessions_and_give_no_rows():
    tag = metric("Tag", 11, boolean_value=True)
    counter = metric("bdSeq", 4, long_value=3)
    oracle = fed(
        arrival("NBIRTH", counter, tag, seq=0),
        arrival("DBIRTH", tag, seq=1),
        arrival("DDEATH", seq=2),
        arrival("DDATA", tag, seq=3),
    )
    assert oracle.counts == {"device_data_before_birth": 1}
    oracle.feed([arrival("NDEATH", metric("bdSeq", 8, long_value=2), seq=None)])
    oracle.feed([arrival("NDATA", tag, seq=4)])
    assert "data_before_birth" not in oracle.counts, "a death of an earlier session is not ours"
    oracle.feed([arrival("NDEATH", metric("bdSeq", 5, int_value=3), seq=None)])
    oracle.feed([arrival("NDATA", tag, seq=5)])
    assert oracle.counts == {"device_data_before_birth": 1, "data_before_birth": 1}
    assert [row["message_type"] for row in oracle.rows] == ["NBIRTH", "DBIRTH", "NDATA"]


def test_messages_that_are_not_read_are_counted_by_reason():
    birth = payload(metric("Tag", 11, boolean_value=True))
    not_utf8 = payload(metric("Tag", 12, string_value="xx")).replace(b"xx", b"\xff\xfe")
    oracle = fed(
        Arrival("spBv1.0/STATE/scada", b'{"online":true}', ARRIVED, retained=True),
        Arrival("spBv1.0/G/NCMD/N", b"\xff", ARRIVED),
        Arrival("spBv1.0/G/DCMD/N/D", b"", ARRIVED),
        Arrival("spBv1.0/G/DRECORD/N/D", b"", ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N/D", birth, ARRIVED),
        Arrival("spBv1.0/G/DBIRTH/N", birth, ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/", birth, ARRIVED),
        Arrival("spBv1.0/G", birth, ARRIVED),
        Arrival("spAv1.0/G/NBIRTH/N", birth, ARRIVED),
        Arrival("STATE/scada", b"ONLINE", ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N", birth, ARRIVED, retained=True),
        Arrival("spBv1.0/G/NBIRTH/N", b"x" * (16 * 1024 * 1024 + 1), ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N", b'{"metrics":[]}', ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N", birth[:-1], ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N", not_utf8, ARRIVED),
    )
    assert oracle.counts == {
        "command": 2,
        "unknown_verb": 1,
        "bad_topic": 6,
        "retained": 1,
        "too_large": 1,
        "json_payload": 1,
        "bad_payload": 2,
    }
    assert oracle.rebirth_requests == [("G", "N", "bad_payload")] * 2
    assert oracle.rows == []


def test_equal_device_ids_of_two_nodes_and_two_servers_are_kept_apart():
    tag = metric("Tag", 3, alias=0, int_value=1)
    other = "spBv1.0/Plant A/NDATA/Edge 2"
    oracle = fed(
        arrival("NBIRTH", tag, seq=0),
        Arrival(other, payload(tag, seq=1), ARRIVED),
        arrival("NDATA", tag, seq=1, server="second"),
    )
    assert oracle.counts == {"data_before_birth": 2}


# The encoder


def test_rows_are_encoded_with_every_field_and_without_nulls():
    _, row = value_row(1, int_value=233)
    event = TagEvent.FromString(to_tag_event(row))
    for column, value in row.items():
        if value is None:
            assert not event.HasField(column)
        else:
            assert getattr(event, column) == value
