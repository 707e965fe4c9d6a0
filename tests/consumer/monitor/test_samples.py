"""Samples of what flows: rates are of the time between two looks, latencies of what came in it."""

import pytest
from support.clock import Clock
from support.unconnected import unconnected

from consumer.monitor.samples import MOST_SAMPLES, Samples


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path) as consumer:
        yield consumer


def test_rates_are_of_the_time_between_two_looks(consumer):
    clock = Clock()
    samples = Samples(consumer, clock)
    samples.look()
    assert samples.last is None
    consumer.telemetry.add_received("plant", 100, 1)
    consumer.telemetry.add_decoded("plant", 1_000, 0.1)
    clock.now += 2.0
    samples.look()
    last = samples.last
    assert (last.messages_per_second, last.rows_per_second) == (50.0, 500.0)
    assert (samples.flows["plant"].messages, samples.flows["plant"].rows) == (50.0, 500.0)
    assert last.latency_p50_seconds is None
    clock.now += 1.0
    samples.look()
    assert samples.last.messages_per_second == 0.0


def test_latencies_are_of_what_was_acknowledged_meanwhile(consumer):
    clock = Clock()
    samples = Samples(consumer, clock)
    consumer.telemetry.add_acknowledged(3_000.0)  # long before
    samples.look()
    for _ in range(98):
        consumer.telemetry.add_acknowledged(0.12)
    for _ in range(2):
        consumer.telemetry.add_acknowledged(4.0)
    clock.now += 1.0
    samples.look()
    assert 0.1 <= samples.last.latency_p50_seconds <= 0.15
    assert 2.5 <= samples.last.latency_p99_seconds <= 5.0
    clock.now += 1.0
    samples.look()
    assert samples.last.latency_p50_seconds is None


def test_what_is_beyond_all_buckets_is_the_last_bound(consumer):
    clock = Clock()
    samples = Samples(consumer, clock)
    samples.look()
    consumer.telemetry.add_acknowledged(1e6)
    clock.now += 1.0
    samples.look()
    assert samples.last.latency_p99_seconds == 86_400.0


def test_no_more_are_kept_than_fifteen_minutes(consumer):
    clock = Clock()
    samples = Samples(consumer, clock)
    for _ in range(MOST_SAMPLES + 10):
        samples.look()
        clock.now += 1.0
    columns = samples.columns()
    assert len(columns["time_ms"]) == len(columns["rows_waiting"]) == MOST_SAMPLES
