"""Bytes and File values as metadata, and files that come in parts."""

import hashlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.payload.complex.files import bytes_text
from sparkplug.payload.complex.parts import PartAssembler, PartProblem
from sparkplug.pb.sparkplug_b_pb2 import MetaData

CONTENT = b"\x00\x01\x02 a file of some bytes \xff" * 10
SECOND = 1_000_000


def md5(content):
    return hashlib.md5(content).hexdigest()


def metadata(**fields):
    return MetaData(**fields).SerializeToString()


def described(raw, **fields):
    return json.loads(bytes_text(metadata(**fields) if fields else None, raw))


# Whole values


def test_a_value_without_metadata_is_its_size_and_sum():
    assert bytes_text(None, b"") == '{"size":0,"md5":"d41d8cd98f00b204e9800998ecf8427e"}'
    assert described(CONTENT) == {"size": len(CONTENT), "md5": md5(CONTENT)}


def test_what_the_metadata_says():
    found = described(
        b"abc",
        file_name="Prüfung.csv",
        file_type="csv",
        content_type="text/csv",
        description="A report",
        size=3,
        md5=md5(b"abc"),
    )
    assert found == {
        "size": 3,
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "file_name": "Prüfung.csv",
        "file_type": "csv",
        "content_type": "text/csv",
        "description": "A report",
        "declared_size": 3,
        "declared_md5": "900150983cd24fb0d6963f7d28e17f72",
        "md5_matches": True,
    }


def test_a_declared_sum_that_is_not_the_content_s():
    found = described(b"abc", md5=md5(b"abd"))
    assert (found["md5"], found["declared_md5"]) == (md5(b"abc"), md5(b"abd"))
    assert found["md5_matches"] is False


def test_a_sum_in_capitals_is_the_same_sum():
    assert described(b"abc", md5=f" {md5(b'abc').upper()} ")["md5_matches"] is True


def test_a_part_by_itself_has_its_number():
    assert described(b"abc", is_multi_part=True, seq=4)["part"] == 4


def test_no_value_is_no_text():
    assert bytes_text(None, None) is None
    assert bytes_text(metadata(file_name="a"), None) is None


def test_malformed_metadata_says_nothing():
    assert json.loads(bytes_text(b"\xff\xff", b"abc")) == {"size": 3, "md5": md5(b"abc")}


def test_a_name_that_is_not_utf_8_is_left_out():
    raw = metadata(file_name="abcd", file_type="txt").replace(b"abcd", b"\xff\xfe\xfd\xfc")
    found = json.loads(bytes_text(raw, b""))
    assert "file_name" not in found
    assert found["file_type"] == "txt"


@given(st.binary(), st.binary())
def test_any_bytes_give_a_json_object(raw_metadata, raw):
    found = json.loads(bytes_text(raw_metadata, raw))
    assert found["size"] == len(raw)


# Files in parts


class Sender:
    """Sends parts to an assembler, a second apart."""

    def __init__(self, **limits):
        self.assembler = PartAssembler(**limits)
        self.now_us = 0

    def send(self, raw, owner="node", metric="file", after_us=SECOND, **fields):
        self.now_us += after_us
        return self.assembler.add(owner, metric, metadata(**fields), raw, self.now_us)

    def part(self, seq, raw, **fields):
        return self.send(raw, seq=seq, **({"is_multi_part": True} | fields))

    @property
    def problems(self):
        return dict(self.assembler.problems)


