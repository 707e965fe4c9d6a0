"""Examples of docs/decoding.md worked out by hand, so that the oracle can be believed."""

from __future__ import annotations

import struct

import pytest
import xxhash

from consumer.pb.tag_event_pb2 import TagEvent
from oracle import COLUMNS, Arrival, to_tag_event
from oracle.messages import (
    ARRIVED,
    MEASURED_MS,
    SENT_MS,
    arrival,
    born,
    columns,
    data_row,
    fed,
    metric,
    payload,
)


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


def test_templates_property_sets_and_nameless_births_are_counted():
    oracle = born(
        metric("Motor", 19, alias=1, template_value={"metrics": [{"name": "on", "datatype": 11}]}),
        metric("Pump", 19, alias=2, string_value="no template"),
        metric("Set", 20, bytes_value=b""),
        metric("Sets", 21, is_null=True),
        metric(None, 11, alias=4, boolean_value=True),
        metric("Tag", 11, alias=5, boolean_value=True),
    )
    assert [row["metric_name"] for row in oracle.rows] == ["Motor/on", "Tag"]
    assert oracle.counts == {
        "datatype_not_supported": 2,
        "metric_without_name": 1,
        "value_missing": 1,
        "bad_template": 1,
    }


@pytest.mark.parametrize(
    ("code", "member", "raw", "text"),
    [
        (17, "bytes_value", b"x", '{"size":1,"md5":"9dd4e461268c8034f5c8564e155c67a6"}'),
        (22, "bytes_value", b"\xe9\x7b", "[-23,123]"),
        (30, "bytes_value", b"\xa4\x70\x9d\x3f", "[1.23]"),
        (
            32,
            "bytes_value",
            b"\x0c\x00\x00\x00\x34\xd0",
            "[false,false,true,true,false,true,false,false,true,true,false,true]",
        ),
        (33, "bytes_value", b"ABC\0hello\0", '["ABC","hello"]'),
        (34, "bytes_value", b"\xc7\xd0\x90\x75\x24\x01\x00\x00", '["2009-10-21T05:27:55.335Z"]'),
    ],
)
def test_encoded_values_are_written_as_json(code, member, raw, text):
    (row,) = born(metric("Tag", code, **{member: raw})).rows
    assert row["string_value"] == text


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


def test_an_alias_of_two_metrics_in_a_birth_stands_for_none():
    oracle = born(
        metric("First", 11, alias=0, boolean_value=True),
        metric("Second", 3, alias=0, int_value=1),
    )
    oracle.feed([arrival("NDATA", metric(alias=0, int_value=2), seq=1)])
    assert [row["metric_name"] for row in oracle.rows] == ["First", "Second"]
    assert oracle.counts == {"duplicate_alias": 1, "unknown_alias": 1}


def test_the_later_of_two_equal_names_in_a_birth_wins_for_data():
    oracle = born(
        metric("Tag", 11, alias=0, boolean_value=True), metric("Tag", 3, alias=1, int_value=1)
    )
    oracle.feed([arrival("NDATA", metric("Tag", int_value=2), seq=1)])
    assert [row["data_type"] for row in oracle.rows] == ["Boolean", "Int32", "Int32"]


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
        ("Old", None),  # which the birth leaves out
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
    assert oracle.counts == {"sequence_gap": 1, "duplicate": 1}


def test_data_needs_the_birth_of_its_node_and_of_its_device():
    tag = metric("Tag", 11, boolean_value=True)
    before = {"timestamp": SENT_MS - 1}
    oracle = fed(arrival("NDATA", seq=9, **before), arrival("DDEATH", seq=9, **before))
    assert oracle.counts == {"data_before_birth": 2}
    oracle.feed([arrival("NBIRTH", seq=0), arrival("DDATA", tag, seq=1)])
    assert oracle.counts.pop("death_of_other_session") == 1
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


def test_deaths_end_sessions_and_give_a_stale_row_per_tag():
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
    assert oracle.counts == {
        "death_of_other_session": 1,
        "device_data_before_birth": 1,
        "data_before_birth": 1,
    }
    assert [row["message_type"] for row in oracle.rows] == [
        *("NBIRTH", "DBIRTH", "DDEATH", "NDATA", "NDEATH")
    ]
    of_device, of_node = (row for row in oracle.rows if row["quality"] == "STALE")
    assert (of_device["device_id"], of_node["device_id"]) == ("Boiler", None)
    assert (of_device["event_time"], of_node["event_time"]) == (SENT_MS * 1000, ARRIVED)
    for row in (of_device, of_node):
        assert (row["metric_name"], row["quality_code"]) == ("Tag", 500)
        assert columns(row) == (None, None, None, None)


def test_the_first_birth_value_after_a_death_is_a_row_again_with_its_own_time():
    tag = metric("Tag", 11, boolean_value=True)
    oracle = fed(
        arrival("NBIRTH", tag),
        arrival("NDEATH", seq=None),
        arrival("NBIRTH", tag, timestamp=SENT_MS + 1),
        arrival("NBIRTH", tag, timestamp=SENT_MS + 2),
    )
    assert [row["event_time"] for row in oracle.rows] == [
        MEASURED_MS * 1000,
        ARRIVED,
        MEASURED_MS * 1000,
    ]
    assert oracle.rows[0]["event_id"] == oracle.rows[2]["event_id"]
    assert oracle.repeated == 1


def test_a_birth_value_that_is_the_last_row_of_its_tag_gives_no_other():
    tag = metric("Tag", 11, boolean_value=True)
    changed = metric("Tag", 11, boolean_value=False, timestamp=MEASURED_MS + 1)
    oracle = fed(
        arrival("NBIRTH", tag),
        arrival("NBIRTH", tag),
        arrival("NDATA", changed, seq=1),
        arrival("NBIRTH", changed),
        arrival("NBIRTH", tag),
        arrival("NDATA", tag, seq=1),
    )
    assert [row["message_type"] for row in oracle.rows] == ["NBIRTH", "NDATA", "NBIRTH", "NDATA"]
    assert [row["boolean_value"] for row in oracle.rows] == [True, False, True, True]
    assert oracle.repeated == 2


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
        Arrival("spBv1.0/G/NBIRTH/N", b'{"metrics":[', ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N", birth[:-1], ARRIVED),
        Arrival("spBv1.0/G/NBIRTH/N", not_utf8, ARRIVED),
    )
    assert oracle.counts == {
        "host_state": 1,
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
    _, row = data_row(1, int_value=233)
    event = TagEvent.FromString(to_tag_event(row))
    for column, value in row.items():
        if value is None:
            assert not event.HasField(column)
        else:
            assert getattr(event, column) == value
