"""Compressed and JSON payloads give the rows of the plain payloads they stand for."""

import gzip
import json
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import MEASURED_MS, SENT_MS, metric
from support.columnar import Columnar, change, message, tag, values

from sparkplug.datatypes import DataType
from sparkplug.host.screening import FleetLimits
from sparkplug.messages import Message
from sparkplug.payload.columns import decode
from sparkplug.payload.json_payload import from_json
from sparkplug.pb.sparkplug_b_pb2 import Payload


def raw_deflate(content):
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


def in_envelope(plain, compress=zlib.compress, algorithm=None, **outer):
    """A message as an envelope; the seq is outside only, as Tahu has it."""
    inner = Payload.FromString(plain.payload)
    envelope = Payload(uuid="SPBV1.0_COMPRESSED", **outer)
    if inner.HasField("seq"):
        envelope.seq = inner.seq
        inner.ClearField("seq")
    if algorithm is not None:
        envelope.metrics.add(name="algorithm", datatype=12, string_value=algorithm)
    envelope.body = compress(inner.SerializeToString())
    return plain._replace(payload=envelope.SerializeToString())


def as_json(plain):
    """A message of scalars in JSON, every metric with its datatype."""
    payload = Payload.FromString(plain.payload)
    source = {"timestamp": payload.timestamp, "metrics": []}
    for each in payload.metrics:
        fields = {"timestamp": each.timestamp}
        if each.HasField("name"):
            fields["name"] = each.name
        if each.HasField("alias"):
            fields["alias"] = each.alias
        member = each.WhichOneof("value")
        if member is not None:
            signed = each.datatype in {DataType.Int8, DataType.Int16, DataType.Int32}
            value = getattr(each, member)
            fields["value"] = value - 2**32 if signed and value >= 2**31 else value
        fields["dataType"] = DataType(each.datatype or DataType.Double).name
        if each.HasField("properties"):
            quality = each.properties.values[0].int_value
            fields["properties"] = {"Quality": {"type": "Int32", "value": quality}}
        source["metrics"].append(fields)
    source["seq"] = payload.seq if payload.HasField("seq") else -1
    return plain._replace(payload=json.dumps(source).encode())


FORMS = {
    "zlib": in_envelope,
    "gzip with algorithm": lambda plain: in_envelope(plain, gzip.compress, "GZIP"),
    "gzip without algorithm": lambda plain: in_envelope(plain, gzip.compress),
    "raw deflate": lambda plain: in_envelope(plain, raw_deflate, "DEFLATE"),
    "JSON": as_json,
}

SESSION = (
    message(
        "NBIRTH",
        metric("bdSeq", DataType.Int64, long_value=7),
        tag("Ramp", 0),
        metric("Count", DataType.Int8, alias=1, int_value=2**32 - 3, quality=0x80000202),
        metric("Name", DataType.String, alias=2, string_value="Grüße"),
        metric("Run", DataType.Boolean, alias=3, boolean_value=True),
        metric("None", DataType.Int32, alias=4, is_null=True),
        seq=250,
    ),
    message("DBIRTH", tag("Level", 5), seq=251),
    message("NDATA", change(0, 1.5), change(0, 2.5), seq=252),
    message("DDATA", change(5, -1.0), seq=253),
    message("DDEATH", seq=254),
    message("NDATA", metric("Count", DataType.Int8, int_value=2**32 - 4), seq=255),
    message("NDATA", change(0, 3.5), seq=0),
)
DEATH = message("NDEATH", metric("bdSeq", DataType.Int64, long_value=7), seq=None)


def read(*messages, limits=None):
    seen = Columnar(limits)
    seen.feed(*messages)
    return seen


@pytest.mark.parametrize("form", FORMS)
def test_a_session_gives_the_same_rows_and_event_ids_in_every_form(form):
    plain, seen = read(*SESSION), read(*map(FORMS[form], SESSION))
    assert len(plain.rows) == 12
    assert [row["quality"] for row in plain.rows].count("STALE") == 1  # of the device that died
    assert seen.rows == plain.rows
    assert not seen.counts
    assert not seen.quarantined


def test_forms_may_differ_from_message_to_message_of_a_batch():
    forms = [lambda plain: plain, *FORMS.values(), lambda plain: plain]
    mixed = [form(plain) for form, plain in zip(forms, SESSION, strict=True)]
    seen = read(*mixed)
    assert seen.rows == read(*SESSION).rows
    assert not seen.counts


