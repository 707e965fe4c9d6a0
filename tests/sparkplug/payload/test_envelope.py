"""Compressed envelopes and the payloads in them."""

import gzip
import struct
import zlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import metric, payload

from sparkplug.payload.envelope import EnvelopeProblem, open_envelope
from sparkplug.pb.sparkplug_b_pb2 import Payload

INNER = Payload.FromString(
    payload(metric("Level", 10, double_value=1.5, alias=0), seq=7, timestamp=1000)
)
BODY = INNER.SerializeToString()


def compressed(content, **options):
    stream = zlib.compressobj(**options)
    return stream.compress(content) + stream.flush()


FORMS = {
    "gzip": partial(gzip.compress, mtime=0),  # else the time would be among the cases
    "zlib": zlib.compress,
    "zlib of the fastest level": partial(zlib.compress, level=1),
    "zlib of a small window": partial(compressed, wbits=9),
    "raw deflate": partial(compressed, wbits=-15),
    "stored raw deflate": partial(compressed, wbits=-15, level=0),
}


def envelope(body, *, algorithm=None, seq=3, timestamp=None):
    outer = Payload(seq=seq, timestamp=timestamp, uuid="SPBV1.0_COMPRESSED", body=body)
    if algorithm is not None:
        outer.metrics.add(name="algorithm", datatype=12, string_value=algorithm)
    return outer.SerializeToString()


def opened(content):
    inner = open_envelope(content)
    assert isinstance(inner, bytes), inner
    return Payload.FromString(inner)


@pytest.mark.parametrize("algorithm", [None, "GZIP", "DEFLATE", "LZMA"])
@pytest.mark.parametrize("form", FORMS)
def test_what_the_body_is_decides_whatever_the_algorithm_metric_says(form, algorithm):
    read = opened(envelope(FORMS[form](BODY), algorithm=algorithm))
    assert list(read.metrics) == list(INNER.metrics)


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        ({"seq": 3, "timestamp": 2000}, (3, 2000)),
        ({"seq": 3}, (3, 1000)),
        ({"seq": 0, "timestamp": 0}, (0, 0)),
        ({"seq": None, "timestamp": 2000}, (7, 2000)),
        ({"seq": None}, (7, 1000)),
    ],
)
def test_seq_and_timestamp_are_the_envelopes_where_it_has_them(outer, expected):
    read = opened(envelope(zlib.compress(BODY), **outer))
    assert (read.seq, read.timestamp) == expected


def test_an_inner_payload_may_have_neither_seq_nor_timestamp():
    read = opened(envelope(zlib.compress(payload(seq=None, timestamp=None)), seq=255))
    assert read == Payload(seq=255)


def test_an_empty_inner_payload_is_one():
    assert opened(envelope(zlib.compress(b""))) == Payload(seq=3)


def test_metrics_of_the_envelope_are_none_of_the_payload():
    read = opened(envelope(gzip.compress(BODY), algorithm="GZIP"))
    assert [each.name for each in read.metrics] == ["Level"]


def test_uuid_and_body_of_the_inner_payload_and_fields_unknown_to_us_survive():
    inner = Payload(uuid="123456789", body=b"Hello").SerializeToString() + b"\xa2\x06\x02ab"
    read = open_envelope(envelope(zlib.compress(inner)))
    assert read == inner + b"\x18\x03"


@pytest.mark.parametrize("form", FORMS)
def test_bytes_behind_the_stream_are_ignored(form):
    assert opened(envelope(FORMS[form](BODY) + b"\x00garbage")).metrics == INNER.metrics


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_cut_short_anywhere_is_bad(form):
    body = FORMS[form](BODY)
    for length in range(len(body)):
        assert open_envelope(envelope(body[:length])) is EnvelopeProblem.BAD_ENVELOPE


def test_a_raw_stream_that_resembles_zlib_is_told_by_the_checksum_of_the_header():
    # A stored block whose padding is not zero, and an empty last block.
    size = len(BODY)
    body = b"\x78" + struct.pack("<HH", size, size ^ 0xFFFF) + BODY + b"\x03\x00"
    assert int.from_bytes(body[:2], "big") % 31
    assert opened(envelope(body)).metrics == INNER.metrics


@pytest.mark.parametrize("form", ["gzip", "zlib"])
def test_a_wrong_checksum_is_bad(form):
    body = bytearray(FORMS[form](BODY))
    body[-1 if form == "zlib" else -5] ^= 1
    assert open_envelope(envelope(bytes(body))) is EnvelopeProblem.BAD_ENVELOPE


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"\x00",
        b"plain text",
        b"\x1f\x8b",
        b"\x78\xbb\x00\x00\x00\x00" + zlib.compress(b""),
    ],
    ids=["none", "empty", "one byte", "text", "magic alone", "zlib that asks for a dictionary"],
)
def test_a_body_that_is_no_stream_is_bad(body):
    assert open_envelope(envelope(body)) is EnvelopeProblem.BAD_ENVELOPE


@pytest.mark.parametrize("content", [b"\xff", BODY[:-1], b"\x0b"], ids=["tag", "cut", "group"])
def test_an_inner_payload_that_is_malformed_is_bad(content):
    whole = envelope(zlib.compress(content), seq=200, timestamp=2**60)
    assert open_envelope(whole) is EnvelopeProblem.BAD_ENVELOPE


def test_a_metric_that_is_cut_short_does_not_swallow_the_seq_of_the_envelope():
    cut = b"\x12\x02"  # a metric of two bytes, of which both are missing
    assert Payload.FromString(cut + Payload(seq=3).SerializeToString()).metrics[0].timestamp == 3
    assert open_envelope(envelope(zlib.compress(cut))) is EnvelopeProblem.BAD_ENVELOPE


def test_an_envelope_in_an_envelope_is_bad():
    inside = envelope(zlib.compress(BODY))
    assert open_envelope(envelope(zlib.compress(inside))) is EnvelopeProblem.BAD_ENVELOPE


@pytest.mark.parametrize("content", [BODY, b"", b"\xff"], ids=["payload", "empty", "garbage"])
def test_what_is_no_envelope_is_not_opened(content):
    assert open_envelope(content) is EnvelopeProblem.BAD_ENVELOPE


@pytest.mark.parametrize("form", FORMS)
def test_an_inner_payload_may_be_exactly_as_large_as_the_limit(form):
    whole = envelope(FORMS[form](BODY), seq=None)
    assert open_envelope(whole, len(BODY)) == BODY
    assert open_envelope(whole, len(BODY) - 1) is EnvelopeProblem.TOO_LARGE
    assert open_envelope(whole, 0) is EnvelopeProblem.TOO_LARGE


def test_a_bomb_is_not_inflated_beyond_the_limit():
    # 128 MiB of metrics without anything in them.
    stream = zlib.compressobj(9)
    chunk = b"\x12\x00" * (1 << 20)
    body = b"".join(stream.compress(chunk) for _ in range(64)) + stream.flush()
    assert len(body) < 200_000
    assert open_envelope(envelope(body)) is EnvelopeProblem.TOO_LARGE


@given(st.binary(max_size=300), st.sampled_from(sorted(FORMS)), st.data())
def test_any_bytes_give_a_payload_or_a_problem(content, form, data):
    body = data.draw(st.sampled_from([content, FORMS[form](content)]))
    read = open_envelope(envelope(body), 250)
    if isinstance(read, bytes):
        assert Payload.FromString(read).seq == 3
