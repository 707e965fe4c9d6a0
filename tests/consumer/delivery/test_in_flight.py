"""The window cuts batches into calls and keeps track of every row, whatever happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.delivery.calls import CallLimits
from consumer.delivery.in_flight import InFlight
from consumer.delivery.options import Backoff
from consumer.rows.encoded import EncodedRows
from consumer.sinks.sink import MAX_CALL_BYTES
from consumer.spool import SpooledBatch


def batch(batch_id, messages, schema_id="s"):
    return SpooledBatch(batch_id, "t", schema_id, 0.0, EncodedRows.from_messages(messages))


def in_flight(max_records=1000, max_bytes=8 << 20):
    return InFlight(CallLimits(max_records, max_bytes))


def send(box, offset):
    call = box.cut()
    call.offset = offset
    return call.records()


def test_small_batches_travel_together_and_large_ones_apart():
    box = in_flight(max_records=4)
    for batch_id, rows in enumerate((2, 1, 6), start=1):
        box.append(batch(batch_id, [f"{batch_id}.{row}".encode() for row in range(rows)]))
    assert send(box, 0) == [b"1.0", b"1.1", b"2.0", b"3.0"]
    assert send(box, 1) == [b"3.1", b"3.2", b"3.3", b"3.4"]
    assert send(box, 2) == [b"3.5"]
    assert (box.inflight_calls, box.inflight_rows, box.uncut_rows) == (3, 9, 0)


def test_a_batch_is_finished_when_all_of_its_calls_are_acknowledged():
    box = in_flight(max_records=2)
    box.append(batch(1, [b"a", b"b", b"c"]))
    box.append(batch(2, [b"d"]))
    assert [send(box, offset) for offset in range(2)] == [[b"a", b"b"], [b"c", b"d"]]
    assert box.settle(0) == ([], 2)
    finished, rows = box.settle(1)
    assert ([done.batch_id for done in finished], rows) == ([1, 2], 2)


def test_after_a_dead_stream_only_what_was_not_acknowledged_is_cut_again():
    box = in_flight(max_records=2)
    box.append(batch(1, [b"a", b"b", b"c"]))
    box.append(batch(2, [b"d", b"e"]))
    for offset in range(2):
        send(box, offset)
    box.settle(0)
    box.rewind()
    assert (box.inflight_calls, box.inflight_bytes, box.uncut_rows) == (0, 0, 3)
    assert send(box, 0) == [b"c", b"d"]
    assert send(box, 1) == [b"e"]
    assert [done.batch_id for done in box.settle(1)[0]] == [1, 2]


def test_lost_calls_that_leave_are_settled_elsewhere_and_the_rest_is_sent():
    box = in_flight(max_records=2)
    box.append(batch(1, [b"a", b"b", b"c"]))
    box.append(batch(2, [b"d", b"e"]))
    send(box, 0)
    send(box, 1)
    box.cut()  # which the dead stream did not take any more
    lost = box.withdraw_lost()
    assert [call.records() for call in lost] == [[b"a", b"b"], [b"c", b"d"]]
    assert (box.inflight_calls, box.inflight_rows, box.inflight_bytes) == (0, 0, 0)
    assert (box.batches, box.uncut_rows) == (1, 1)
    assert send(box, 0) == [b"e"]
    assert [done.batch_id for done in box.settle(0).batches] == [2]


def test_rows_that_come_back_are_before_all_others():
    box = in_flight(max_records=2)
    box.append(batch(1, [b"a", b"b", b"c"]))
    box.append(batch(2, [b"d"]))
    send(box, 0)
    lost = box.withdraw_lost()
    box.put_back(piece for call in lost for piece in call.pieces)
    assert [send(box, 0), send(box, 1)] == [[b"a", b"b"], [b"c", b"d"]]
    assert [done.batch_id for done in box.settle(1).batches] == [1, 2]
    assert box.batches == 0


def test_no_row_leaves_that_would_overtake_calls_in_flight():
    box = in_flight(max_records=1)
    box.append(batch(1, [b"a", b"b"]))
    send(box, 0)
    with pytest.raises(ValueError, match="1 calls are before"):
        box.withdraw_next(1)
    box.settle(0)
    assert box.withdraw_next(1).records() == [b"b"]
    assert (box.batches, box.uncut_rows) == (0, 0)


def test_rows_of_two_schemas_never_share_a_call():
    box = in_flight()
    box.append(batch(1, [b"a"], "old"))
    box.append(batch(2, [b"b"], "new"))
    assert box.has_full_call
    assert send(box, 0) == [b"a"]
    assert box.next_schema_id == "new"


def test_a_call_stays_below_the_limits_of_sdk_and_service():
    box = in_flight(max_records=100_000, max_bytes=MAX_CALL_BYTES - 1)
    box.append(batch(1, [b"x" * 100] * 150_000))
    call = box.cut()
    framed = call.nbytes + 6 * call.rows
    assert framed < 10 * 1024 * 1024


def test_a_record_above_max_bytes_travels_alone():
    box = in_flight(max_bytes=10)
    box.append(batch(1, [b"a", b"b" * 50, b"c"]))
    assert send(box, 0) == [b"a"]
    assert send(box, 1) == [b"b" * 50]
    assert send(box, 2) == [b"c"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_record_no_call_can_carry_is_told_and_does_not_hold_its_batch(position):
    messages = [b"a", b"b", b"c"]
    messages[position] = bytes(MAX_CALL_BYTES + 1)
    box = in_flight(max_records=1)
    box.append(batch(1, messages))
    for offset in range(3):
        call = box.cut()
        assert call.too_large == (offset == position)
        if call.too_large:
            call.aside = True
        else:
            call.offset = offset
    finished, rows = box.settle(2)
    assert ([done.batch_id for done in finished], rows) == ([1], 2)


def test_a_set_aside_record_waits_for_the_rows_before_it():
    box = in_flight(max_records=1)
    box.append(batch(1, [b"a", bytes(MAX_CALL_BYTES + 1)]))
    send(box, 0)
    box.cut().aside = True
    assert box.settle(-1) == ([], 0)
    assert [done.batch_id for done in box.settle(0)[0]] == [1]


@given(
    st.lists(st.lists(st.binary(max_size=12), min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(1, 40),
    st.data(),
)
def test_every_row_is_sent_in_order_and_settled_whatever_fails(rows, records, size, data):
    box = in_flight(max_records=records, max_bytes=size)
    expected, acknowledged, finished = [], [], []
    waiting = list(enumerate(rows, start=1))
    inflight, offset = [], 0
    for batch_id, messages in waiting:
        expected += [(batch_id, row) for row in range(len(messages))]
    while len(finished) < len(rows):
        steps = ["settle"] if inflight else []
        steps += ["cut", "cut"] if box.uncut_rows else []
        steps += ["add"] if waiting else []
        step = data.draw(st.sampled_from([*steps, "rewind", "withdraw"]))
        if step == "add":
            batch_id, messages = waiting.pop(0)
            box.append(batch(batch_id, messages))
        elif step == "cut":
            call = box.cut()
            call.offset = offset
            sent = [
                (part.batch_id, row)
                for part, start, stop in call.pieces
                for row in range(start, stop)
            ]
            assert 1 <= len(sent) == call.rows <= records
            assert len(sent) == 1 or call.nbytes <= size
            inflight.append((offset, sent))
            offset += 1
        elif step == "settle":
            count = data.draw(st.integers(1, len(inflight)))
            done, number = box.settle(inflight[count - 1][0])
            newly = [row for _, sent in inflight[:count] for row in sent]
            assert number == len(newly)
            acknowledged += newly
            finished += [each.batch_id for each in done]
            del inflight[:count]
        elif step == "withdraw":
            lost = box.withdraw_lost()
            assert sum(call.rows for call in lost) == sum(len(sent) for _, sent in inflight)
            box.put_back([piece for call in lost for piece in call.pieces])
            inflight, offset = [], 0
        else:
            assert box.rewind() == sum(len(sent) for _, sent in inflight)
            inflight, offset = [], 0
    assert finished == sorted(finished)
    assert acknowledged == expected
    assert (box.uncut_rows, box.uncut_bytes, box.inflight_bytes, box.batches) == (0, 0, 0, 0)


def test_pauses_double_are_bounded_and_vary():
    backoff = Backoff(first=1.0, longest=30.0)
    assert [backoff.pause(attempt, lambda: 1.0) for attempt in range(1, 8)] == [
        1,
        2,
        4,
        8,
        16,
        30,
        30,
    ]
    assert backoff.pause(3, lambda: 0.0) == 2.0
    assert backoff.pause(10_000, lambda: 1.0) == 30.0
