"""How gaps in what edge nodes sent are found, and what is received (docs/gaps.md)."""

from __future__ import annotations

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import message, tag
from support.gap_accounts import SENT_US, Accounts, at
from support.listener import TIMEOUT, birth, data, death

from sparkplug.gaps import GapReason, steps_of_bd_seq


def test_a_hole_lies_between_the_messages_around_it():
    heard = Accounts(birth(), at(1, 10), at(2, 20), at(6, 60))
    heard.tick(TIMEOUT)
    [gap] = heard.gaps
    assert (gap.reason, gap.first, gap.count) == ("sequence_gap", 3, 3)
    assert gap.span_us == (SENT_US + 20_000, SENT_US + 60_000)


def test_a_gap_of_several_holes_ends_where_the_last_of_them_does():
    heard = Accounts(birth(), at(2, 20), at(4, 40), at(5, 50), at(6, 60))
    heard.tick(TIMEOUT)
    [gap] = heard.gaps
    assert (gap.count, gap.missing) == (2, {1, 3})
    assert gap.span_us == (SENT_US, SENT_US + 40_000)


def test_without_payload_timestamps_a_gap_lies_between_times_of_arrival():
    heard = Accounts(birth(timestamp=None, received_us=ARRIVED))
    heard.feed(data(2, timestamp=None, received_us=ARRIVED + 5))
    heard.tick(TIMEOUT)
    assert heard.gaps[0].span_us == (ARRIVED, ARRIVED + 5)


def test_a_gap_over_a_clock_that_was_set_back_still_has_a_begin_before_its_end():
    heard = Accounts(birth(), at(1, 50), at(3, 10))
    heard.tick(TIMEOUT)
    assert heard.gaps[0].span_us == (SENT_US + 10_000, SENT_US + 50_000)


@pytest.mark.parametrize(("seq", "missing"), [(3, 1), (1, 255), (200, 198)])
def test_what_a_node_sent_while_nobody_listened_is_counted_modulo_256(seq, missing):
    heard = Accounts(birth(), data(1))
    heard.lost()
    heard.feed(at(seq, 70))
    assert heard.told() == [("away", missing, "open")]
    assert heard.gaps[0].first == 2
    heard.feed(birth())
    assert heard.told() == [("away", missing, "rebirth_snapshot")]
    assert [(e.reason, e.missing, e.healing) for e in heard.events] == [
        ("away", missing, "open"),
        ("away", missing, "rebirth_snapshot"),
    ]


def test_a_node_that_goes_on_where_it_was_left_has_no_gap():
    heard = Accounts(birth(), data(1))
    heard.lost()
    assert heard.fleet.gauges.unheard_nodes == 1
    heard.feed(data(2))
    assert (heard.gaps, heard.fleet.gauges.unheard_nodes) == ([], 0)


def test_a_death_leaves_open_what_was_sent_last_until_the_next_birth():
    heard = Accounts(birth(bd=4), at(1, 10), death(4))
    assert heard.told() == [("session_end", None, "open")]
    assert heard.gaps[0].span_us is None
    heard.feed(birth(bd=5, timestamp=SENT_MS + 90))
    assert heard.told() == [("session_end", None, "rebirth_snapshot")]
    assert heard.gaps[0].span_us == (SENT_US + 10_000, SENT_US + 90_000)
    assert heard.events == []  # the death and the birth tell it


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (4, 4, []),  # a rebirth
        (4, 5, [("session_end", 0)]),
        (4, 8, [("sessions_missed", 3)]),
        (254, 1, [("sessions_missed", 2)]),
        (9, 0, [("session_end", 0)]),  # counted anew
    ],
)
def test_a_birth_of_another_session_tells_of_the_end_that_was_not_seen(before, now, found):
    heard = Accounts(birth(bd=before), data(1), birth(bd=now))
    assert [(gap.reason.value, gap.sessions) for gap in heard.gaps] == found
    assert {gap.healing for gap in heard.gaps} <= {"rebirth_snapshot"}


def test_sessions_are_missed_after_a_death_too():
    heard = Accounts(birth(bd=4), death(4), birth(bd=6))
    assert [(gap.reason.value, gap.sessions) for gap in heard.gaps] == [
        ("session_end", 0),
        ("sessions_missed", 1),
    ]


def test_a_birth_is_the_first_that_is_heard_of_a_node_after_the_connection_was_lost():
    heard = Accounts(birth(bd=4), at(1, 10))
    heard.lost()
    heard.feed(birth(bd=6, timestamp=SENT_MS + 80))
    gap = heard.gaps[-1]
    assert (gap.reason, gap.count, gap.sessions) == (GapReason.AWAY, None, 1)
    assert gap.span_us == (SENT_US + 10_000, SENT_US + 80_000)


def test_a_birth_without_bdseq_tells_nothing_of_sessions():
    heard = Accounts(birth(bd=4), message("NBIRTH", tag("Ramp", 0)), birth(bd=9))
    assert heard.gaps == []


@pytest.mark.parametrize(
    ("before", "now", "steps"),
    [
        (None, 3, None),
        (3, None, None),
        (3, 3, 0),
        (3, 4, 1),
        (255, 0, 1),
        (3, 131, 128),
        (3, 132, 1),
        (3, 2, 1),
        (255, 256, 1),
        (300, 303, 3),
        (10**12, 10**12 + 60_000, 1),
    ],
)
def test_steps_of_bd_seq(before, now, steps):
    assert steps_of_bd_seq(before, now) == steps


# What is received


def test_every_message_with_a_seq_is_received_once_whatever_becomes_of_it():
    heard = Accounts(data(5, node="Early"), message("NBIRTH", tag("Ramp", 0), node="Early"))
    heard.feed(birth(), data(1), data(2), data(2), data(4), data(4), death())
    # The second seq 2 is a duplicate, and so is the second 4, which waits. A death has no seq.
    assert heard.received() == {"Early": 2, "Edge": 4}
    assert heard.received() == {}
    heard.feed(birth(bd=2), data(2, 22.0), now=5.0)
    heard.tick(10.0)
    heard.feed(data(1, 11.0), now=11.0)
    assert heard.received() == {"Edge": 3}


def test_what_came_before_the_first_birth_is_told_with_it_or_at_the_end():
    heard = Accounts(data(5), data(6))
    assert heard.received() == {}
    assert heard.received(never_born=True) == {"Edge": 2}
    heard.feed(data(7))
    assert heard.received() == {}
    heard.feed(birth())
    assert heard.received() == {"Edge": 2}
    assert heard.received(never_born=True) == {}


def test_a_birth_that_cannot_be_read_is_received_and_begins_no_account():
    for unread in (message("NBIRTH", tag("", 0)), message("NBIRTH", tag(None, 0))):
        heard = Accounts(unread, data(1))
        assert heard.fleet.gauges.node_count == 0
        heard.feed(birth())
        assert heard.received() == {"Edge": 3}
        assert heard.told() == [("away", None, "rebirth_snapshot")]


def test_messages_in_order_are_counted_like_those_that_are_taken_one_by_one():
    heard = Accounts(*(message("NBIRTH", tag("Ramp", 0), node=n) for n in "ABC"))
    heard.received()
    heard.feed(*(data(1, node=n) for n in "ABC"), data(2, node="A"), data(3, node="A"))
    assert heard.received() == {"A": 3, "B": 1, "C": 1}
