"""The last value of each tag, however rows come: many at once, few, history, texts, other ids."""

import numpy as np
import pyarrow as pa
import pytest
from support.clock import Clock

from consumer.pipeline.last_values import LONGEST_TEXT, MOST_VALUES, MOST_WATCHED, LastValues
from sparkplug import Observations, TagCatalogue, ValueKind, Values

NOW = 1_700_000_000_000_000


def rows(*found, history=False):
    """Observations of (tag, value); the n-th came n microseconds after NOW."""
    tags, values = zip(*found, strict=True)
    count = len(tags)
    kinds = [
        ValueKind.NULL
        if value is None
        else ValueKind.BOOLEAN
        if isinstance(value, bool)
        else ValueKind.TEXT
        if isinstance(value, str)
        else ValueKind.INTEGER
        if isinstance(value, int)
        else ValueKind.NUMERIC
        for value in values
    ]
    kind = np.array(kinds, dtype=np.uint8)
    numbers = [float(each) if isinstance(each, (int, float)) else 0.0 for each in values]
    whole = [int(each) if isinstance(each, (bool, int)) else 0 for each in values]
    nothing = np.zeros(count, dtype=np.bool_)
    times = NOW + np.arange(count)
    return Observations(
        tag=np.array(tags, dtype=np.int32),
        event_time_us=times,
        values=Values(
            kind,
            np.array(numbers),
            kind == ValueKind.NUMERIC,
            np.array(whole, dtype=np.int64),
            pa.array([each if isinstance(each, str) else None for each in values], pa.string()),
            nothing,
            nothing,
        ),
        quality_code=np.full(count, 192, dtype=np.int32),
        quality=np.zeros(count, dtype=np.uint8),
        historical=np.full(count, history),
        returned=nothing,
        message_type=np.full(count, 2, dtype=np.uint8),
        seq=np.zeros(count, dtype=np.int64),
        payload_time_us=times,
        received_us=times + 7,
    )


@pytest.fixture
def last():
    return LastValues(TagCatalogue(), Clock(), ring_rows=64)


def values_of(last, *tags):
    return [value and value.value for value, _ in last.read(np.array(tags, dtype=np.int32))]


def counts_of(last, *tags):
    return [count for _, count in last.read(np.array(tags, dtype=np.int32))]


def test_the_last_row_of_a_tag_counts_in_each_kind(last):
    last.note(rows((0, 1.5), (1, 2**62), (2, True), (3, "on"), (4, None), (0, -2.5), (2, False)))
    assert values_of(last, 0, 1, 2, 3, 4, 5) == [-2.5, 2**62, False, "on", None, None]
    assert counts_of(last, 0, 1, 2, 3, 4, 5) == [2, 1, 2, 1, 1, 0]
    assert last.read(np.array([5], dtype=np.int32)) == [(None, 0)]
    [(value, _)] = last.read(np.array([3], dtype=np.int32))
    assert (value.event_us, value.received_us, value.quality) == (NOW + 3, NOW + 10, "GOOD")
    assert (value.quality_code, value.historical) == (192, False)


def test_codes_of_all_bits_come_back(last):
    batch = rows((0, 1.0))
    batch.quality_code[:] = -1_073_741_052
    batch.quality[:] = 2
    last.note(batch)
    [(value, _)] = last.read(np.array([0], dtype=np.int32))
    assert (value.quality, value.quality_code) == ("BAD", -1_073_741_052)


def test_history_is_counted_and_is_no_last_value(last):
    last.note(rows((0, 1.0)))
    last.note(rows((0, 9.0), history=True))
    assert values_of(last, 0) == [1.0]
    assert counts_of(last, 0) == [2]
    assert [each.value for each in last.history(0)] == [1.0, 9.0]


@pytest.mark.parametrize("size", [1, 7, 31, 32, 33, 200])
def test_batches_of_any_size_and_more_tags_than_there_was_room_for(last, size):
    found, number = {}, 0
    for _ in range(30):
        batch = [((number + n) * 37 % 3_000, float(number + n)) for n in range(size)]
        number += size
        found.update(batch)
        last.note(rows(*batch))
    assert values_of(last, *found) == list(found.values())
    assert last.counts(3_000).sum() == number


