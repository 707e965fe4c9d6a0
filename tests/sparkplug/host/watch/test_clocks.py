"""Which times are told of as implausible, and how far off a node's clock is taken to be."""

import numpy as np
import pytest

from sparkplug.host.watch.clocks import QUIET, ClockChange, ClockProblem, Clocks, doubtful

SECOND = 1_000_000
HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
ARRIVED = 1_764_000_000 * SECOND  # November 2025
Y2000 = 946_684_800 * SECOND


def ints(*values):
    return np.array(values, dtype=np.int64)


def sent(clocks, *payload_times, node=0, received=ARRIVED, now=0.0):
    """Messages of one node; what begins with them."""
    count = len(payload_times)
    return clocks.messages(
        np.full(count, node), ints(*payload_times), np.full(count, received), now
    )


def valued(clocks, *times, node=0, present=True, now=0.0):
    """Values of one node; what begins with them."""
    return clocks.values(
        np.full(len(times), node),
        ints(*times),
        np.full(len(times), ARRIVED),
        np.full(len(times), present),
        now,
    )


def told(changes):
    return [(each.node, each.problem) for each in changes if each.began]


def off_by(clocks, skew, node=0, start=0.0):
    """Two periods of messages of a node whose clock is off by so much, 0.1 s on the way."""
    changes = []
    for step in range(60):
        received = ARRIVED + step * 10 * SECOND
        changes += sent(
            clocks,
            received - skew - SECOND // 10,
            node=node,
            received=received,
            now=start + step * 10.0,
        )
    return changes


# Skew


@pytest.mark.parametrize("skew", [0, 90 * SECOND, -90 * SECOND, -3 * HOUR, 3 * HOUR])
def test_the_skew_is_what_the_clock_is_off_and_the_smallest_delay(skew):
    clocks = Clocks()
    off_by(clocks, skew)
    assert clocks.skew_us[0] == skew + SECOND // 10


def test_delays_on_the_way_are_not_skew():
    clocks = Clocks()
    for step, delay in enumerate([5, 40, 0.2, 300, 0.25, 7, 3000]):
        sent(clocks, ARRIVED - int(delay * SECOND), now=float(step))
    assert clocks.skew_us[0] == SECOND // 4


def test_a_single_wrong_time_is_not_skew():
    clocks = Clocks()
    assert sent(clocks, ARRIVED + YEAR) == []
    assert np.isnan(clocks.skew_us[0])
    assert sent(clocks, ARRIVED - SECOND, ARRIVED - SECOND, now=1.0) == []
    assert clocks.skew_us[0] == SECOND


def test_a_clock_that_was_set_right_is_noticed():
    clocks = Clocks()
    off_by(clocks, -2 * HOUR)
    off_by(clocks, 0, start=600.0)
    off_by(clocks, 0, start=1200.0)
    assert clocks.skew_us[0] == SECOND // 10


def test_nodes_of_one_batch_have_skews_of_their_own():
    clocks = Clocks()
    offsets = ints(1, 2, 3) * SECOND
    node = np.tile(np.arange(3), 4)
    clocks.messages(node, ARRIVED - np.tile(offsets, 4), np.full(12, ARRIVED), 0.0)
    assert clocks.skew_us[:3].tolist() == offsets.tolist()


def test_of_a_node_that_says_nothing_no_skew_is_known_after_a_while():
    clocks = Clocks()
    sent(clocks, *[ARRIVED] * 3)
    for step in range(1, 4):
        sent(clocks, ARRIVED, ARRIVED, node=1, now=step * 301.0)
    assert np.isnan(clocks.skew_us[0])
    assert clocks.skew_us[1] == 0


@pytest.mark.parametrize("skew", [-2 * HOUR, -301 * SECOND, 301 * SECOND, 2 * HOUR])
def test_a_clock_off_by_more_than_five_minutes_is_told_once(skew):
    clocks = Clocks()
    assert told(off_by(clocks, skew)) == [(0, ClockProblem.SKEW)]


@pytest.mark.parametrize("skew", [-299 * SECOND, 0, 299 * SECOND])
def test_a_clock_off_by_less_is_not(skew):
    assert told(off_by(Clocks(), skew)) == []


def test_the_skew_is_told_with_its_sign():
    [change] = off_by(Clocks(), -2 * HOUR)
    assert change.time_us == -2 * HOUR + SECOND // 10


def test_a_burst_of_delayed_messages_is_no_clock_that_is_behind():
    """What an MQTT bridge kept while its connection was away."""
    clocks = Clocks()
    found = sent(clocks, *[ARRIVED - 2 * HOUR + n for n in range(1000)])
    for step in range(1, 100):
        found += sent(clocks, ARRIVED - SECOND, now=step * 10.0)
    assert told(found) == []


# Seconds for milliseconds