def split(content, count):
    size = -(-len(content) // count)
    return [content[start : start + size] for start in range(0, len(content), size)]


def assert_finished(found, content, parts):
    assert found is not None
    assert found.content == content
    assert found.parts == parts
    text = json.loads(found.text)
    assert (text["size"], text["md5"], text["parts"]) == (len(content), md5(content), parts)
    return text


def test_a_value_that_is_no_part_is_finished_at_once():
    sender = Sender()
    found = sender.send(CONTENT, file_name="a.bin", md5=md5(CONTENT))
    assert json.loads(found.text) == described(CONTENT, file_name="a.bin", md5=md5(CONTENT))
    assert (found.content, found.parts, found.md5_matches) == (CONTENT, 1, True)
    assert sender.send(b"x").md5_matches is None
    assert sender.assembler.held_bytes == 0


@pytest.mark.parametrize("first", [0, 1])
def test_the_declared_size_completes_a_file(first):
    sender = Sender()
    *before, last = enumerate(split(CONTENT, 4), first)
    for number, raw in before:
        assert sender.part(number, raw, size=len(CONTENT), file_name="a.bin") is None
    found = sender.part(*last, size=len(CONTENT), file_name="a.bin")
    text = assert_finished(found, CONTENT, 4)
    assert (text["file_name"], text["declared_size"]) == ("a.bin", len(CONTENT))
    assert found.md5_matches is None
    assert (len(sender.assembler), sender.assembler.held_bytes) == (0, 0)


def test_the_declared_sum_completes_a_file():
    sender = Sender()
    parts = split(CONTENT, 3)
    assert sender.part(0, parts[0], md5=md5(CONTENT)) is None
    assert sender.part(1, parts[1]) is None
    found = sender.part(2, parts[2])
    assert assert_finished(found, CONTENT, 3)["declared_md5"] == md5(CONTENT)
    assert found.md5_matches is True


def test_a_last_part_that_is_no_multi_part_completes_a_file():
    sender = Sender()
    parts = split(CONTENT, 3)
    assert sender.part(0, parts[0]) is None
    assert sender.part(1, parts[1]) is None
    assert_finished(sender.part(2, parts[2], is_multi_part=False), CONTENT, 3)


def test_parts_with_sizes_and_sums_of_their_own():
    sender = Sender()
    parts = split(CONTENT, 3)
    for number, raw in enumerate(parts):
        last = number == 2
        found = sender.part(number, raw, size=len(raw), md5=md5(raw), is_multi_part=not last)
    text = assert_finished(found, CONTENT, 3)
    assert found.md5_matches is True
    assert "declared_size" not in text
    assert "declared_md5" not in text


def test_a_damaged_part_shows_in_the_sum():
    sender = Sender()
    sender.part(0, b"abc", size=6, md5=md5(b"abcdef"))
    found = sender.part(1, b"dex", size=6, md5=md5(b"abcdef"))
    text = assert_finished(found, b"abcdex", 2)
    assert (found.md5_matches, text["md5_matches"]) == (False, False)
    assert text["declared_md5"] == md5(b"abcdef")


@pytest.mark.parametrize("fields", [{"size": len(CONTENT)}, {"md5": md5(CONTENT)}])
def test_parts_in_any_order(fields):
    for seed in range(30):
        order = list(enumerate(split(CONTENT, 6)))
        random.Random(seed).shuffle(order)
        sender = Sender()
        found = [sender.part(number, raw, **fields) for number, raw in order]
        assert found[:-1] == [None] * 5
        assert assert_finished(found[-1], CONTENT, 6)


def test_the_last_part_may_come_before_others():
    sender = Sender()
    assert sender.part(0, b"a") is None
    assert sender.part(2, b"c", is_multi_part=False) is None
    assert_finished(sender.part(1, b"b"), b"abc", 3)


def test_a_part_that_comes_twice_counts_once():
    sender = Sender()
    sender.part(0, b"abc", size=6)
    assert sender.part(0, b"abc", size=6) is None
    assert_finished(sender.part(1, b"def", size=6), b"abcdef", 2)
    assert sender.problems == {PartProblem.DUPLICATE: 1}


def test_the_last_part_that_comes_early_and_twice_counts_once():
    sender = Sender()
    sender.part(0, b"a")
    for _ in range(2):
        assert sender.part(2, b"c", is_multi_part=False) is None
    assert_finished(sender.part(1, b"b"), b"abc", 3)
    assert sender.problems == {PartProblem.DUPLICATE: 1}


def test_a_whole_file_that_equals_the_first_part_of_another_is_no_duplicate():
    sender = Sender()
    sender.part(0, b"abc", size=6)
    assert sender.send(b"abc").content == b"abc"
    assert sender.problems == {PartProblem.SUPERSEDED: 1}


def test_files_that_begin_alike_are_told_apart_by_name():
    sender = Sender()
    sender.part(0, b"head", file_name="a")
    sender.part(0, b"head", file_name="b")
    found = sender.part(1, b"tail", file_name="b", is_multi_part=False)
    assert_finished(found, b"headtail", 2)
    assert sender.problems == {PartProblem.SUPERSEDED: 1}


def test_a_file_whose_first_part_was_lost_is_not_finished_by_its_last():
    sender = Sender()
    assert sender.part(1, b"b") is None
    assert sender.part(2, b"c", is_multi_part=False) is None


def test_nodes_and_metrics_have_files_of_their_own():
    sender = Sender()
    places = [("A", "x"), ("A", "y"), (("A", "device"), "x")]
    for owner, metric in places:
        sender.part(0, metric.encode(), owner=owner, metric=metric, size=2)
    for owner, metric in places:
        found = sender.part(1, b"!", owner=owner, metric=metric, size=2)
        assert_finished(found, metric.encode() + b"!", 2)


@pytest.mark.parametrize(
    "begin",
    [
        {"seq": 0, "is_multi_part": True},  # the first part again, with other content
        {"seq": 2, "is_multi_part": True, "file_name": "b"},
        {"file_name": "b"},  # a whole file
        {"seq": 0},
    ],
)
def test_another_file_takes_the_place_of_one_that_is_not_complete(begin):
    sender = Sender()
    sender.part(0, b"abc", size=9, file_name="a")
    sender.part(1, b"def", size=9, file_name="a")
    found = sender.send(b"new", **begin)
    assert (found is None) == begin.get("is_multi_part", False)
    assert sender.problems == {PartProblem.SUPERSEDED: 1}
    assert len(sender.assembler) == int(begin.get("is_multi_part", False))


def test_a_file_that_waits_too_long_is_dropped():
    sender = Sender(max_age_us=60 * SECOND)
    sender.part(0, b"abc", size=6)
    assert sender.part(1, b"de", size=6, after_us=60 * SECOND) is None
    sender.assembler.expire(sender.now_us + 60 * SECOND)
    assert (len(sender.assembler), sender.problems) == (1, {})
    sender.assembler.expire(sender.now_us + 60 * SECOND + 1)
    assert (len(sender.assembler), sender.problems) == (0, {PartProblem.EXPIRED: 1})
    assert sender.assembler.held_bytes == 0


def test_files_expire_as_others_come_in():
    sender = Sender(max_age_us=60 * SECOND)
    sender.part(0, b"abc", metric="old", size=6)
    sender.part(0, b"abc", metric="new", size=6, after_us=61 * SECOND)
    assert (len(sender.assembler), sender.problems) == (1, {PartProblem.EXPIRED: 1})


def test_a_file_larger_than_all_may_be_is_dropped():
    sender = Sender(max_bytes=10_000)
    sender.part(0, bytes(6000), size=12_000)
    assert sender.part(1, bytes(6000), size=12_000) is None
    assert sender.problems == {PartProblem.TOO_LARGE: 1}
    assert (len(sender.assembler), sender.assembler.held_bytes) == (0, 0)


def test_the_file_longest_without_a_part_makes_room():
    sender = Sender(max_bytes=10_000)
    sender.part(0, bytes(3000), metric="a", size=5000)
    sender.part(0, bytes(3000), metric="b", size=5000)
    sender.part(1, bytes(10), metric="a", size=5000)
    sender.part(0, bytes(5000), metric="c", size=9000)
    assert sender.problems == {PartProblem.MADE_ROOM: 1}
    assert_finished(sender.part(2, bytes(1990), metric="a", size=5000), bytes(5000), 3)


def test_empty_parts_and_long_metadata_are_not_free():
    sender = Sender(max_bytes=10_000)
    for number in range(1000):
        sender.part(number + 1, b"", metric=str(number), file_name="x" * 500)
        assert sender.assembler.held_bytes <= 10_000
    assert len(sender.assembler) < 20


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.binary(max_size=4),
            st.booleans(),
            st.sampled_from([{}, {"size": 4}, {"md5": md5(b"abcd")}, {"file_name": "a"}]),
        )
    )
)
def test_any_order_of_parts_keeps_the_books(parts):
    sender = Sender(max_bytes=1500)
    for seq, raw, is_multi_part, fields in parts:
        found = sender.part(seq, raw, is_multi_part=is_multi_part, **fields)
        if found is not None:
            json.loads(found.text)
        assert 0 <= sender.assembler.held_bytes <= 1500
        assert bool(sender.assembler.held_bytes) == bool(len(sender.assembler))


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_any_metadata_is_survived(values):
    assembler = PartAssembler()
    for raw_metadata, raw in values:
        found = assembler.add("node", "file", raw_metadata, raw, 0)
        assert found is None or json.loads(found.text)["size"] == len(found.content)
