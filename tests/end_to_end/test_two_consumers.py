"""Two consumers on one plant, each with a host id of its own, land every observation."""

from __future__ import annotations

from collections import Counter

import duckdb
import pytest
from support.services import PATIENCE, wait_until

from consumer.setup.ddl import deduplicated_view
from end_to_end.consumer_process import configuration, consumer
from end_to_end.under_load import fleet_for, known_ids, wait_for_load, wait_quiet
from end_to_end.world import world


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """The table, and what was published, after one of two consumers was killed and came back."""
    directory = tmp_path_factory.mktemp("two")
    # Who landed a row is told by its source; the id of an observation does not depend on that.
    # Only one of them may gate.
    with world(
        directory / "first",
        servers={"source_system_id": "first"},
        host={"gate_on_sink": True},
    ) as system:
        other = configuration(
            directory / "second",
            system.server.url,
            system.zerobus,
            host={"id": "historian-2"},
            servers={"source_system_id": "second"},
        )
        with consumer(directory / "second", other) as second:
            system.consumer.start_ready()
            second.start_ready()
            with fleet_for(system) as fleet:
                assert fleet.wait_online(PATIENCE)
                wait_for_load(system, fleet, 2_000, second)
                second.kill()
                wait_for_load(system, fleet, 2_000)
                second.start_ready()
                wait_for_load(system, fleet, 2_000, second)
                wait_quiet(fleet)
                ledger = fleet.ledger

                def has_all() -> bool:
                    rows = system.table.read()
                    first = set(ids(rows, "first"))
                    return not ledger.missing(first) and set(ids(rows, "second")) <= first

                # What the second says is said to the first at the same time, but not landed.
                second.wait_delivered()
                wait_until(has_all, what="all landed by the first")
                system.consumer.wait_delivered()
                published = known_ids(fleet)
            # Who waits for the first host sees it go: what the second lands of that is its own.
            rows = system.table.read()
            assert second.stop() == 0
            assert system.consumer.stop() == 0
    return rows, ledger, published


def ids(rows, source):
    """The event_ids of what edge nodes said, as one consumer landed them."""
    return Counter(
        row["event_id"]
        for row in rows.select(["event_id", "source_system_id", "message_type"]).to_pylist()
        if row["source_system_id"] == source and row["message_type"] not in ("NDEATH", "DDEATH")
    )


def test_together_they_miss_nothing_and_make_nothing_up(landed):
    rows, ledger, published = landed
    both = set(ids(rows, "first") + ids(rows, "second"))
    assert not ledger.missing(both)
    assert both <= published


def test_the_one_that_stayed_landed_everything_by_itself(landed):
    rows, ledger, _ = landed
    assert not ledger.missing(set(ids(rows, "first")))


def test_an_observation_has_the_same_id_whoever_lands_it(landed):
    rows, _, _ = landed
    first, second = set(ids(rows, "first")), set(ids(rows, "second"))
    # All but what the second missed while it was away.
    assert len(first & second) > 3_000
    assert len(first - second) > 500
    assert second <= first


def test_the_view_of_ddl_shows_each_observation_once(landed):
    rows, _, _ = landed
    with duckdb.connect() as database:
        database.execute("ATTACH ':memory:' AS plant; CREATE SCHEMA plant.scada")
        database.register("landed", rows)
        database.execute("CREATE TABLE plant.scada.tag_events AS SELECT * FROM landed")
        database.execute(deduplicated_view("plant.scada.tag_events").replace("`", '"'))
        view = database.table("plant.scada.tag_events_deduplicated")
        seen = view.project("event_id").fetchall()
    counted = Counter(event_id for (event_id,) in seen)
    assert set(counted.values()) == {1}
    assert set(counted) == set(rows["event_id"].to_pylist())
    assert len(counted) < len(rows)