@pytest.mark.parametrize("present", [True, False])
def test_seconds_that_were_taken_for_milliseconds_are_told(present):
    """1,764,000,000 milliseconds are the 21st of January 1970."""
    [change] = valued(Clocks(), ARRIVED, ARRIVED // 1000, present=present)
    assert change == ClockChange(
        0, ClockProblem.SECONDS, began=True, example=1, time_us=ARRIVED // 1000
    )


def test_a_payload_timestamp_in_seconds_is_told_and_no_skew():
    clocks = Clocks()
    changes = sent(clocks, ARRIVED, ARRIVED // 1000, ARRIVED)
    assert [(each.problem, each.example) for each in changes] == [(ClockProblem.SECONDS, 1)]
    assert clocks.skew_us[0] == 0


@pytest.mark.parametrize("time_us", [0, 1, 1000, Y2000 // 1000 - 1, ARRIVED // 1000 + 2 * HOUR])
def test_other_times_of_1970_are_not_taken_for_seconds(time_us):
    assert told(valued(Clocks(), time_us)) == [(0, ClockProblem.PAST)]


# Far away


def test_a_time_more_than_an_hour_ahead_is_told():
    clocks = Clocks()
    assert valued(clocks, ARRIVED + HOUR) == []
    [change] = valued(clocks, ARRIVED, ARRIVED + HOUR + 1)
    assert change == ClockChange(
        0, ClockProblem.FUTURE, began=True, example=1, time_us=ARRIVED + HOUR + 1
    )


def test_a_time_that_is_ahead_only_as_far_as_its_nodes_clock_is_not():
    clocks = Clocks()
    off_by(clocks, -5 * HOUR)
    assert valued(clocks, ARRIVED + 5 * HOUR) == []
    assert told(valued(clocks, ARRIVED + 7 * HOUR)) == [(0, ClockProblem.FUTURE)]


def test_a_clock_that_is_behind_allows_no_less():
    clocks = Clocks()
    off_by(clocks, 5 * HOUR)
    assert valued(clocks, ARRIVED + HOUR) == []


def test_a_present_value_of_the_last_millennium_is_told():
    clocks = Clocks()
    assert valued(clocks, Y2000) == []
    assert told(valued(clocks, Y2000 - 1)) == [(0, ClockProblem.PAST)]


def test_historical_and_birth_values_may_be_as_old_as_they_like():
    assert valued(Clocks(), 0, Y2000 - 1, present=False) == []


# Once, and over


def test_a_problem_is_told_once_per_node_and_kind():
    clocks = Clocks()
    bad = (ARRIVED // 1000, ARRIVED + YEAR, 0)
    everything = {ClockProblem.SECONDS, ClockProblem.FUTURE, ClockProblem.PAST}
    for node in (0, 70):
        found = told(valued(clocks, *bad, *bad, node=node))
        assert sorted(found) == sorted((node, problem) for problem in everything)
    for step in range(1000):
        assert valued(clocks, *bad, node=70, now=step * 1.0) == []
    assert clocks.active == 6


def test_a_problem_is_over_after_ten_minutes_without_it():
    clocks = Clocks()
    valued(clocks, ARRIVED + YEAR)
    valued(clocks, ARRIVED + YEAR, now=100.0)
    assert clocks.ended(100.0 + QUIET - 1) == []
    assert clocks.ended(100.0 + QUIET) == [ClockChange(0, ClockProblem.FUTURE, began=False)]
    assert clocks.ended(10_000.0) == []
    assert clocks.active == 0
    assert told(valued(clocks, ARRIVED + YEAR, now=10_000.0)) == [(0, ClockProblem.FUTURE)]


def test_a_clock_that_stays_off_stays_told_however_long_it_takes():
    clocks = Clocks()
    found, ended = [], []
    for period in range(10):
        found += off_by(clocks, 2 * HOUR, start=period * 600.0)
        ended += clocks.ended(period * 600.0 + 599.0)
    assert told(found) == [(0, ClockProblem.SKEW)]
    assert ended == []


def test_a_clock_that_was_set_right_is_over():
    clocks = Clocks()
    off_by(clocks, -2 * HOUR)
    ended = []
    for period in range(1, 4):
        off_by(clocks, 0, start=period * 600.0)
        ended += clocks.ended(period * 600.0 + 599.0)
    assert ended == [ClockChange(0, ClockProblem.SKEW, began=False)]


# What deserves a look


def test_ordinary_times_deserve_no_look():
    times = ints(Y2000, ARRIVED, ARRIVED + HOUR)
    assert doubtful(times, np.full(3, ARRIVED)).tolist() == []
    assert doubtful(ints(), ints()).tolist() == []


def test_times_that_are_too_early_or_too_late_deserve_one():
    times = ints(Y2000 - 1, ARRIVED, ARRIVED + HOUR + 1, ARRIVED + HOUR + 1)
    received = ints(ARRIVED, ARRIVED, ARRIVED, ARRIVED + 1)
    assert doubtful(times, received).tolist() == [0, 2]


def test_no_value_is_changed():
    times, payloads = ints(0, ARRIVED // 1000, ARRIVED + YEAR), ints(ARRIVED, 0, 1)
    node, received = ints(0, 1, 2), np.full(3, ARRIVED)
    for each in (times, payloads, node, received):
        each.flags.writeable = False
    clocks = Clocks()
    assert clocks.messages(node, payloads, received, 0.0)
    assert clocks.values(node, times, received, np.ones(3, dtype=bool), 0.0)
