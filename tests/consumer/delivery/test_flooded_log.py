"""Whoever makes rows that are refused, one after the other, does not fill the log with them."""

from __future__ import annotations

import logging

import pytest
from support.clock import Clock

from consumer.delivery import DeliveryOptions, DeliveryStats
from consumer.delivery.health import StreamHealth
from consumer.errors import FailureKind, SinkFailure
from consumer.log_budget import EACH_KIND, LogBudget

TABLE = "main.ot.tag_events"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return LogBudget(clock)


@pytest.fixture
def health(clock, budget):
    options = DeliveryOptions(log_budget=budget)
    return StreamHealth(TABLE, TABLE, options, clock, lambda: 0.5, stats=DeliveryStats())


def texts(caplog, words):
    return [text for text in caplog.messages if words in text]


def test_each_refused_row_of_many_costs_some_streams_and_no_line(health, budget, clock, caplog):
    caplog.set_level(logging.INFO)
    for number in range(200):
        for _ in range(10):  # the search
            health.opened(number, rows_wait=True)
            health.warn("search", "a record is refused, and searched: %s", "no")
            clock.now += 0.01
        health.warn("poison", "row %d of batch 1 is refused, kept as a dead letter: no", number)
        health.progressed()
    # 20 seconds have passed.
    for words, kind, times in (
        ("opened (gen", "opened", 2_000),
        ("is refused, kept", "poison", 200),
        ("and searched", "search", 200),
    ):
        said = len(texts(caplog, words))
        assert EACH_KIND.burst <= said <= EACH_KIND.burst + 2
        assert said + budget.left_out[f"delivery_{kind}"] == times


def test_oversized_rows_one_after_the_other_are_some_lines(health, budget, caplog):
    for number in range(100):
        health.warn("set_aside", "row %d of batch 1: the record has 11000000 bytes", number)
        health.progressed()
    assert len(caplog.messages) == EACH_KIND.burst
    assert budget.left_out == {"delivery_set_aside": 90}


def test_a_flood_of_refused_rows_does_not_silence_what_blocks_the_stream(health, budget, caplog):
    for kind in range(100):
        for _ in range(100):
            budget.allows(f"flood {kind}")
    health.failed(SinkFailure(FailureKind.CONTRACT, "no such column"))
    assert len(texts(caplog, "no such column")) == 1


def test_a_service_that_breaks_every_stream_at_once_makes_no_line_for_each(health, budget, caplog):
    caplog.set_level(logging.INFO)
    for number in range(100):
        health.opened(number, rows_wait=True)
        health.failed(SinkFailure(FailureKind.RETRIABLE, "gone"))
        health.progressed()
    assert len(caplog.messages) == 3 * EACH_KIND.burst
    assert budget.left_out.total() == 270
