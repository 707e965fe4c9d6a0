"""The latest value of a tag is GOOD again after a death, a birth, and rows that came twice."""

from __future__ import annotations

import duckdb

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import world

LATEST = """
    SELECT metric_name, quality, numeric_value FROM (
        SELECT * FROM events
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY arrival_number) = 1
    )
    QUALIFY row_number() OVER (
        PARTITION BY tag_path ORDER BY event_time DESC, arrival_number DESC
    ) = 1
    ORDER BY metric_name
"""


def latest(system):
    events = system.table.read()
    with duckdb.connect() as database:
        database.register("events", events)
        return database.sql(LATEST).fetchall()


def test_the_latest_value_is_good_after_death_birth_replay_and_de_duplication(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        values = metric("Level", value=1.5), metric("Flow", value=2.5)
        gateway.born(*values)
        gateway.data(metric("Level", value=1.75, timestamp=MEASURED_MS + 1))
        gateway.died()
        system.table.wait_for(5)
        assert [quality for _, quality, _ in latest(system)] == ["STALE", "STALE"]

        # What lands from here on is not acknowledged, and sent once more after the crash.
        system.zerobus.faults.drop_acks()
        # A birth that repeats what was true before the death, with its old times, published
        # after it.
        gateway.sent_ms = system.table.rows(quality="STALE")[0]["event_time"].timestamp() * 1000
        gateway.sent_ms = int(gateway.sent_ms) + 5
        gateway.born(metric("Level", value=1.75, timestamp=MEASURED_MS + 1), values[1])
        system.table.wait_for(7)
        system.consumer.kill()
        system.zerobus.faults.clear()
        system.consumer.start_ready()
        system.consumer.wait_delivered()

        ids = system.table.event_ids()
        assert len(ids) > len(set(ids)) == 7
        assert latest(system) == [("Flow", "GOOD", 2.5), ("Level", "GOOD", 1.75)]
        assert system.consumer.stop() == 0
