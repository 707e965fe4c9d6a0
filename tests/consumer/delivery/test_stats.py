"""What a stream has told stays as it was, whatever its thread goes on to write."""

from dataclasses import fields

import pytest

from consumer.delivery import DeliveryOptions, DeliveryStats, StreamState
from consumer.delivery.health import StreamHealth
from consumer.errors import FailureKind, SinkFailure


@pytest.fixture
def stats():
    return DeliveryStats()


@pytest.fixture
def health(stats):
    options = DeliveryOptions()
    return StreamHealth("table", "table", options, lambda: 0.0, lambda: 0.5, stats=stats)


def test_a_copy_has_every_field(stats):
    for number, field in enumerate(fields(stats)):
        setattr(stats, field.name, number)
    copy = stats.copy()
    assert [getattr(copy, field.name) for field in fields(copy)] == list(range(len(fields(copy))))


def test_a_failure_changes_no_copy_that_was_made_before(stats, health):
    health.opened(1, rows_wait=True)
    health.failed(SinkFailure(FailureKind.RETRIABLE, "gone"))
    before = stats.copy()
    health.failed(SinkFailure(FailureKind.RETRIABLE, "gone"))
    health.failed(SinkFailure(FailureKind.CONTRACT, "no such column"))
    assert (before.failures, before.failures_by_kind) == (1, {FailureKind.RETRIABLE: 1})
    assert (before.state, before.cause) == (StreamState.BACKING_OFF, "gone")
    assert stats.failures == 3
    assert stats.failures_by_kind == {FailureKind.RETRIABLE: 2, FailureKind.CONTRACT: 1}
    assert (stats.state, stats.cause) == (StreamState.BLOCKED, "no such column")


def test_every_stream_after_the_first_is_a_reconnect_and_has_no_acknowledgement_yet(stats, health):
    health.opened(7, rows_wait=False)
    assert (stats.generation, stats.reconnects) == (7, 0)
    stats.last_acked_offset = 12
    health.opened(9, rows_wait=False)
    assert (stats.generation, stats.reconnects, stats.last_acked_offset) == (9, 1, -1)