def test_the_last_rows_of_a_tag_are_found_in_their_order(last):
    for number in range(200):
        last.note(rows((number % 5, float(number))))
    assert [each.value for each in last.history(3)] == [float(n) for n in range(138, 200, 5)]


def test_a_tag_that_is_looked_at_keeps_more(last):
    last.history(3)
    for number in range(5 * MOST_VALUES + 100):
        last.note(rows((number % 5, float(number))))
    found = [each.value for each in last.history(3)]
    assert len(found) == MOST_VALUES
    assert found == sorted(found)
    assert found[-1] == values_of(last, 3)[0]


def test_a_tag_that_nobody_looks_at_any_more_keeps_nothing(last):
    last.history(3)
    last._clock.now += 301
    for number in range(1_000):
        last.note(rows((number % 5, float(number))))
    assert len(last.history(3)) <= 64


def test_so_many_are_looked_at_and_no_more(last):
    for tag in range(MOST_WATCHED + 10):
        last.history(tag)
    assert len(last._watched) == MOST_WATCHED


def test_texts_are_cut_and_the_oldest_forgotten_where_they_are_too_many(last):
    last.note(rows((0, "x" * 5_000), (1, "short")))
    assert values_of(last, 0, 1) == ["x" * LONGEST_TEXT, "short"]
    for start in range(0, 6_000, 500):
        last.note(rows(*((tag, f"{tag}:" + "y" * 900) for tag in range(start, start + 500))))
    found = values_of(last, *range(6_000))
    assert found[-1] == "5999:" + "y" * 900
    assert found[0] is None
    assert last._texts.nbytes < 5 << 20


def test_the_same_few_texts_are_kept_however_often_they_come(last):
    last.note(rows((9, "rare")))
    for _ in range(300):
        last.note(rows(*((tag, "z" * 500) for tag in range(8))))
    assert values_of(last, 9, 0) == ["rare", "z" * 500]
    assert last._texts.nbytes < 5 << 20


def test_values_follow_their_tags_when_ids_change():
    catalogue = TagCatalogue()
    last = LastValues(catalogue, Clock(), ring_rows=64)
    codes = np.full(10, 10, dtype=np.uint8)

    class Owner:
        group_id, edge_node_id, device_id, tags = "G", "N", None, {}

    catalogue.append(Owner(), [f"T{n}" for n in range(10)], codes)
    last.note(rows(*((tag, float(tag)) for tag in range(10)), (4, "four")))
    last.history(6)
    catalogue.keep(np.array([4, 6, 9], dtype=np.int32))
    assert values_of(last, 0, 1, 2, 3) == ["four", 6.0, 9.0, None]
    assert counts_of(last, 0, 1, 2, 3) == [2, 1, 1, 0]
    last.note(rows((1, 66.0)))
    assert [each.value for each in last.history(1)] == [6.0, 66.0]
    assert [each.value for each in last.history(0)] == [4.0, "four"]


def test_columns_are_as_long_as_asked_for(last):
    last.note(rows((2, 1.0)))
    assert last.counts(5).tolist() == [0, 0, 1, 0, 0]
    assert last.event_us(3).tolist() == [0, 0, NOW]
    assert last.quality(4).tolist() == [-1, -1, 0, -1]


def test_a_defect_costs_no_rows_and_is_said_once(last, caplog):
    last.note(rows((0, 1.0)))
    broken = rows((0, 2.0))
    broken.quality_code = None
    last.note(broken)
    last.note(rows((0, 3.0)))
    assert values_of(last, 0) == [1.0]
    assert caplog.text.count("the page has no new values of tags") == 1


def test_texts_that_come_one_by_one_take_no_more_memory_than_many_at_once(last):
    for number in range(5_000):
        last.note(rows((0, f"text {number}")))
    assert len(last._texts._parts) <= 257
    assert values_of(last, 0) == ["text 4999"]
    assert last._texts.nbytes >= 5_000 * len("text 4999")
