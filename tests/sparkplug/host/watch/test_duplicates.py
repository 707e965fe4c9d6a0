"""When two publishers under one edge node id are noticed, and when they are not."""

import pytest

from sparkplug.host.watch.duplicates import (
    INTERLEAVINGS,
    WINDOW,
    DuplicateAlarm,
    DuplicateDetector,
    Evidence,
)

NODE = ("Plant", "Edge")
SEQ = [DuplicateAlarm(*NODE, Evidence.SEQ, began=True)]
BD_SEQ = [DuplicateAlarm(*NODE, Evidence.BD_SEQ, began=True)]
SEQ_OVER = [DuplicateAlarm(*NODE, Evidence.SEQ, began=False)]
BD_SEQ_OVER = [DuplicateAlarm(*NODE, Evidence.BD_SEQ, began=False)]


def turns(detector, count, *, start=0.0, step=2.0, node=NODE):
    """An unexplained message and one in order, so many times; returns when the last came."""
    for number in range(count):
        detector.unexplained(*node, start + number * step)
        detector.in_order(*node, start + number * step)
    return start + (count - 1) * step


def births(detector, *bd_seqs, start=0.0, step=10.0):
    for number, bd_seq in enumerate(bd_seqs):
        detector.born(*NODE, bd_seq, start + number * step)
    return start + (len(bd_seqs) - 1) * step


# Two counts of seq


def test_two_counts_in_turns_are_an_alarm():
    detector = DuplicateDetector()
    now = turns(detector, INTERLEAVINGS)
    assert detector.changes(now) == SEQ
    assert detector.alarmed == {NODE}


def test_fewer_turns_are_none():
    detector = DuplicateDetector()
    now = turns(detector, INTERLEAVINGS - 1)
    assert detector.changes(now) == []
    assert not detector.alarmed


def test_turns_spread_over_hours_are_none():
    detector = DuplicateDetector()
    now = turns(detector, 100, step=WINDOW / (INTERLEAVINGS - 1) + 1.0)
    assert detector.changes(now) == []


def test_slow_publishers_are_noticed_too():
    detector = DuplicateDetector()
    now = turns(detector, INTERLEAVINGS, step=60.0)
    assert detector.changes(now) == SEQ


def test_unexplained_messages_alone_are_none():
    """A publisher that restarts its count without a birth."""
    detector = DuplicateDetector()
    for number in range(100):
        detector.unexplained(*NODE, number * 2.0)
    detector.in_order(*NODE, 200.0)
    assert detector.changes(200.0) == []


def test_messages_in_order_alone_are_none():
    detector = DuplicateDetector()
    for number in range(1000):
        detector.in_order(*NODE, float(number))
    assert detector.changes(1000.0) == []


def test_what_a_server_mixes_up_within_an_instant_is_one_turn():
    detector = DuplicateDetector()
    now = turns(detector, 1000, step=0.001)
    assert detector.changes(now) == []


def test_leftovers_of_the_session_before_a_birth_are_none():
    detector = DuplicateDetector()
    for number in range(50):
        detector.born(*NODE, 7, number * 10.0)
        turns(detector, 3, start=number * 10.0 + 0.1, step=1.5)
    assert detector.changes(500.0) == []


def test_those_who_are_to_be_told_of_in_order_are_known():
    detector = DuplicateDetector()
    detector.unexplained(*NODE, 1.0)
    assert detector.doubtful == {NODE}
    detector.in_order(*NODE, 2.0)
    assert not detector.doubtful
    detector.unexplained(*NODE, 3.0)
    detector.born(*NODE, 1, 4.0)
    assert not detector.doubtful


# Two bdSeq


@pytest.mark.parametrize(
    "bd_seqs",
    [
        pytest.param((5, 17, 5, 17), id="two sessions that are asked for rebirths"),
        pytest.param((5, 17, 6, 18), id="two clients that throw each other out"),
        pytest.param((255, 17, 0, 18), id="the same over the end of the count"),
        pytest.param((5, 1700000000000, 5, 1700000000000), id="times as bdSeq"),
        pytest.param((5, 17, 29, 5, 17, 29), id="three"),
        pytest.param((5, 5, 17, 17, 5, 5, 17), id="each answers twice"),
    ],
)
def test_births_with_two_bd_seq_in_turns_are_an_alarm(bd_seqs):
    detector = DuplicateDetector()
    now = births(detector, *bd_seqs)
    assert detector.changes(now) == BD_SEQ


