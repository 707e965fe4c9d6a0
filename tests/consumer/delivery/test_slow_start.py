"""Rows that are sent one call at a time."""

from __future__ import annotations

from consumer.delivery.slow_start import HANDFUL, SlowStart


def test_calls_wait_for_each_other_until_as_many_rows_got_through_as_were_lost():
    slow = SlowStart()
    slow.begin(1000)
    assert (slow.is_active, slow.step) == (True, 1000)
    slow.passed(999)
    assert slow.is_active
    slow.passed(1)
    assert not slow.is_active


def test_a_probe_begins_with_a_handful_and_takes_twice_as_many_each_time():
    slow = SlowStart()
    slow.begin(1000)
    slow.probe()
    steps = []
    for _ in range(3):
        steps.append(slow.step)
        slow.passed(slow.step)
    assert steps == [HANDFUL, 2 * HANDFUL, 4 * HANDFUL]


def test_whatever_is_acknowledged_afterwards_changes_nothing():
    slow = SlowStart()
    slow.begin(1000)
    for _ in range(10_000):
        slow.passed(1000)
    assert slow.step <= 2000
