"""The side tables, from MQTT to Delta: events of edge nodes, and what births say of tags."""

from __future__ import annotations

import contextlib
import sqlite3

import duckdb
import pytest
from support.services import wait_until

from consumer.setup import latest_events
from end_to_end.consumer_process import TABLE
from end_to_end.gateway import Gateway, metric, now_ms
from end_to_end.side_world import EVENTS, METADATA, SIDE_TABLES, landed, side_world, told
from end_to_end.world import world


@pytest.fixture
def system(tmp_path):
    with side_world(tmp_path) as running:
        running.consumer.start_ready()
        yield running


@pytest.fixture
def events(tmp_path):
    return landed(tmp_path, EVENTS)


def test_births_and_deaths_are_events_in_their_order(system, events):
    gateway = Gateway(system.publish, "Plant")
    before_us = now_ms() * 1000
    gateway.born(metric("Level"))
    gateway.device_born("Pump", metric("Speed"))
    gateway.data(metric("Level", value=2.0))
    gateway.device_died("Pump")
    gateway.died()
    rows = events.wait_for(4)
    assert told(rows, "event_type", "device_id", "seq", "bd_seq") == [
        ("node_birth", None, 0, 0),
        ("device_birth", "Pump", 1, None),
        ("device_death", "Pump", 3, None),
        ("node_death", None, None, 0),
    ]
    for row in rows:
        assert (row["group_id"], row["edge_node_id"]) == ("Plant", "Edge")
        assert (row["source_system_id"], row["server"]) == ("Plant/Edge", "plant-a")
        assert before_us <= row["event_time"].timestamp() * 1e6 <= now_ms() * 1000 + 1000
        assert not row["missing_is_modulo_256"]
    assert len({row["event_id"] for row in rows}) == 4


def test_a_rebirth_request_is_an_event_with_its_reason(system, events):
    gateway = Gateway(system.publish, "Plant")
    gateway.data(metric("Level"))
    (row,) = events.wait_for(1, event_type="rebirth_request")
    assert told([row], "reason", "group_id", "edge_node_id") == [
        ("data_before_birth", "Plant", "Edge")
    ]
    assert system.consumer.status()["rebirths_requested"] == 1


def test_a_message_that_cannot_be_read_is_an_event_without_its_content(system, events):
    gateway = Gateway(system.publish, "Plant")
    gateway.born(metric("Level"))
    system.publish(gateway.topic("NDATA"), b"\xff secret of the plant")
    (row,) = events.wait_for(1, event_type="quarantine")
    assert told([row], "reason", "group_id", "edge_node_id", "detail") == [
        ("bad_payload", "Plant", "Edge", "21 bytes on spBv1.0/Plant/NDATA/Edge")
    ]


def test_a_gap_is_told_when_it_is_found_and_again_when_it_has_ended(tmp_path):
    with side_world(tmp_path, host={"id": "historian", "reorder_timeout": 0}) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Level"))
        gateway.skip_seq()
        gateway.skip_seq()
        gateway.data(metric("Level", value=2.0))
        events = landed(tmp_path, EVENTS)
        (found,) = events.wait_for(1, event_type="gap")
        gateway.sent_ms += 10
        gateway.born(metric("Level"))
        first, last = events.wait_for(2, event_type="gap")
        assert first == found
        assert first["event_id"] == last["event_id"]
        assert (
            told([first, last], "seq", "missing_messages", "missing_is_modulo_256")
            == [(1, 2, True)] * 2
        )
        assert told([first, last], "healing") == [("open",), ("rebirth_snapshot",)]
        with duckdb.connect() as database:
            database.register("events", events.read())
            view = database.sql(latest_events("events")).to_arrow_table().to_pylist()
        assert told([row for row in view if row["event_type"] == "gap"], "healing") == [
            ("rebirth_snapshot",)
        ]


def test_rows_of_all_tables_are_committed_together_and_survive_a_crash(tmp_path):
    with side_world(tmp_path) as system:
        system.consumer.start_ready()
        system.zerobus.faults.acks.drop()
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.consumer.wait_for(
            lambda: system.consumer.status()["spooled_rows"] == 1, "a spooled row"
        )
        system.consumer.kill()
        with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as spool:
            spooled = dict(
                spool.execute("SELECT table_name, sum(row_count) FROM batches GROUP BY 1")
            )
        assert spooled == {"main.plant.tag_events": 1, EVENTS: 1, METADATA: 1}
        system.zerobus.faults.clear()
        system.consumer.start_ready()
        for name in SIDE_TABLES:
            landed(tmp_path, name).wait_for(1)
        assert system.consumer.stop() == 0


def test_side_tables_are_off_unless_they_have_a_name(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.table.wait_for(1)
        assert system.consumer.status()["side_tables"] == []
        assert "sparkplug_zerobus_side_spooled_rows" not in system.consumer.get("/metrics").text
        assert system.zerobus.counters().streams_opened == 1


def test_a_side_table_that_is_not_there_is_named_and_holds_up_nothing_else(tmp_path):
    with side_world(tmp_path, create=[METADATA]) as system:
        system.consumer.start()
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.consumer.wait_for_log("delivery to main.plant.sparkplug_events failed")
        system.consumer.wait_for_log("connected to")
        gateway = Gateway(system.publish, "Plant 2")
        gateway.born(metric("Level"))
        system.table.wait_for(1, group_id="Plant 2")
        system.consumer.wait_for(
            lambda: system.consumer.get("/readyz").json().get("not_open") == [EVENTS], "all others"
        )
        assert system.consumer.get("/readyz").status_code == 503
        side = {each["table"]: each for each in system.consumer.status()["side_tables"]}
        assert side[EVENTS]["spooled_rows"] == side[EVENTS]["rows_produced"] > 0
        assert side[EVENTS]["stream_state"] == "BLOCKED"
        assert side[METADATA]["stream_state"] == "OPENED"
        label = f'{{table="{EVENTS}"}}'
        metric_of = system.consumer.metric
        assert metric_of(f"sparkplug_zerobus_side_stream_open{label}") == 0
        assert metric_of(f"sparkplug_zerobus_side_spooled_rows{label}") > 0
        assert metric_of(f"sparkplug_zerobus_side_delivery_failures_total{label}") > 0
        assert metric_of(f"sparkplug_zerobus_side_rows_produced_total{label}") > 0


def waiting(system):
    """How many rows of each table are in the spool."""
    status = system.consumer.status()
    side = {each["table"]: each["spooled_rows"] for each in status["side_tables"]}
    return {TABLE: status["spooled_rows"]} | side


def test_rows_of_a_side_table_that_remain_are_told_at_the_end(tmp_path):
    changes = {"shutdown_timeout": "0.2s"}
    with side_world(tmp_path, create=[METADATA], **changes) as system:
        system.consumer.start()
        system.consumer.wait_for_log("connected to")
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.table.wait_for(1)
        wait_until(lambda: waiting(system) == {TABLE: 0, EVENTS: 1, METADATA: 0}, what="the rest")
        assert system.consumer.stop() == 0
        assert "1 rows remain in the spool" in system.consumer.log()
