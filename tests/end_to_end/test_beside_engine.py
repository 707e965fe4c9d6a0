"""A consumer beside another host, which gateways wait for: what docs/engine-side-by-side.md says.

A second consumer plays MQTT Engine: a host application with an id of its own, named by all
gateways as their primary host. The gateways are simulated.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.program import run
from support.services import PATIENCE, wait_until

from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget, Published
from end_to_end.consumer_process import ConsumerProcess, configuration, consumer
from end_to_end.under_load import known_ids, wait_for_load, wait_quiet
from end_to_end.world import World, world

if TYPE_CHECKING:
    from pathlib import Path

OURS, ENGINE = "historian", "engine"
GATEWAYS = 2


@dataclass
class Plant:
    system: World
    engine: ConsumerProcess
    fleet: Gateways

    def states(self, host: str) -> list[bool]:
        """What was said of a host, without what was said twice."""
        said: list[bool] = []
        for each in self.system.client.arrivals:
            if each.topic == f"spBv1.0/STATE/{host}" and each.payload:
                online = json.loads(each.payload)["online"]
                if [online] != said[-1:]:
                    said.append(online)
        return said

    def wait_for_states(self, host: str, *online: bool) -> None:
        wait_until(lambda: len(self.states(host)) >= len(online), what=f"STATE {online}")
        assert self.states(host) == list(online)

    def wait_for_engine(self, values: int = 2_000) -> None:
        """Wait until so many more values were published, and as many landed by Engine."""
        goal = self.engine.status()["rows_acked"] + values
        published = self.fleet.published + values
        wait_until(lambda: self.fleet.published >= published, what=f"{values} values published")
        self.engine.wait_for(lambda: self.engine.status()["rows_acked"] >= goal, "rows landed")

    def missing(self, host: str) -> set[str]:
        """What was published and has not been landed by a host."""
        rows = self.system.table.rows(source_system_id=host)
        return self.fleet.ledger.missing({row["event_id"] for row in rows})

    def wait_until_all_landed(self, *hosts: str) -> None:
        wait_quiet(self.fleet)
        for host in hosts:
            wait_until(lambda each=host: not self.missing(each), what=f"all landed by {host}")
        made_up = set(self.system.table.ids_of_values()) - known_ids(self.fleet)
        assert not made_up


@contextlib.contextmanager
def plant(directory: Path):
    """Everything but the start of the consumers; the gateways wait for Engine."""
    with world(directory / "ours", servers={"source_system_id": OURS}) as system:
        other = configuration(
            directory / "engine",
            system.server.url,
            system.zerobus,
            host={"id": ENGINE},
            servers={"source_system_id": ENGINE},
        )
        options = EdgeNodeOptions(primary_host_id=ENGINE, rolling_history_ms=20_000)
        target = MqttTarget(system.server.url)
        fleet = Gateways(target, GATEWAYS, 1_000.0, options=options, ledger=Published())
        with consumer(directory / "engine", other) as engine:
            fleet.start()
            try:
                yield Plant(system, engine, fleet)
            finally:
                assert fleet.stop(PATIENCE)


@pytest.fixture(scope="module")
def comings_and_goings(tmp_path_factory):
    """The plant after our consumer came first, was stopped, killed, in a drill, and back each time.

    Engine came second and stayed.
    """
    with plant(tmp_path_factory.mktemp("beside")) as found:
        ours = found.system.consumer
        ours.start_ready()
        found.wait_for_states(OURS, True)
        wait_until(lambda: found.fleet.connected == GATEWAYS, what="gateways that wait")
        assert (found.fleet.online, found.system.client.count("NBIRTH")) == (0, 0)

        found.engine.start_ready()
        assert found.fleet.wait_online(PATIENCE)
        wait_for_load(found.system, found.fleet, 2_000, found.engine)
        assert ours.stop() == 0
        found.wait_for_states(OURS, True, False)
        found.wait_for_engine()
        ours.start_ready()
        wait_for_load(found.system, found.fleet, 2_000, found.engine)
        ours.kill()
        found.wait_for_states(OURS, True, False, True, False)
        found.wait_for_engine()
        ours.start_ready()
        wait_for_load(found.system, found.fleet, 2_000, found.engine)
        drill = run(
            *("drill", "--config", str(ours.config_file)),
            *("--yes", "--seconds", "2", "--wait", "2", "--json"),
            timeout=PATIENCE,
        )
        wait_for_load(found.system, found.fleet, 2_000, found.engine)
        found.wait_until_all_landed(ENGINE)
        yield found, drill


def test_gateways_stay_with_their_primary_host_whatever_the_other_does(comings_and_goings):
    found, _ = comings_and_goings
    assert found.system.client.count("NDEATH") == 0
    assert found.fleet.connections == GATEWAYS
    assert (found.fleet.stored, found.fleet.dropped) == (0, 0)


def test_each_host_speaks_on_its_own_state_topic(comings_and_goings):
    found, _ = comings_and_goings
    assert found.states(ENGINE) == [True]
    assert found.states(OURS) == [True, False] * 3 + [True]
    for host in (found.engine, found.system.consumer):
        (server,) = host.status()["servers"]
        assert server["foreign_host_births"] == 0


def test_the_primary_host_lands_everything_by_itself(comings_and_goings):
    found, _ = comings_and_goings
    assert not found.missing(ENGINE)


def test_what_we_did_not_hear_is_lost_to_us_and_told(comings_and_goings):
    found, _ = comings_and_goings
    assert len(found.missing(OURS)) > 1_000
    gaps = found.system.consumer.get("/api/gaps?since_seconds=3600").json()
    assert gaps["account"]["gaps"]["found"] >= GATEWAYS
    assert {each["healing"] for each in gaps["items"]} <= {"rebirth_snapshot", "history", "late"}


def test_coming_back_costs_gateways_few_births(comings_and_goings):
    """One for each time that we were away, and none where nothing was missed."""
    found, _ = comings_and_goings
    assert found.fleet.rebirths <= 3 * GATEWAYS
    assert found.system.client.count("NBIRTH") <= 4 * GATEWAYS


def test_a_drill_tells_that_gateways_wait_for_somebody_else(comings_and_goings):
    _, drill = comings_and_goings
    assert drill.returncode == 1, drill.stderr
    told = json.loads(drill.stdout)
    assert {each["verdict"] for each in told["items"]} == {"lost"}
    assert all("its primary host is another one, or none" in each["text"] for each in told["items"])


def test_while_the_primary_host_is_away_we_hear_nothing_and_get_it_all_afterwards(tmp_path):
    with plant(tmp_path) as found:
        found.system.consumer.start_ready()
        found.engine.start_ready()
        assert found.fleet.wait_online(PATIENCE)
        wait_for_load(found.system, found.fleet, 2_000, found.engine)
        assert found.engine.stop() == 0
        wait_until(lambda: found.fleet.online == 0, what="gateways that wait")
        wait_until(lambda: found.fleet.stored > 1_000, what="gateways that store")
        stale = found.system.table.wait_for(
            GATEWAYS, source_system_id=OURS, message_type="NDEATH", quality="STALE"
        )
        assert {row["group_id"] for row in stale} == {"Plant 1", "Plant 2"}
        found.engine.start_ready()
        assert found.fleet.wait_online(PATIENCE)
        wait_for_load(found.system, found.fleet, 2_000, found.engine)
        found.wait_until_all_landed(OURS, ENGINE)
        history = found.system.table.rows(source_system_id=OURS, is_historical=True)
        assert len(history) > 1_000
        assert found.states(OURS) == [True]
        assert found.system.consumer.stop() == 0
