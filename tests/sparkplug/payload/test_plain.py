"""What payloads say by themselves, without any birth."""

from __future__ import annotations

import gzip

import pytest
from oracle.messages import MEASURED_MS, SENT_MS, metric, payload

from sparkplug import PlainPayloads
from sparkplug.datatypes import DataType
from sparkplug.messages import Reason
from sparkplug.pb.sparkplug_b_pb2 import Payload
from sparkplug.quality import BAD, GOOD, STALE

GARBAGE = b"\xff\xff no payload"


def read(*payloads, **options):
    return PlainPayloads(payloads, **options)


def only(*metrics):
    return list(read(payload(*metrics)).metrics(0))


def envelope(inner, seq):
    body = gzip.compress(inner)
    return Payload(seq=seq, uuid="SPBV1.0_COMPRESSED", body=body).SerializeToString()


def test_a_metric_has_the_name_or_the_alias_that_it_carries():
    named, aliased, nameless = only(
        metric("Ramp", double_value=1.0), metric(alias=7, long_value=2), metric(long_value=3)
    )
    assert (named.name, named.alias, named.value) == ("Ramp", None, 1.0)
    assert (aliased.name, aliased.alias, aliased.value) == (None, 7, 2)
    assert (nameless.name, nameless.alias, nameless.value) == (None, None, 3)
    assert named.timestamp_ms == MEASURED_MS


@pytest.mark.parametrize(
    ("datatype", "members", "value"),
    [
        (DataType.Int8, {"int_value": 255}, -1),
        (DataType.UInt8, {"int_value": 255}, 255),
        (None, {"int_value": 255}, 255),
        (DataType.Boolean, {"boolean_value": True}, True),
        (DataType.String, {"string_value": "Größe"}, "Größe"),
        (DataType.Double, {"is_null": True}, None),
        (DataType.Template, {"template_value": {}}, None),
        (None, {"bytes_value": b"x"}, None),
        (999, {"double_value": 0.5}, 0.5),
        (DataType.Int32Array, {"bytes_value": b"\1\0\0\0"}, "[1]"),
    ],
)
def test_a_value_is_read_by_the_datatype_that_it_carries_or_as_found(datatype, members, value):
    [found] = only(metric(alias=1, datatype=datatype, **members))
    assert found.value == value
    assert type(found.value) is type(value)
    known = datatype if isinstance(datatype, DataType) else DataType.Unknown
    assert found.datatype is known


def test_quality_and_history_are_read():
    good, stale, bad = only(
        metric(alias=1, double_value=1.0),
        metric(alias=2, double_value=1.0, quality=500),
        metric(alias=3, double_value=1.0, quality=0, is_historical=True),
    )
    assert [each.quality for each in (good, stale, bad)] == [GOOD, STALE, BAD]
    assert [each.historical for each in (good, stale, bad)] == [False, False, True]
    assert stale.quality_code == 500


def test_every_form_is_read_and_what_cannot_be_read_costs_its_neighbours_nothing():
    inner = payload(metric("Inner", long_value=5))
    found = read(
        payload(metric("First", long_value=1), seq=3),
        GARBAGE,
        envelope(inner, seq=9),
        b'{"timestamp": 5, "seq": 4, "metrics": [{"name": "Json", "value": 1.5}]}',
        envelope(GARBAGE, seq=2),
        b"",
        payload(metric("Last", long_value=2), seq=None, timestamp=None),
    )
    assert [(head.seq, head.metrics, head.problem) for head in found.heads] == [
        (3, 1, None),
        (None, 0, Reason.BAD_PAYLOAD),
        (9, 1, None),
        (4, 1, None),
        (None, 0, Reason.BAD_ENVELOPE),
        (None, 0, None),
        (None, 1, None),
    ]
    assert [head.timestamp_ms for head in found.heads[:4]] == [SENT_MS, None, SENT_MS, 5]
    names = [[each.name for each in found.metrics(at)] for at in range(len(found.heads))]
    assert names == [["First"], [], ["Inner"], ["Json"], [], [], ["Last"]]


def test_payloads_that_are_decoded_in_parts_keep_their_places():
    long = "x" * 200_000
    payloads = [payload(metric(f"M{n}", string_value=long), seq=n) for n in range(5)]
    found = read(*payloads)
    assert [head.seq for head in found.heads] == list(range(5))
    assert [next(found.metrics(n)).name for n in range(5)] == [f"M{n}" for n in range(5)]


@pytest.mark.parametrize("large", [b"\x12\x00" * 250_001, b"\0" * 5_001 + b"\x12\x00"])
def test_what_would_take_much_memory_is_not_read(large):
    found = read(large, payload(metric("M")), max_payload_bytes=len(large) - (large[0] == 0))
    assert [head.problem for head in found.heads] == [Reason.TOO_LARGE, None]
    assert not list(found.metrics(0))


def test_many_metrics_come_in_their_order():
    many = payload(*(metric(alias=n, long_value=n) for n in range(2_500)))
    assert [(each.alias, each.value) for each in read(many).metrics(0)] == [
        (n, n) for n in range(2_500)
    ]
