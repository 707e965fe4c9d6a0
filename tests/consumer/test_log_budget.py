"""Whoever may publish does not decide how long the log gets; nothing that is left out is hidden."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock

from consumer.log_budget import ALL_KINDS, EACH_KIND, ONCE_A_MINUTE, TELL_EVERY, LogBudget

MOST_A_SECOND = 50


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return LogBudget(clock)


def told(caplog):
    """Lines that were left out, as the log tells it, by kind."""
    counts = Counter()
    for record in caplog.records:
        assert record.name == "consumer.log_budget"
        _, _, parts = record.getMessage().partition(": ")
        for number, kind in re.findall(r"(\d+) (\w+)", parts.partition(" (")[0]):
            counts[kind] += int(number)
    return counts


def test_the_first_lines_of_a_kind_are_said_at_once_and_then_one_in_ten_seconds(budget, clock):
    assert [budget.allows("clock") for _ in range(12)] == [True] * 10 + [False] * 2
    for _ in range(3):
        clock.now += EACH_KIND.seconds
        assert [budget.allows("clock") for _ in range(3)] == [True, False, False]
    clock.now += 1_000.0
    assert sum(budget.allows("clock") for _ in range(100)) == EACH_KIND.burst


def test_kinds_and_servers_do_not_silence_each_other(budget):
    for _ in range(1_000):
        budget.allows("clock", "plant-a")
    assert budget.allows("clock", "plant-b")
    assert budget.allows("silent", "plant-a")


def test_what_others_cause_is_at_most_fifty_lines_a_second_all_kinds_together(budget, clock):
    said = []
    for step in range(400):
        clock.now = 1_000.0 + step / 100
        said += [clock.now for kind in range(100) if budget.allows(f"kind {kind}")]
    assert len(said) > 80
    for at in said:
        assert sum(at <= each < at + 1.0 for each in said) <= MOST_A_SECOND


def test_a_flood_of_some_kinds_leaves_room_for_the_first_line_of_another(budget):
    for kind in range(9):
        for _ in range(1_000):
            budget.allows(f"kind {kind}")
    assert budget.allows("news")


def test_faults_of_our_own_wait_for_nobody_and_are_not_without_end_either(budget):
    for kind in range(1_000):
        budget.allows(f"kind {kind}")
    assert sum(budget.allows("fault", ours=True) for _ in range(100)) == EACH_KIND.burst


def test_a_kind_may_be_said_once_a_minute(budget, clock):
    rate = {"rate": ONCE_A_MINUTE}
    assert [budget.allows("full", **rate) for _ in range(3)] == [True, False, False]
    clock.now += 59.9
    assert not budget.allows("full", **rate)
    clock.now += 0.1
    assert budget.allows("full", **rate)


def test_what_was_left_out_is_told_after_a_while_though_nothing_more_happens(budget, clock, caplog):
    for _ in range(15):
        budget.allows("clock", "plant-a")
    for _ in range(11):
        budget.allows("silent")
    budget.tell()
    assert not caplog.messages
    clock.now += TELL_EVERY
    budget.tell()
    budget.tell()
    [line] = caplog.messages
    assert line.startswith("6 lines were left out of the log in 10 s")
    assert "too many like them: 5 clock of plant-a, 1 silent (" in line
    assert budget.left_out == {"clock": 5, "silent": 1}


def test_what_was_left_out_is_told_before_a_line_that_comes_later(budget, clock, caplog):
    for _ in range(11):
        budget.allows("clock")
    clock.now += TELL_EVERY
    assert budget.allows("silent")
    assert told(caplog) == {"clock": 1}


def test_at_the_end_it_is_told_at_once(budget, caplog):
    for _ in range(11):
        budget.allows("clock")
    budget.tell(at_once=True)
    assert told(caplog) == {"clock": 1}


def test_what_is_said_later_is_not_left_out(budget):
    assert sum(budget.is_due("reason") for _ in range(100)) == EACH_KIND.burst
    assert not budget.left_out


def test_kinds_without_number_take_no_memory_and_share_one_budget(budget, caplog):
    said = sum(budget.allows(f"kind {number}", ours=True) for number in range(20_000))
    assert said == 10_000 + EACH_KIND.burst
    assert len(budget._kinds) <= 10_001
    budget.tell(at_once=True)
    assert len(caplog.messages[0]) < 1_000


STEPS = st.lists(
    st.tuples(
        st.floats(0, 3) | st.just(0.0),  # seconds that pass
        st.sampled_from(["clock", "silent", "poison", "gap"]),
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.integers(1, 30),  # times
    ),
    max_size=60,
)


@given(STEPS)
def test_lines_are_bounded_and_every_line_is_said_or_told_as_left_out(steps):
    clock, lines, asked = Clock(), [], Counter()
    budget = LogBudget(clock)
    for seconds, kind, of, ours, times in steps:
        clock.now += seconds
        for _ in range(times):
            asked[kind] += 1
            if budget.allows(kind, of, ours=ours):
                lines.append((clock.now, kind, of, ours))
            elif asked[kind] == 1:
                assert not ours
    said = Counter(kind for _, kind, _, _ in lines)
    assert said + budget.left_out == asked
    for at, kind, of, _ in lines:
        same = [each for each, *key, _ in lines if key == [kind, of] and at <= each]
        for number, each in enumerate(same, start=1):
            assert number <= EACH_KIND.burst + (each - at) / EACH_KIND.seconds + 1e-3
        theirs = [each for each, *_, ours in lines if not ours and at <= each < at + 1.0]
        assert len(theirs) <= ALL_KINDS.burst + 1 / ALL_KINDS.seconds <= MOST_A_SECOND
