"""Numbers are declared once, and read when somebody asks."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.columnar import message, tag
from support.unconnected import unconnected

from consumer.broker import InboxBatch
from consumer.monitor import Counter, Gauge, Numbers, add_metrics, expose, status_of
from consumer.monitor.snapshot import Snapshot
from sparkplug import MessageBatch

BIRTH = InboxBatch({0: MessageBatch([message("NBIRTH", tag("Ramp", 0))])})


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path) as consumer:
        add_metrics(consumer)
        yield consumer


def sample(registry, name, **labels):
    return registry.get_sample_value(f"sparkplug_zerobus_{name}", labels)


def exposed(*tables, source=None):
    registry = CollectorRegistry()
    expose(registry, tables, lambda: source)
    return registry


def test_a_number_is_read_when_it_is_asked_for():
    depths = [1.0]
    registry = exposed(
        Numbers(
            lambda depths: {(): depths},
            {
                "queued_bytes": Gauge("bytes waiting", lambda it: it[-1]),
                "rows_sent": Counter("rows sent", sum),
            },
        ),
        source=depths,
    )
    assert sample(registry, "queued_bytes") == 1.0
    depths.append(7.0)
    assert sample(registry, "queued_bytes") == 7.0
    assert sample(registry, "rows_sent_total") == 8.0


def test_parts_are_told_apart_by_their_labels_and_those_of_the_number():
    registry = exposed(
        Numbers(
            lambda _: {("a",): {"x": 1, "y": 2}, ("b",): {}},
            {
                "sizes": Gauge("sizes", lambda it: it, label="kind"),
                "size": Gauge("size", len),
            },
            ("table",),
        )
    )
    assert sample(registry, "sizes", table="a", kind="y") == 2
    assert sample(registry, "size", table="a") == 2
    assert sample(registry, "size", table="b") == 0


def test_what_is_not_there_is_not_exposed():
    numbers = Numbers(
        lambda parts: parts,
        {
            "size": Gauge("size", len),
        },
        ("table",),
    )
    assert not generate_latest(exposed(numbers))
    assert generate_latest(exposed(numbers, source={}))


def test_all_numbers_of_a_scrape_are_of_one_source():
    looks = []
    registry = CollectorRegistry()
    rows = {
        "first": Gauge("first", len),
        "second": Gauge("second", len),
    }
    numbers = Numbers(lambda source: {(): source}, rows)
    expose(registry, [numbers, numbers], lambda: looks.append(None) or looks.copy())
    generate_latest(registry)
    assert len(looks) == 1


def test_a_snapshot_is_of_one_moment(consumer):
    before = Snapshot(consumer)
    assert before.spool.rows == 0
    assert before.rows == {}
    consumer.decoding._take(BIRTH)
    assert before.spool.rows == 0
    assert before.rows == {}
    assert Snapshot(consumer).spool.rows == 1


def test_a_spool_that_cannot_be_read_takes_only_its_own_numbers_away(consumer):
    consumer.decoding._take(BIRTH)
    consumer.watch.look()
    whole = generate_latest(consumer.telemetry.registry).decode()
    assert "ledger_rows{" in whole
    consumer.spool.close()
    text = generate_latest(consumer.telemetry.registry).decode()
    assert "ledger_" not in text
    assert "dead_letter_kind_bytes" not in text
    assert sample(consumer.telemetry.registry, "edge_nodes") == 1
    assert sample(consumer.telemetry.registry, "spool_bytes") > 0
    status = status_of(consumer)
    assert status["spool"]["used_bytes"] > 0
    assert status["ledger"]["error"].endswith("is closed")


def test_lines_that_the_log_has_not_are_counted_by_kind(consumer):
    for _ in range(12):
        consumer.telemetry.log_budget.allows("clock", "a")
    assert sample(consumer.telemetry.registry, "log_lines_left_out_total", kind="clock") == 2


def test_a_pause_shows_while_it_is_on(consumer):
    delivery, registry = consumer.main_delivery, consumer.telemetry.registry
    table = delivery.table
    assert sample(registry, "delivery_paused", table=table) == 0
    delivery.pause(60.0, "on-call", "migration")
    assert sample(registry, "delivery_paused", table=table) == 1
    delivery.resume()
    assert sample(registry, "delivery_paused", table=table) == 0


def test_each_server_says_whether_it_is_connected(consumer):
    [connection] = consumer.connections
    assert sample(consumer.telemetry.registry, "server_connected", server="plant") == 0
    connection.connected.set()
    assert sample(consumer.telemetry.registry, "server_connected", server="plant") == 1
    assert status_of(consumer)["servers"][0]["connected"] is True


def test_a_start_shows_by_its_time(consumer, tmp_path):
    begun = sample(consumer.telemetry.registry, "start_timestamp_seconds")
    with unconnected(tmp_path / "later") as later:
        add_metrics(later)
        assert begun < sample(later.telemetry.registry, "start_timestamp_seconds") <= time.time()
