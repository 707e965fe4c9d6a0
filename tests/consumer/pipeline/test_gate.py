"""The gate to the edge: when it closes, when it opens, and what it says. No clock runs here."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from consumer.pipeline.gate import ClosedBy, Gate, GateState, Sight
from consumer.pipeline.spool_watch import Watermarks
from consumer.spool.types import SpoolStats

MIB = 1 << 20
STATS = SpoolStats(
    batches=1,
    rows=1,
    row_bytes=0,
    used_bytes=0,
    max_bytes=1000,
    oldest_age=0.0,
    dead_letters=0,
    disk_free_bytes=10 * MIB,
    disk_is_full=False,
)
MIN_CLOSED = 60.0
OPEN, CLOSING, CLOSED = GateState


def gate(**options: float) -> Gate:
    marks = Watermarks(high=0.8, low=0.5, min_free=MIB)
    return Gate(marks, **{"min_closed": MIN_CLOSED, "ack_timeout": 0.0} | options)


def seen(used: int = 0, settled: int = 0, waiting: int = 1, **stats: object) -> Sight:
    return Sight(replace(STATS, used_bytes=used, **stats), waiting, settled)


def closed(**options: float) -> Gate:
    """A gate that the spool has closed, left by all at 10."""
    one = gate(**options)
    one.begin(0.0, seen())
    assert one.look(9.0, seen(800))
    one.left(10.0)
    return one


# closing


def test_it_is_open_below_the_high_mark():
    one = gate()
    one.begin(0.0, seen(799))
    assert not one.look(1.0, seen(799))
    assert (one.state, one.closed_by, one.why, one.opens) == (OPEN, None, "", "")


def test_it_begins_to_close_at_the_high_mark_and_is_closed_when_every_server_was_left():
    one = gate()
    one.begin(0.0, seen())
    assert one.look(1.0, seen(800))
    assert (one.state, one.closed_by, one.why) == (CLOSING, ClosedBy.SPOOL, "the spool is 80% full")
    assert not one.look(2.0, seen(900))
    assert one.state is CLOSING
    one.left(3.0)
    assert one.state is CLOSED
    assert one.opens == (
        "when the spool is less than 50% full, 2MiB of its disk are free, after 1m at the earliest"
    )


def test_what_began_to_close_does_so_even_if_there_is_room_again():
    one = gate()
    one.begin(0.0, seen())
    one.look(1.0, seen(800))
    assert not one.look(1000.0, seen(0))
    assert one.state is CLOSING


def test_a_disk_with_little_room_closes_it():
    for trouble in ({"disk_free_bytes": MIB - 1}, {"disk_is_full": True}):
        one = gate()
        one.begin(0.0, seen())
        assert one.look(1.0, seen(**trouble))
        assert one.closed_by is ClosedBy.DISK
        assert "disk" in one.why


def test_the_spool_is_blamed_when_the_disk_would_only_be_too_small_to_open():
    one = gate()
    one.begin(0.0, seen())
    one.look(1.0, seen(800, disk_free_bytes=3 * MIB // 2))
    assert one.closed_by is ClosedBy.SPOOL


def test_a_full_spool_begins_closed_and_stays_so_for_the_shortest_time():
    one = gate()
    one.begin(100.0, seen(900))
    assert (one.state, one.why) == (CLOSED, "the spool is 90% full")
    assert not one.look(100.0 + MIN_CLOSED - 0.1, seen(0))
    assert one.look(100.0 + MIN_CLOSED, seen(0))


def test_what_does_not_fit_closes_it_at_once_and_only_once():
    one = gate()
    one.begin(0.0, seen(100))
    assert one.shut(1.0, ClosedBy.SPOOL, "a giant")
    assert (one.state, one.why) == (CLOSING, "a giant")
    assert not one.shut(1.0, ClosedBy.SPOOL, "another")
    one.left(2.0)
    assert not one.shut(3.0, ClosedBy.SPOOL, "another")
    assert one.closings == {ClosedBy.SPOOL: 1}


# opening


def test_it_opens_below_the_low_mark_and_not_before_the_shortest_time():
    one = closed()
    assert not one.look(10.0 + MIN_CLOSED - 0.1, seen(0))
    # That it was below the mark for a moment is not enough.
    assert not one.look(10.0 + MIN_CLOSED, seen(500))
    assert one.look(10.0 + MIN_CLOSED + 1, seen(499))
    assert (one.state, one.why) == (OPEN, "")


def test_the_shortest_time_begins_anew_with_each_closing():
    one = closed()
    assert one.look(70.0, seen(0))
    assert one.look(71.0, seen(800))
    one.left(72.0)
    assert not one.look(131.9, seen(0))
    assert one.look(132.0, seen(0))
    assert one.closings == {ClosedBy.SPOOL: 2}


def test_it_stays_closed_until_the_disk_has_twice_the_room():
    one = closed()
    assert not one.look(100.0, seen(0, disk_free_bytes=2 * MIB - 1))
    assert one.look(101.0, seen(0, disk_free_bytes=2 * MIB))


def test_it_opens_between_the_marks_when_nothing_is_left_to_be_sent():
    # What else is in the file, births and dead letters, would keep it closed for ever.
    one = closed()
    assert not one.look(100.0, seen(600, rows=1))
    assert not one.look(100.0, seen(800, rows=0))
    assert not one.look(100.0, seen(600, rows=0, disk_free_bytes=2 * MIB - 1))
    assert one.look(100.0, seen(600, rows=0))
    assert not one.look(100.2, seen(700))


def test_the_time_it_was_closed_adds_up():
    one = closed()
    assert one.closed_seconds(9.0) == 0.0
    assert one.closed_seconds(30.0) == 21.0
    one.look(70.0, seen(0))
    assert one.closed_seconds(1000.0) == 61.0
    one.look(1000.0, seen(900))
    assert one.closed_seconds(1001.0) == 62.0


# acknowledgements


def test_without_acknowledgement_for_the_set_time_while_rows_wait_it_closes():
    one = gate(ack_timeout=30.0)
    one.begin(0.0, seen())
    assert not one.look(29.9, seen())
    assert one.look(30.0, seen(waiting=7))
    assert one.closed_by is ClosedBy.NO_ACKNOWLEDGEMENT
    assert one.why == "nothing was acknowledged for 30 s while 7 rows wait"
    assert one.opens.startswith("when rows are acknowledged again, the spool is less than 50% full")


def test_every_acknowledgement_begins_the_time_anew():
    one = gate(ack_timeout=30.0)
    one.begin(0.0, seen())
    for second in range(1, 200):
        assert not one.look(float(second), seen(settled=second // 29))


def test_a_quiet_plant_does_not_close_it():
    one = gate(ack_timeout=30.0)
    one.begin(0.0, seen(waiting=0))
    assert not one.look(3600.0, seen(waiting=0))
    # The first row after the silence has not waited for an hour.
    assert not one.look(3600.1, seen(waiting=1))
    assert one.look(3630.1, seen(waiting=1))


def test_without_a_set_time_silence_is_nothing():
    one = gate()
    one.begin(0.0, seen())
    assert not one.look(1e6, seen())


def test_closed_for_silence_it_opens_with_an_acknowledgement_or_when_nothing_waits():
    for good in (seen(settled=1), seen(waiting=0)):
        one = gate(ack_timeout=30.0)
        one.begin(0.0, seen())
        one.look(30.0, seen())
        one.left(31.0)
        assert not one.look(500.0, seen())
        assert one.look(501.0, good)
        assert not one.look(530.9, good)


# whatever happens

ROOM = st.integers(0, 1000)


@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), ROOM, st.integers(0, 3), st.booleans()), max_size=60),
    st.sampled_from([0.0, 20.0]),
)
def test_between_two_openings_it_was_closed_for_the_shortest_time(steps, ack_timeout):
    one = gate(ack_timeout=ack_timeout)
    now, settled, left_at, counted = 0.0, 0, 0.0, Counter()
    one.begin(now, seen())
    for wait, used, acknowledged, leaves in steps:
        now, settled, before = now + wait, settled + acknowledged, one.state
        changed = one.look(now, seen(used, settled))
        assert changed == (one.state is not before)
        assert (before, one.state) in {
            (OPEN, OPEN),
            (OPEN, CLOSING),
            (CLOSING, CLOSING),
            (CLOSED, CLOSED),
            (CLOSED, OPEN),
        }
        if one.state is OPEN:
            assert used < 800
            assert before is OPEN or (now - left_at >= MIN_CLOSED and used < 500)
        if before is OPEN and one.state is CLOSING:
            counted[one.closed_by] += 1
        if one.state is CLOSING and leaves:
            one.left(now)
            left_at = now
        assert bool(one.why) == bool(one.opens) == (one.state is not OPEN)
    assert one.closings == counted
