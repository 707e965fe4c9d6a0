"""A batch of payloads as columns, and what becomes of malformed ones."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import metric, payload

from sparkplug.payload.columns import (
    ABSENT,
    BEYOND_SEQ,
    MAX_TIMESTAMP_MS,
    booleans,
    decode,
    numbers,
    timestamps,
    validity,
)
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload


def good(number):
    return payload(metric(f"T{number}", 10, double_value=float(number)), seq=number % 256)


NAME_NOT_UTF8 = b"\x12\x04\x0a\x02\xc3\x28"  # upb takes this, ptars does not
MALFORMED = {
    "no protobuf": b"\xff\xff\xff",
    "a metric cut short": good(1)[:-3],
    "a length beyond the end": b"\x12\x7f\x00",
    "a name that is not UTF-8": NAME_NOT_UTF8,
    "a uuid that is not UTF-8": b"\x22\x02\xc3\x28",
    "a length that wraps around": b"\x12" + b"\xff" * 9 + b"\x01",
    "a length that wraps around further": b"\x22\xf0" + b"\xff" * 8 + b"\x01abc",
    "a length of too many bits": b"\x22" + b"\xff" * 9 + b"\x7f",
    "a name whose length wraps around": b"\x12\x0c\x0a" + b"\xff" * 9 + b"\x01a",
    "groups in groups": b"\x7b" * 20_000 + b"\x7c" * 20_000,
    "JSON": b'{"timestamp": 1}',
    "text": b"hello",
}


def names(columns):
    return columns.metric("name").to_pylist()


# Well-formed batches


def test_metrics_of_all_messages_follow_one_another():
    columns, bad = decode([good(1), payload(), payload(metric("a"), metric("b"), seq=9)])
    assert not bad
    assert names(columns) == ["T1", "a", "b"]
    assert columns.offsets.tolist() == [0, 1, 1, 3]
    assert columns.metric_count == 3
    assert columns.seq.tolist() == [1, 0, 9]


def test_an_empty_batch_has_no_messages_and_no_metrics():
    columns, bad = decode([])
    assert not bad
    assert columns.offsets.tolist() == [0]
    assert (len(columns.seq), columns.metric_count) == (0, 0)


def test_an_empty_payload_is_a_message_without_anything():
    columns, bad = decode([b""])
    assert not bad
    assert columns.seq.tolist() == [ABSENT]
    assert columns.timestamp_ms.tolist() == [ABSENT]
    assert not columns.timestamp_unusable.any()
    assert columns.metric_count == 0


@pytest.mark.parametrize(
    ("seq", "expected"),
    [
        (None, ABSENT),
        (0, 0),
        (255, 255),
        (BEYOND_SEQ - 1, BEYOND_SEQ - 1),
        (BEYOND_SEQ, BEYOND_SEQ),
        (BEYOND_SEQ + 300, BEYOND_SEQ + 44),
        (2**64 - 1, BEYOND_SEQ + 255),
    ],
)
def test_a_seq_beyond_the_column_keeps_its_remainder(seq, expected):
    columns, _ = decode([payload(seq=seq)])
    assert columns.seq.tolist() == [expected]


@pytest.mark.parametrize(
    ("sent", "read", "unusable"),
    [
        (None, ABSENT, False),
        (0, 0, False),
        (MAX_TIMESTAMP_MS, MAX_TIMESTAMP_MS, False),
        (MAX_TIMESTAMP_MS + 1, ABSENT, True),
        (2**63, ABSENT, True),
        (2**64 - 1, ABSENT, True),
    ],
)
def test_a_timestamp_after_the_year_9999_is_absent_and_reported(sent, read, unusable):
    columns, _ = decode([payload(metric("T", timestamp=sent), timestamp=sent)])
    assert columns.timestamp_ms.tolist() == [read]
    assert columns.timestamp_unusable.tolist() == [unusable]
    per_metric = timestamps(columns.metric("timestamp"))
    assert [column.tolist() for column in per_metric] == [[read], [unusable]]


def test_compressed_envelopes_are_marked():
    envelope = Payload(seq=1, uuid="SPBV1.0_COMPRESSED", body=b"\x1f\x8b").SerializeToString()
    other = Payload(seq=2, uuid="something else").SerializeToString()
    columns, _ = decode([good(1), envelope, other])
    assert columns.compressed.tolist() == [False, True, False]


# Malformed payloads


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_malformed_payload_is_named_and_its_neighbours_are_decoded(case, position):
    batch = [good(n) for n in range(4)]
    batch.insert(position, MALFORMED[case])
    columns, bad = decode(batch)
    assert bad == [position]
    assert names(columns) == ["T0", "T1", "T2", "T3"]
    assert columns.seq.tolist() == [0, 1, 2, 3]
    assert columns.offsets.tolist() == [0, 1, 2, 3, 4]


def test_many_malformed_payloads_of_every_kind_are_all_named():
    kinds = list(MALFORMED.values())
    batch = [kinds[n % len(kinds)] if n % 5 == 3 else good(n) for n in range(1000)]
    columns, bad = decode(batch)
    assert bad == [n for n in range(1000) if n % 5 == 3]
    assert names(columns) == [f"T{n}" for n in range(1000) if n % 5 != 3]


def test_a_batch_of_nothing_else_leaves_no_message():
    columns, bad = decode(list(MALFORMED.values()))
    assert bad == list(range(len(MALFORMED)))
    assert columns.metric_count == 0


@pytest.mark.parametrize("wrapped", [b"", b"\x12\x80\xad\xe2\x04"], ids=["outside", "in a metric"])
def test_groups_nested_ten_million_times_do_not_end_the_process(wrapped):
    """In a process of its own: the stack of the decoder would overflow in this one."""
    program = """if True:
        import sys
        from sparkplug.payload.columns import decode
        columns, bad = decode([b"", bytes.fromhex(sys.argv[1]) + b"\\x7b" * 10_000_000])
        print(bad, len(columns.seq))
    """
    ended = subprocess.run(
        [sys.executable, "-c", program, wrapped.hex()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[1] 1\n", "")


def test_negative_numbers_are_no_lengths_that_wrap_around():
    data = payload(metric("N", 4, long_value=2**64 - 1), metric("M", 13, long_value=2**64 - 5))
    columns, bad = decode([data, good(1)])
    assert not bad
    assert names(columns) == ["N", "M", "T1"]


def test_a_long_payload_is_decoded():
    columns, bad = decode([good(1), payload(metric("x" * 100_000)), good(2)])
    assert not bad
    assert [len(name) for name in names(columns)] == [2, 100_000, 2]


@pytest.mark.parametrize("field", [8, 9, 17, 18, 19])
def test_damage_inside_a_complex_field_does_not_make_the_payload_malformed(field):
    tag = bytes([(field << 3 | 2) & 0x7F | (0x80 if field > 15 else 0)])
    tag += b"\x01" if field > 15 else b""
    inner = b"\x0a\x01T" + tag + b"\x03\xff\xff\xff"
    columns, bad = decode([b"\x12" + bytes([len(inner)]) + inner, good(1)])
    assert not bad
    assert names(columns) == ["T", "T1"]


def test_fields_of_later_versions_are_skipped():
    unknown = b"\xfa\x07\x03abc" + b"\xf8\x07\x05"  # field 127 as bytes and as a number
    inner = b"\x0a\x01T" + unknown
    columns, bad = decode([unknown + b"\x12" + bytes([len(inner)]) + inner])
    assert not bad
    assert names(columns) == ["T"]


@given(st.lists(st.one_of(st.binary(max_size=24), st.integers(0, 99).map(good)), max_size=8))
def test_whether_a_payload_is_malformed_does_not_depend_on_its_neighbours(batch):
    _, bad = decode(batch)
    assert bad == [n for n, each in enumerate(batch) if decode([each])[1]]


# Parts of payloads

BEYOND = b"\x80\xd0\x95\xff\xbc\x31\x12"  # a number in a field that no protobuf message can have


@pytest.mark.parametrize("unknown", [b"", BEYOND])
def test_a_part_of_a_payload_has_what_is_known_of_its_metrics(unknown):
    wanted = Metric(name="Wanted", alias=7, int_value=5, is_historical=True)
    other, number = Metric(name="Other", string_value="x"), Metric(name="N", double_value=0.5)
    inner = [each.SerializeToString() + unknown for each in (wanted, other, number)]
    whole = b"\x08\x09\x18\x04" + b"".join(b"\x12" + bytes([len(m)]) + m for m in inner)
    columns, bad = decode([good(1), whole])
    assert not bad
    found = Payload.FromString(columns.part(1, [0, 2]))
    assert (found.seq, found.timestamp) == (4, 9)
    assert list(found.metrics) == [wanted, number]


# Reading Arrow arrays without copying

SLICES = st.tuples(st.integers(0, 20), st.integers(0, 20))


@given(st.lists(st.one_of(st.none(), st.booleans()), max_size=40), SLICES)
def test_booleans_of_any_slice_have_null_as_false(items, cut):
    array = pa.array(items, pa.bool_()).slice(cut[0], cut[1])
    expected = items[cut[0] : cut[0] + cut[1]]
    assert booleans(array).tolist() == [bool(item) for item in expected]
    assert validity(array).tolist() == [item is not None for item in expected]


@given(st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), max_size=40), SLICES)
def test_numbers_of_any_slice_are_right_where_they_are_valid(items, cut):
    array = pa.array(items, pa.uint64()).slice(cut[0], cut[1])
    expected = items[cut[0] : cut[0] + cut[1]]
    found = numbers(array, np.uint64)
    assert len(found) == len(expected)
    for number, item in zip(found.tolist(), expected, strict=True):
        assert item is None or number == item