@pytest.mark.parametrize(
    "bd_seqs",
    [
        pytest.param((5, 17, 5), id="one fail-over and back"),
        pytest.param((5,) * 50, id="rebirths"),
        pytest.param(range(300), id="connections"),
        pytest.param([n % 256 for n in range(250, 270)], id="the end of the count"),
        pytest.param((0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 2, 3), id="restarts that begin at 0"),
        pytest.param((0, 1) * 20, id="a bdSeq that toggles"),
        pytest.param([(n * 7919) % 100_003 for n in range(50)], id="random numbers"),
        pytest.param((None,) * 50, id="none at all"),
        pytest.param((5, 6, 5, 7, 8), id="a birth that another one overtook"),
    ],
)
def test_births_of_one_publisher_are_none(bd_seqs):
    detector = DuplicateDetector()
    now = births(detector, *bd_seqs)
    assert detector.changes(now) == []


def test_a_second_publisher_beside_one_that_was_born_long_ago_is_noticed():
    detector = DuplicateDetector()
    detector.born(*NODE, 5, 0.0)
    now = births(detector, 17, 5, 17, start=100_000.0)
    assert detector.changes(now) == BD_SEQ


def test_fail_overs_hours_apart_are_none():
    detector = DuplicateDetector()
    now = births(detector, *(5, 17) * 20, step=3600.0)
    assert detector.changes(now) == []


# How long an alarm lasts


def test_an_alarm_begins_once_however_long_the_evidence_goes_on():
    detector = DuplicateDetector()
    found = []
    for number in range(200):
        now = turns(detector, 2, start=number * 10.0)
        found += detector.changes(now)
    assert found == SEQ


@pytest.mark.parametrize(("evidence", "over"), [(SEQ, SEQ_OVER), (BD_SEQ, BD_SEQ_OVER)])
def test_an_alarm_ends_after_ten_quiet_minutes(evidence, over):
    detector = DuplicateDetector()
    is_seq = evidence is SEQ
    now = turns(detector, INTERLEAVINGS) if is_seq else births(detector, 5, 17, 5, 17)
    assert detector.changes(now) == evidence
    assert detector.changes(now + 599.0) == []
    assert detector.changes(now + 600.0) == over
    assert detector.changes(now + 10_000.0) == []
    assert not detector.alarmed


def test_a_single_turn_keeps_an_alarm_up():
    detector = DuplicateDetector()
    now = turns(detector, INTERLEAVINGS)
    detector.changes(now)
    turns(detector, 1, start=now + 500.0)
    assert detector.changes(now + 1000.0) == []
    assert detector.changes(now + 1100.0) == SEQ_OVER


def test_messages_in_order_and_births_with_one_bd_seq_do_not_keep_it_up():
    detector = DuplicateDetector()
    now = births(detector, 5, 17, 5, 17)
    detector.changes(now)
    for number in range(60):
        detector.born(*NODE, 17, now + number * 10.0)
        detector.in_order(*NODE, now + number * 10.0)
    assert detector.changes(now + WINDOW) == BD_SEQ_OVER


def test_after_the_end_as_much_is_needed_as_at_first():
    detector = DuplicateDetector()
    now = turns(detector, INTERLEAVINGS)
    detector.changes(now)
    detector.changes(now + WINDOW)
    later = turns(detector, INTERLEAVINGS - 1, start=now + WINDOW + 1)
    assert detector.changes(later) == []
    now = turns(detector, 1, start=later + 2)
    assert detector.changes(now) == SEQ


# Many nodes


def test_nodes_of_one_name_in_different_groups_are_different():
    detector = DuplicateDetector()
    for number in range(INTERLEAVINGS):
        turns(detector, 1, start=number * 2.0, node=("A" if number % 2 else "B", "Edge"))
    assert detector.changes(100.0) == []


def test_forged_nodes_are_forgotten_first_come_first_and_their_alarms_end():
    detector = DuplicateDetector()
    now = turns(detector, INTERLEAVINGS)
    detector.unexplained(*NODE, now)
    assert detector.changes(now) == SEQ
    for number in range(100_500):
        detector.born("Plant", f"forged {number}", 1, now)
    assert len(detector._nodes) == 100_000
    assert detector.changes(now) == SEQ_OVER
    assert not detector.alarmed
    assert not detector.doubtful
