"""Events become rows of sparkplug_events, with ids that begin and end of a gap share."""

import struct

import pytest
import xxhash

from consumer.pb.sparkplug_event_pb2 import SparkplugEvent
from consumer.rows.sparkplug_events import (
    MOST_QUARANTINE_EVENTS,
    EventRows,
    event_id,
    quarantine_events,
)
from consumer.rows.templates import SourceNames
from sparkplug.events import Event, EventKind, Healing
from sparkplug.messages import Message, Quarantined, Reason

NOW = 1_795_443_214_123_456
NAMES = SourceNames(server="plant-a", site="north")
GAP = Event(EventKind.GAP, NOW, "Plant", "Edge", seq=7, missing=3, healing=Healing.OPEN)
BIRTH = Event(EventKind.DEVICE_BIRTH, NOW, "Plant", "Edge", "Boiler", seq=1)


def rows(*events, names=NAMES, stamp=NOW + 10):
    """Every event's row, as the fields that are set."""
    encoded = EventRows(names).encode(events, stamp)
    encoded = encoded.slice(0, len(encoded))
    messages = [SparkplugEvent.FromString(each) for each in encoded]
    return [{field.name: value for field, value in each.ListFields()} for each in messages]


def test_an_event_fills_the_columns_that_it_knows_and_leaves_the_others_null():
    event = BIRTH._replace(bd_seq=4, detail="12 metrics")
    (row,) = rows(event)
    assert row == {
        "event_id": event_id("north", "plant-a", event),
        "event_time": NOW,
        "event_type": "device_birth",
        "source_system_id": "Plant/Edge",
        "server": "plant-a",
        "group_id": "Plant",
        "edge_node_id": "Edge",
        "device_id": "Boiler",
        "bd_seq": 4,
        "seq": 1,
        "missing_is_modulo_256": False,
        "detail": "12 metrics",
        "ingestion_timestamp": NOW + 10,
    }


def test_a_gap_that_ends_has_the_id_of_the_one_that_began_and_a_later_row():
    ended = GAP._replace(missing=1, healing=Healing.REBIRTH_SNAPSHOT, reason="sequence_gap")
    first, second = rows(GAP, ended)
    assert first["event_id"] == second["event_id"]
    assert first["ingestion_timestamp"] < second["ingestion_timestamp"]
    assert [(row["missing_messages"], row["healing"]) for row in (first, second)] == [
        (3, "open"),
        (1, "rebirth_snapshot"),
    ]


def test_a_number_that_seq_gives_says_that_multiples_of_256_are_not_seen():
    (gap, birth) = rows(GAP, BIRTH)
    assert (gap["missing_is_modulo_256"], birth["missing_is_modulo_256"]) == (True, False)


def test_an_event_of_the_connection_has_no_source_system():
    (row,) = rows(Event(EventKind.CONNECTION_LOST, NOW))
    assert row.keys() == {
        *("event_id", "event_time", "event_type", "server", "missing_is_modulo_256"),
        "ingestion_timestamp",
    }


def test_the_id_is_the_documented_one():
    def counted(text):
        return struct.pack("<I", 2**32 - 1 if text is None else len(text)) + (text or "").encode()

    texts = ("north", "plant-a", "rebirth_request", "Plant", "Edge", None, "unknown_alias")
    record = b"".join(map(counted, texts)) + struct.pack("<qqq", NOW, -1, -1)
    event = Event(EventKind.REBIRTH_REQUEST, NOW, "Plant", "Edge", reason="unknown_alias")
    assert event_id("north", "plant-a", event) == xxhash.xxh3_128_hexdigest(record)
    assert event_id("", "a", GAP) == "e131b4297d31b3bba6478098874e8f3c"  # golden


@pytest.mark.parametrize(
    "change",
    [
        {"kind": EventKind.NODE_BIRTH},
        {"time_us": NOW + 1},
        {"group_id": "Plan"},
        {"group_id": "PlantE", "edge_node_id": "dge"},
        {"device_id": None},
        {"device_id": ""},
        {"reason": "unknown_alias"},
        {"seq": 2},
        {"bd_seq": 1},
    ],
)
def test_what_tells_events_apart_is_in_the_id(change):
    assert event_id("", "a", BIRTH) != event_id("", "a", BIRTH._replace(**change))
    assert event_id("", "a", BIRTH) != event_id("b", "a", BIRTH)
    assert event_id("", "a", BIRTH) != event_id("", "b", BIRTH)


@pytest.mark.parametrize("number", [-1, 2**63, 2**64 - 1])
def test_numbers_that_no_column_holds_are_null(number):
    (row,) = rows(BIRTH._replace(seq=number, bd_seq=number, missing=number))
    assert not row.keys() & {"seq", "bd_seq", "missing_messages"}
    assert row["missing_is_modulo_256"]


def test_a_long_detail_is_cut():
    (row,) = rows(BIRTH._replace(detail="x" * 5_000))
    assert len(row["detail"]) == 1_000


# Quarantine


def bad(node="Edge", reason=Reason.BAD_PAYLOAD, size=10, at=NOW):
    return Quarantined(Message(f"spBv1.0/Plant/NDATA/{node}", b"\xff" * size, at), reason)


def test_messages_of_one_edge_node_and_reason_are_one_event_with_their_number_and_size():
    many = [bad(size=10), bad(size=1_500, at=NOW + 1), bad(reason=Reason.TOO_LARGE)]
    first, second = quarantine_events(many)
    assert first == Event(
        EventKind.QUARANTINE,
        NOW,
        "Plant",
        "Edge",
        reason="bad_payload",
        detail="2 messages, 1,510 bytes, the first on spBv1.0/Plant/NDATA/Edge",
    )
    assert (second.reason, second.detail) == ("too_large", "10 bytes on spBv1.0/Plant/NDATA/Edge")


def test_a_flood_of_forged_edge_nodes_does_not_become_a_flood_of_events():
    flood = [bad(f"Edge {n}") for n in range(5_000)]
    *single, rest = quarantine_events(flood)
    assert len(single) == MOST_QUARANTINE_EVENTS
    assert (rest.group_id, rest.edge_node_id, rest.reason) == (None, None, None)
    assert rest.detail.startswith("4,900 messages, 49,000 bytes, the first on spBv1.0/Plant/")


def test_a_topic_outside_the_grammar_has_no_edge_node():
    (event,) = quarantine_events([Quarantined(Message("x" * 3_000, b"", NOW), Reason.TOO_LARGE)])
    assert (event.group_id, event.edge_node_id) == (None, None)
    assert len(event.detail) < 1_000