@pytest.mark.parametrize("form", FORMS)
def test_deaths_are_deaths_in_every_form(form):
    seen = read(*SESSION[:1], FORMS[form](DEATH), message("NDATA", change(0, 1.0), seq=251))
    assert seen.counts == {"data_before_birth": 1}
    other = message("NDEATH", metric("bdSeq", DataType.Int64, long_value=6), seq=None)
    seen = read(*SESSION[:1], FORMS[form](other), message("NDATA", change(0, 1.0), seq=251))
    assert seen.counts == {"death_of_other_session": 1}


@pytest.mark.parametrize("form", FORMS)
def test_a_gap_in_seq_is_one_in_every_form(form):
    seen = read(*map(FORMS[form], (SESSION[0], SESSION[2])))
    assert seen.counts == {"sequence_gap": 1}


def test_seq_and_time_of_the_envelope_win():
    plain = message("NDATA", metric(alias=0, double_value=1.0, timestamp=None), seq=9)
    inner = plain.payload
    envelope = Payload(
        uuid="SPBV1.0_COMPRESSED", seq=251, timestamp=SENT_MS + 5, body=gzip.compress(inner)
    )
    seen = read(SESSION[0], plain._replace(payload=envelope.SerializeToString()))
    row = seen.rows[-1]
    assert not seen.counts
    assert (row["seq"], row["event_time"]) == (251, (SENT_MS + 5) * 1000)
    assert row["payload_timestamp"] == (SENT_MS + 5) * 1000


def test_an_envelope_may_itself_be_written_in_json():
    inner = Payload.FromString(SESSION[0].payload).SerializeToString()
    source = {"uuid": "SPBV1.0_COMPRESSED", "seq": 250}
    source["body"] = b64encode(zlib.compress(inner)).decode()
    seen = read(SESSION[0]._replace(payload=json.dumps(source).encode()))
    assert seen.rows == read(SESSION[0]).rows


def test_json_may_begin_with_white_space():
    birth = as_json(SESSION[0])
    seen = read(birth._replace(payload=b"\r\n\t " + birth.payload))
    assert seen.rows == read(SESSION[0]).rows


def test_a_birth_of_mqtt_transmission_in_json_gives_its_rows():
    text = b"""{"timestamp": 1638223073190, "metrics": [
        {"name": "bdSeq", "timestamp": 1638223073187, "dataType": "Int64", "value": 5},
        {"name": "Tag 4", "timestamp": 1638223073156, "dataType": "Int32", "metaData": {},
         "properties": {"Quality": {"type": "Int32", "value": -2147483132}}, "value": 100},
        {"name": "Tag 5", "timestamp": 1638223073001, "dataType": "Float", "value": "NaN"}],
        "seq": 0}"""
    rows = read(Message("spBv1.0/G1/NBIRTH/E1", text, 0)).rows
    assert [
        (r["metric_name"], r["integer_value"], r["string_value"], r["quality"]) for r in rows
    ] == [("Tag 4", 100, None, "STALE"), ("Tag 5", None, "NaN", "GOOD")]


@pytest.mark.parametrize(
    ("data_type", "value", "shown"),
    [
        ("Int8", 200, "200"),
        ("Int8", -129, "-129"),
        ("UInt64", 2**64, str(2**64)),
        ("Int32", 5.5, "5.5"),
        ("Int32", True, "true"),
        ("Double", "warm", "warm"),
        ("Double", [1], "[1]"),
        ("Boolean", 2, "2"),
        ("String", 5, "5"),
    ],
)
def test_a_json_value_that_does_not_fit_costs_neither_its_text_nor_its_neighbours(
    data_type, value, shown
):
    metrics = [
        {"name": "Odd", "timestamp": MEASURED_MS, "dataType": data_type, "value": value},
        {"name": "Even", "timestamp": MEASURED_MS, "dataType": "Int8", "value": 5},
    ]
    payload = json.dumps({"seq": 0, "metrics": metrics}).encode()
    seen = read(SESSION[0]._replace(payload=payload))
    odd, even = seen.rows
    assert (odd["string_value"], odd["quality"], odd["numeric_value"]) == (shown, "BAD", None)
    assert (even["integer_value"], even["quality"]) == (5, "GOOD")
    assert seen.counts == {"value_does_not_fit": 1}


@pytest.mark.parametrize(
    ("data_type", "value", "number"),
    [("Double", -5, -5.0), ("Int32", 5, 5.0), ("Float", 2.5, 2.5), ("Int32", -5, None)],
)
def test_a_json_value_without_datatype_is_right_or_flagged(data_type, value, number):
    birth = {"name": "T", "dataType": data_type, "value": 0}
    data = {"name": "T", "value": value}
    seen = read(
        *(
            SESSION[0]._replace(
                topic=f"spBv1.0/Plant/{verb}/Edge",
                payload=json.dumps({"seq": seq, "metrics": [fields]}).encode(),
            )
            for verb, seq, fields in (("NBIRTH", 0, birth), ("NDATA", 1, data))
        )
    )
    row = seen.rows[-1]
    assert row["numeric_value"] == number
    assert row["quality"] == ("BAD" if number is None else "GOOD")


