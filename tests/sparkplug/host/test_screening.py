"""Which messages are read at all, and how the others are counted (docs/decoding.md)."""

import zlib

import pytest
from support.columnar import Columnar, change, message, tag, values

from sparkplug.host.screening import FleetLimits
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_pb2 import Payload

SMALL = FleetLimits(max_payload_bytes=1000, max_inflated_bytes=1000)
BIRTH = message("NBIRTH", tag("Ramp", 0))
OTHER_HOST = Message("spBv1.0/STATE/other", b'{"online":true,"timestamp":1}', 0)
JSON = Message("spBv1.0/Plant/NDATA/Edge", b'{"metrics":[', 0)
GARBAGE = Message("spBv1.0/Plant/NDATA/Edge", b"\xff\xff", 0)
NOT_UTF8 = Message("spBv1.0/Plant/NDATA/Edge", b"\x12\x04\x0a\x02\xc3\x28", 0)
HUGE = message("NDATA", tag("x" * 2000), seq=1)


def envelope(body):
    payload = Payload(seq=1, uuid="SPBV1.0_COMPRESSED", body=body).SerializeToString()
    return Message("spBv1.0/Plant/NDATA/Edge", payload, 0)


TORN = envelope(b"\x1f\x8b")
BOMB = envelope(zlib.compress(bytes(2000)))

CASES = {
    "bad_topic": Message("spBv1.0/Plant/NDATA", b"", 0),
    "unknown_verb": Message("spBv1.0/Plant/DRECORD/Edge/Boiler", b"", 0),
    "host_state": OTHER_HOST,
    "command": message("NCMD", tag("Ramp")),
    "retained": message("NDATA", change(0, 5.0), seq=1, retained=True),
    "too_large": HUGE,
    "json_payload": JSON,
    "bad_payload": GARBAGE,
    "bad_envelope": TORN,
    "envelope_too_large": BOMB,
}
ENVELOPES = {"bad_envelope", "envelope_too_large"}
QUARANTINED = {"too_large", "json_payload", "bad_payload", *ENVELOPES}


@pytest.mark.parametrize("reason", CASES)
def test_a_message_that_is_not_read_is_counted_and_its_neighbours_are_read(reason):
    seen = Columnar(SMALL)
    odd = CASES[reason]
    seq = 2 if reason in ENVELOPES else 1  # their seq counts, no other's does
    rows = seen.feed(BIRTH, odd, message("NDATA", change(0, 1.0), seq=seq), odd)
    assert values(rows) == [("Ramp", 0.0), ("Ramp", 1.0)]
    assert seen.counts[reason] == 2
    assert [q for _, q in seen.quarantined] == ([reason] * 2 if reason in QUARANTINED else [])
    assert all(kept == odd for kept, _ in seen.quarantined)


@pytest.mark.parametrize("reason", CASES)
def test_a_batch_of_nothing_but_unread_messages_gives_nothing(reason):
    seen = Columnar(SMALL)
    assert not seen.feed(CASES[reason], CASES[reason])
    assert seen.counts[reason] == 2


def test_an_empty_batch_gives_nothing():
    seen = Columnar()
    assert not seen.feed()
    assert not seen.counts


def test_a_payload_that_cannot_be_parsed_makes_its_node_be_asked():
    seen = Columnar()
    seen.feed(BIRTH, GARBAGE, NOT_UTF8)
    assert seen.counts == {"bad_payload": 2}
    assert seen.rebirths == [("Plant", "Edge", "bad_payload")]


def test_unreadable_json_does_not_make_its_node_be_asked():
    seen = Columnar()
    seen.feed(BIRTH, JSON)
    assert not seen.rebirths


def test_a_payload_that_could_not_be_read_is_missing_in_seq():
    seen = Columnar()
    seen.feed(BIRTH, GARBAGE, message("NDATA", change(0, 1.0), seq=2))
    assert seen.counts == {"bad_payload": 1, "sequence_gap": 1}


@pytest.mark.parametrize(("spare", "read"), [(0, True), (-1, False)])
def test_a_payload_may_be_exactly_as_large_as_the_limit(spare, read):
    birth = message("NBIRTH", *(tag(f"T{n}", n) for n in range(100)))
    seen = Columnar(FleetLimits(max_payload_bytes=len(birth.payload) + spare))
    assert len(seen.feed(birth)) == (100 if read else 0)
    assert seen.counts == ({} if read else {"too_large": 1})


def test_twenty_megabytes_are_too_large_by_default():
    seen = Columnar()
    assert not seen.feed(message("NBIRTH", tag("x" * 20_000_000)))
    assert seen.counts == {"too_large": 1}


def test_what_is_retained_is_no_news_even_if_it_is_a_birth():
    seen = Columnar()
    assert not seen.feed(BIRTH._replace(retained=True), message("NDATA", change(0, 1.0), seq=1))
    assert seen.counts == {"retained": 1, "data_before_birth": 1}


def test_a_birth_in_an_envelope_that_does_not_open_begins_no_session():
    seen = Columnar()
    seen.feed(TORN._replace(topic="spBv1.0/Plant/NBIRTH/Edge"), message("NDATA", seq=2))
    assert seen.counts == {"bad_envelope": 1, "data_before_birth": 1}


def test_damage_inside_the_properties_of_a_metric_costs_neither_value_nor_neighbours():
    properties = b"\x4a\x07Quality"  # field 9 of 7 bytes that are no property set
    named = b"\x0a\x04Sine" + properties + b"\x20\x0a\x69" + bytes(8)
    payload = BIRTH.payload + b"\x12" + bytes([len(named)]) + named
    seen = Columnar()
    rows = seen.feed(BIRTH._replace(payload=payload))
    assert [(r["metric_name"], r["numeric_value"], r["quality"]) for r in rows] == [
        ("Ramp", 0.0, "GOOD"),
        ("Sine", 0.0, "GOOD"),
    ]
    assert not seen.counts
