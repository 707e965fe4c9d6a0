"""Told to stop, the consumer loses nothing: acknowledged, or spooled and sent by the next run."""

from __future__ import annotations

import math
import re
import signal
import time

import pytest
from support.arrival_numbers import counted
from support.services import PATIENCE, PROMPT, wait_until

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.under_load import assert_nothing_lost, fleet_for, known_ids, wait_for_load
from end_to_end.world import world


def remaining(process):
    """How many rows the log says remain."""
    [count] = re.findall(r" (\d+) rows remain in the spool", process.log())
    return int(count)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stop_under_load_loses_nothing_and_the_next_run_goes_on(tmp_path, number, code):
    # Longer than acknowledgements take: they are what it waits for, not the end of this time.
    with world(tmp_path, shutdown_timeout="10m") as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            wait_for_load(system, fleet)
            assert system.consumer.stop(number) == code
            assert remaining(system.consumer) == 0
            landed = system.table.ids_of_values()
            wait_until(lambda: landed <= known_ids(fleet), what="notes of all that was published")

            system.consumer.start_ready()
            assert_nothing_lost(system, fleet)


def test_a_stop_waits_for_acknowledgements_that_are_slow(tmp_path):
    with world(tmp_path, shutdown_timeout=f"{PATIENCE}s") as system:
        system.consumer.start_ready()
        system.zerobus.faults.delay_acks(1.5)
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Level", value=0.0))
        # One call is on its way already when these come.
        system.table.wait_for(1)
        gateway.data(metric("Level", value=1.0, timestamp=MEASURED_MS + 1))
        assert system.consumer.stop() == 0
        assert remaining(system.consumer) == 0
        assert len(system.table.rows()) == 2


def test_rows_that_are_not_acknowledged_in_time_stay_and_the_next_run_sends_them_first(tmp_path):
    with world(tmp_path, shutdown_timeout="1s") as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            system.zerobus.faults.delay_commits(math.inf)
            system.consumer.wait_for(
                lambda: system.consumer.status()["spooled_rows"] > 1_500, "spooled rows"
            )
            started = time.monotonic()
            assert system.consumer.stop(timeout=PROMPT) == 0
            assert time.monotonic() - started >= 1.0
            assert "Traceback" not in system.consumer.log()
            left = remaining(system.consumer)
            assert left > 1_000
            first_run = set(system.table.event_ids())

            system.zerobus.faults.clear()
            system.consumer.start()
            system.consumer.wait_for_log(f"{left} rows of an earlier run are spooled and go first")
            assert_nothing_lost(system, fleet)
            assert first_run <= set(system.table.event_ids())


def test_a_stop_while_zerobus_is_away_takes_the_shutdown_timeout_and_keeps_everything(tmp_path):
    with world(tmp_path, shutdown_timeout="1s") as system:
        # Accepts connections and never answers: the most that a stop has to wait for.
        system.zerobus.faults.delay_creation(math.inf)
        system.consumer.start()
        system.consumer.wait_for_log("connected to plant-a")
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Level", value=0.0))
        for number in range(1, 100):
            gateway.data(metric("Level", value=float(number), timestamp=MEASURED_MS + number))
        system.consumer.wait_for(lambda: system.consumer.status()["spooled_rows"] == 100, "spooled")
        started = time.monotonic()
        assert system.consumer.stop(timeout=PROMPT) == 0
        assert time.monotonic() - started >= 1.0
        assert remaining(system.consumer) == 100
        assert "Traceback" not in system.consumer.log()
        assert system.table.rows() == []

        system.zerobus.faults.clear()
        system.consumer.start_ready()
        gateway.born(metric("Level", value=100.0, timestamp=MEASURED_MS + 100))
        rows = system.table.wait_for(101)
        assert [row["numeric_value"] for row in rows] == [float(number) for number in range(101)]
        numbers = [row["arrival_number"] for row in rows]
        assert counted(numbers, tmp_path / "spool.db") == list(range(1, 102))


def test_a_crash_loses_nothing_that_was_spooled(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            wait_for_load(system, fleet)
            system.consumer.kill()
            system.consumer.start_ready()
            assert_nothing_lost(system, fleet)