NOT_UTF8 = b"\x12\x04\x0a\x02\xc3\x28"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x1f\x8b", "bad_envelope"),
        (gzip.compress(b"\xff"), "bad_envelope"),
        (gzip.compress(NOT_UTF8), "bad_envelope"),
        (gzip.compress(b'{"metrics":[]}'), "bad_envelope"),
        (gzip.compress(in_envelope(SESSION[2]).payload), "bad_envelope"),
        (gzip.compress(bytes(2000)), "envelope_too_large"),
    ],
    ids=["no stream", "malformed", "not UTF-8", "JSON", "envelope", "too large"],
)
def test_an_envelope_that_does_not_open_is_counted_kept_and_takes_part_in_seq(body, reason):
    payload = Payload(uuid="SPBV1.0_COMPRESSED", seq=252, body=body)
    torn = SESSION[2]._replace(payload=payload.SerializeToString())
    seen = read(
        *map(in_envelope, SESSION[:2]),
        torn,
        in_envelope(SESSION[3]),
        limits=FleetLimits(max_inflated_bytes=1000),
    )
    expected = read(*SESSION[:2], SESSION[3])
    drop = {"arrival_number"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in seen.rows] == [
        {k: v for k, v in row.items() if k not in drop} for row in expected.rows
    ]
    assert seen.counts == {reason: 1}
    assert seen.quarantined == [(torn, reason)]
    assert not seen.rebirths


@pytest.mark.parametrize("form", FORMS)
def test_quarantine_keeps_a_message_as_it_came(form):
    birth = FORMS[form](SESSION[0])
    seen = read(birth, limits=FleetLimits(max_tags=1))
    assert seen.quarantined == [(birth, "too_many_tags")]


def test_unreadable_json_and_garbage_beside_readable_forms_are_told_apart():
    other = SESSION[0]._replace(topic="spBv1.0/Plant/NBIRTH/Other")
    broken = other._replace(payload=b'{"metrics":[{"name":5}]}')
    garbage = other._replace(payload=b"\xff")
    forms = [as_json(SESSION[0]), broken, garbage, in_envelope(SESSION[1]), as_json(SESSION[2])]
    seen = read(*forms)
    assert values(seen.rows)[-2:] == [("Ramp", 1.5), ("Ramp", 2.5)]
    assert seen.counts == {"json_payload": 1, "bad_payload": 1}
    assert seen.quarantined == [(broken, "json_payload"), (garbage, "bad_payload")]
    assert seen.rebirths == [("Plant", "Other", "bad_payload")]


def test_commands_and_retained_messages_are_not_even_opened():
    command = Message("spBv1.0/Plant/NCMD/Edge", as_json(SESSION[0]).payload, 0)
    past = in_envelope(SESSION[0])._replace(retained=True)
    seen = read(command, past)
    assert seen.counts == {"command": 1, "retained": 1}
    assert not seen.rows


def test_what_envelopes_of_one_batch_take_together_is_bounded():
    # Each holds a thousand metrics with nothing in them, some 250 kB in memory.
    inner = b"\x12\x00" * 1000
    bombs = [
        message("NDATA", seq=seq)._replace(
            payload=Payload(
                uuid="SPBV1.0_COMPRESSED", seq=seq, body=zlib.compress(inner)
            ).SerializeToString()
        )
        for seq in range(251, 255)
    ]
    seen = Columnar(FleetLimits(max_opened_memory=600_000))
    seen.feed(SESSION[0])
    seen.feed(*bombs, message("NDATA", change(0, 9.0), seq=255))
    assert seen.counts == {"unknown_alias": 2000, "envelope_too_large": 2}
    assert values(seen.rows)[-1:] == [("Ramp", 9.0)]
    assert [kept for kept, _ in seen.quarantined] == bombs[2:]
    seen.feed(bombs[0]._replace(payload=in_envelope(SESSION[6]).payload))
    assert values(seen.rows)[-1:] == [("Ramp", 3.5)]  # the next batch has its own


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "type", "metrics"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {
            "metrics": st.lists(
                st.fixed_dictionaries(
                    {"dataType": st.sampled_from([*DataType]), "value": JSON},
                    optional={"name": st.text(max_size=4), "alias": st.integers(0, 2**64 - 1)},
                ),
                max_size=4,
            )
        }
    )
)
def test_what_json_is_turned_into_always_parses(source):
    found = from_json(json.dumps(source).encode())
    if isinstance(found, bytes):
        columns, bad = decode([found])
        assert (bad, columns.metric_count) == ([], len(source["metrics"]))
