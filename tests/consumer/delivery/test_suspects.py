"""Among rows that were lost together each refused one is found, in few calls, and no other."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consumer.delivery.calls import CallLimits, RowQueue
from consumer.delivery.in_flight import InFlight
from consumer.delivery.suspects import Suspects
from consumer.rows.encoded import EncodedRows
from consumer.sinks.sink import MAX_CALL_BYTES
from consumer.spool import SpooledBatch

LIMITS = CallLimits(max_records=64)
BAD = b"bad"


def batch(batch_id, messages):
    return SpooledBatch(batch_id, "t", "s", 0.0, EncodedRows.from_messages(messages))


def lost_calls(batches, limits=LIMITS):
    """The calls that these batches are sent in."""
    window = InFlight(limits)
    for number, messages in enumerate(batches, start=1):
        window.append(batch(number, messages))
    offset = 0
    while window.uncut_rows:
        window.cut().offset = offset
        offset += 1
    return window.withdraw_lost()


def rows_behind(messages):
    window = InFlight(LIMITS)
    window.append(batch(9, messages))
    return window.withdraw_next(len(messages)).pieces


def search(suspects):
    """Try all, with a service that refuses `BAD`.

    Returns what became settled, one entry per step, and how many calls were tried and refused.
    """
    steps, tried, refused = [], 0, 0
    while (call := suspects.try_next()) is not None:
        tried += 1
        if BAD in call.records():
            refused += 1
            suspects.refuse("no")
        else:
            known = [(record.batch.batch_id, record.start) for record, _ in suspects.refused]
            steps.append((known, call.records(), suspects.passed()))
    return steps, tried, refused


def one_bad(rows, at):
    messages = [b"%d" % row for row in range(rows)]
    messages[at] = BAD
    return Suspects(lost_calls([messages], CallLimits()), "no", CallLimits())


@pytest.mark.parametrize("rows", [2, 3, 100, 1000])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.99])
def test_one_among_n_costs_about_log_n_refusals(rows, place):
    at = int(rows * place)
    suspects = one_bad(rows, at)
    _, tried, refused = search(suspects)
    steps = math.ceil(math.log2(rows))
    assert refused <= steps  # the first was that of the stream that was lost
    assert tried <= 3 * steps + 2
    if at == rows - 1:
        assert [(record.start, words) for record, words in suspects.refused] == [(at, "no")]
    else:
        assert suspects.is_settled


def test_a_record_that_was_lost_alone_is_known_and_not_tried_again():
    suspects = Suspects(lost_calls([[BAD]]), "no", LIMITS)
    assert suspects.try_next() is None
    assert [(each.record.records(), each.words) for each in suspects.refused] == [([BAD], "no")]
    assert not suspects.is_settled
    assert [done.batch_id for done in suspects.give_up()] == [1]
    assert suspects.is_settled


def test_a_refused_record_holds_its_batch_until_one_behind_it_gets_through():
    suspects = Suspects(lost_calls([[BAD]]), "no", LIMITS)
    suspects.append(rows_behind([b"later"]))
    assert suspects.try_next().records() == [b"later"]
    assert [done.batch_id for done in suspects.passed()] == [1, 9]
    assert suspects.is_settled


def test_a_call_of_unknown_fate_is_tried_again():
    suspects = one_bad(8, 1)
    before = suspects.try_next().records()
    suspects.retry()
    assert suspects.try_next().records() == before


def test_a_record_that_no_call_carries_is_settled_with_what_is_before_it():
    large = bytes(MAX_CALL_BYTES + 1)
    suspects = Suspects(lost_calls([[b"a", BAD], [large], [b"z"]]), "no", LIMITS)
    assert suspects.try_next().records() == [b"a", BAD]
    suspects.refuse("no")
    assert suspects.try_next().records() == [b"a"]
    assert suspects.passed() == []
    assert suspects.try_next().records() == [BAD]
    suspects.refuse("no")
    assert suspects.try_next().too_large
    assert suspects.set_aside() == []
    assert suspects.try_next().records() == [b"z"]
    assert [done.batch_id for done in suspects.passed()] == [1, 2, 3]


def test_without_a_refused_record_before_it_it_is_settled_at_once():
    large = bytes(MAX_CALL_BYTES + 1)
    suspects = Suspects(lost_calls([[large], [b"z"]]), "no", LIMITS)
    assert suspects.try_next().too_large
    assert [done.batch_id for done in suspects.set_aside()] == [1]


BATCHES = st.lists(
    st.lists(st.sampled_from([b"a", b"b", b"c", BAD]), min_size=1, max_size=20),
    min_size=1,
    max_size=8,
)


@given(BATCHES, st.integers(1, 30), st.data())
def test_all_that_are_good_get_through_in_order_and_all_that_are_bad_are_known(
    batches, records, data
):
    limits = CallLimits(max_records=records)
    assume(batches[0][0] == BAD or len(batches) > 1)
    suspects = Suspects(lost_calls(batches, limits), "no", limits)
    through, kept, finished = [], [], []
    while (call := suspects.try_next()) is not None:
        how = data.draw(st.sampled_from(["answered", "answered", "answered", "unknown", "anew"]))
        if how == "unknown":
            suspects.retry()
        elif how == "anew":  # something has to be mended: what is not settled is sent again
            pieces = suspects.unsettled()
            queue = RowQueue(limits)
            queue.put_back(pieces)
            again = []
            while queue.rows:
                again.append(queue.cut())
            suspects = Suspects(again, "no", limits)
            if suspects.refused and suspects.refused[0].record.records() != [BAD]:
                return  # a single good one that was refused after all
        elif BAD in call.records():
            suspects.refuse("no")
        else:
            kept += [
                record.batch.rows.slice(record.start, record.stop) for record, _ in suspects.refused
            ]
            through += call.records()
            finished += [each.batch_id for each in suspects.passed()]
    assert all(records == [BAD] for records in kept)
    kept += [each.record.records() for each in suspects.refused]
    finished += [each.batch_id for each in suspects.give_up()]
    rows = [row for messages in batches for row in messages]
    assert through == [row for row in rows if row != BAD]
    assert kept == [[BAD]] * rows.count(BAD)
    assert finished == list(range(1, len(batches) + 1))
    assert suspects.is_settled
