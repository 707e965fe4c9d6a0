"""Who is alive, and what holds now, by the view that `ddl` prints over the landed table."""

from __future__ import annotations

import pytest
from support.latest import asked, said_now

from end_to_end.gateway import MEASURED_MS, Gateway, metric, now_ms
from end_to_end.world import world

HOUR_MS = 3_600_000
CLOCKS = {"ahead": HOUR_MS, "behind": -HOUR_MS, "equal": 0}
ALIVE = {"Level": ("GOOD", 1.5), "Pump/Power": ("GOOD", 2.5)}
DEAD = dict.fromkeys(ALIVE, ("STALE", None))


class Plant:
    """One edge node with a device, whose clock says `at_ms`, or is so much ahead of ours."""

    def __init__(self, system, group: str, ahead_ms: int = 0, at_ms: int | None = None) -> None:
        self.gateway = Gateway(system.publish, group)
        self._ahead_ms, self._at_ms = ahead_ms, at_ms

    def value(self, name: str, number: float, **more):
        """A value that is measured, and a message that is sent, now by the node's clock."""
        at_ms = now_ms() + self._ahead_ms if self._at_ms is None else self._at_ms
        self.gateway.sent_ms = at_ms
        return metric(name, value=number, **{"timestamp": at_ms, **more})

    def born(self, level=1.5, power=2.5, **more) -> None:
        self.gateway.born(self.value("Level", level, **more))
        self.gateway.device_born("Pump", self.value("Power", power, **more))

    def dies(self) -> None:
        self.gateway.died()


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """The table after all of it, with all that was sent twice because of a kill."""
    with world(tmp_path_factory.mktemp("latest")) as system:
        system.consumer.start_ready()
        system.zerobus.faults.acks.drop()  # what lands is sent once more after the kill
        for clock, ahead_ms in CLOCKS.items():
            for end in ("dead", "alive"):
                plant = Plant(system, f"{clock} {end}", ahead_ms)
                plant.born()
                plant.dies()
                if end == "alive":  # at once: within the same millisecond, or the next
                    plant.born()
        booted = Plant(system, "no clock", at_ms=5_000)
        for _ in range(3):
            booted.born()
            booted.dies()
        booted.born()

        early = Plant(system, "held")
        early.gateway.born(early.value("Level", 1.5))
        early.gateway.data(early.value("Power", 1.0), device="Pump")
        early.gateway.device_born("Pump", early.value("Power", 2.5, timestamp=now_ms() + 1_000))

        flushed = Plant(system, "history")
        flushed.born(timestamp=MEASURED_MS)
        flushed.dies()
        flushed.born(timestamp=MEASURED_MS)
        for number, at_ms in ((1.5, MEASURED_MS), (7.0, MEASURED_MS + 1)):
            old = flushed.value("Level", number, timestamp=at_ms, is_historical=True)
            flushed.gateway.data(old)
        system.consumer.wait_for(
            lambda: system.consumer.status()["rows_produced"] == 55, "all of it in the spool"
        )
        system.table.wait_for(20)
        system.consumer.kill()
        system.zerobus.faults.clear()
        system.consumer.start_ready()
        system.consumer.wait_delivered()
        rows = system.table.read()
        assert system.consumer.stop() == 0
    assert len(rows) > len(set(rows["arrival_number"].to_pylist()))
    return rows


def of(rows, group):
    return said_now(rows, f"group_id = '{group}'")


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_dead_node_is_dead_and_one_that_came_back_is_alive(landed, clock):
    assert of(landed, f"{clock} dead") == DEAD
    assert of(landed, f"{clock} alive") == ALIVE


def test_a_node_without_a_clock_that_begins_at_the_same_time_at_every_start_is_alive(landed):
    assert of(landed, "no clock") == ALIVE
    query = "SELECT count(*), count(DISTINCT event_id) FROM tag_events WHERE group_id = 'no clock'"
    [(rows, distinct)] = asked(landed, f"{query} AND quality = 'GOOD'")
    assert rows >= 8 > distinct == 2


def test_what_was_held_is_behind_its_birth_and_not_the_latest(landed):
    assert of(landed, "held") == ALIVE
    query = (
        "SELECT DISTINCT numeric_value, is_historical FROM tag_events "
        "WHERE group_id = 'held' AND device_id = 'Pump' ORDER BY ALL"
    )
    assert asked(landed, query) == [(1.0, True), (2.5, False)]


def test_history_that_repeats_a_value_changes_nothing(landed):
    assert of(landed, "history") == ALIVE
    query = (
        "SELECT numeric_value, is_historical FROM tag_events_deduplicated "
        "WHERE group_id = 'history' AND metric_name = 'Level' AND quality = 'GOOD' ORDER BY ALL"
    )
    assert asked(landed, query) == [(1.5, False), (7.0, True)]


def test_no_value_has_another_time_than_its_own(landed):
    query = "SELECT DISTINCT epoch_ms(event_time) FROM tag_events WHERE quality = 'GOOD' AND "
    assert asked(landed, f"{query} group_id = 'no clock'") == [(5_000,)]
    assert asked(landed, f"{query} group_id = 'history' AND numeric_value < 7") == [(MEASURED_MS,)]
