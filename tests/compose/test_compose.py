"""`docker compose up` for real: every gateway's rows land, nothing is left behind."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable
from support.docker_engine import Engine, EngineUnavailable, base_images, docker_engine
from support.services import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]

# Service -> Sparkplug group id, which is the gateway's user name, too.
GATEWAYS = {"gateway-1": "Plant 1", "gateway-2": "Plant 2", "gateway-3": "Plant 3"}
SERVICES = ("mosquitto", "zerobus", "consumer", *GATEWAYS)
HEALTHY_SECONDS = 180.0
ROWS_SECONDS = 90.0


@dataclass(frozen=True)
class System:
    """The compose project while it is up."""

    engine: Engine
    project: str
    directory: Path
    http_port: int
    variables: dict[str, str]

    def compose(self, *arguments: str, check: bool = True) -> str:
        files = ["-f", "docker-compose.yml", "-f", "tests/compose/ledgers.yml"]
        if self.engine.own:
            files += ["-f", "tests/compose/override.yml"]
        command = (*self.engine.compose, *files, *arguments)
        return self.engine.run(*command, check=check, **self.variables)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows about the one container of a service."""
        [container] = self.engine.listing("container", self.project, service)
        found: list[dict[str, Any]] = json.loads(self.engine.run("docker", "inspect", container))
        return found[0]

    def unhealthy(self) -> list[str]:
        """Services that are not (yet) healthy."""
        return [
            service
            for service in SERVICES
            if self.container(service)["State"]["Health"]["Status"] != "healthy"
        ]

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Poll gently, for conditions are costly; a failure shows what the services wrote."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                status = self.compose("ps", check=False)
                logs = self.compose("logs", "--no-color", "--tail=40", check=False)
                raise AssertionError(f"not within {seconds} s: {what}\n{status}\n{logs}")
            time.sleep(0.3)

    def shell(self, service: str, script: str, *arguments: str, user: str) -> str:
        """Run a script inside a service's container; what it writes, errors included."""
        [container] = self.engine.listing("container", self.project, service)
        script = f"{{ {script}\n}} 2>&1 || true"
        command = ("docker", "exec", "--user", user, container, "sh", "-c", script, *arguments)
        return self.engine.run(*command)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the consumer's HTTP, as the host sees it."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the landed table, named `tag_events`, from the host."""
        table = DeltaTable(str(self.directory / "lake/ignition_demo/scada_data/tag_events"))
        with duckdb.connect() as connection:
            connection.register("tag_events", table.to_pyarrow_dataset())
            return connection.execute(sql).fetchall()

    def groups(self, condition: str) -> set[str]:
        """Group ids that have rows under an SQL condition."""
        rows = self.query(f"select distinct group_id from tag_events where {condition}")
        return {group for (group,) in rows}

    def last_arrival(self) -> int:
        [(number,)] = self.query("select max(arrival_number) from tag_events")
        return int(number)


def _say(text: str) -> None:
    sys.stderr.write(f"\n{text}\n")


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The system, up and healthy; taken down and looked after at the end."""
    # Not in tmp_path: that is closed to other users, and the containers are others.
    directory = Path(tempfile.mkdtemp(prefix="sparkplug-zerobus-compose-", dir="/var/tmp"))
    directory.chmod(0o755)
    for place in ("lake", "ledgers"):
        (directory / place).mkdir()
        (directory / place).chmod(0o777)
    try:
        with docker_engine() as engine:
            _say("Making or finding the base images ...")
            project = f"sparkplug-zerobus-test-{secrets.token_hex(4)}"
            http_port = free_port()
            variables = {
                "COMPOSE_PROJECT_NAME": project,
                "LAKE": str(directory / "lake"),
                "LEDGERS": str(directory / "ledgers"),
                "HTTP_PORT": str(http_port),
                **base_images(engine),
            }
            system = System(engine, project, directory, http_port, variables)
            try:
                yield from _up(system)
            finally:
                system.compose("down", "--volumes", "--remove-orphans", "--rmi", "local")
            assert engine.leftovers(project) == []
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    finally:
        shutil.rmtree(directory)


def _up(system: System) -> Iterator[System]:
    _say("Building the images ...")
    system.compose("build")
    assert system.engine.leftovers(system.project), "the look-up for leftovers finds nothing"
    started = time.monotonic()
    system.compose("up", "--detach")
    system.wait(lambda: not system.unhealthy(), HEALTHY_SECONDS, "every service is healthy")
    _say(f"Up and healthy after {time.monotonic() - started:.0f} s")
    yield system


def test_births_and_data_of_every_gateway_land_in_the_delta_table(system):
    for kind in ("_BIRTH", "_DATA"):
        system.wait(
            lambda kind=kind: (
                system.groups(f"quality = 'GOOD' and message_type like '{kind}'")
                == set(GATEWAYS.values())
            ),
            ROWS_SECONDS,
            f"{kind} of every gateway",
        )


def test_new_rows_keep_landing(system):
    before = system.last_arrival()
    system.wait(
        lambda: system.groups(f"arrival_number > {before}") == set(GATEWAYS.values()),
        ROWS_SECONDS,
        "newer rows of every gateway",
    )


def test_everything_that_was_published_has_landed_once_the_gateways_are_stopped(system):
    system.compose("stop", *GATEWAYS)
    published: set[str] = set()
    births: set[tuple[str, str]] = set()
    for gateway in GATEWAYS:
        ledger = json.loads((system.directory / f"ledgers/{gateway}.json").read_text())
        published.update(ledger["event_ids"])
        births.update((own, returned) for own, returned in ledger["births"])
    assert len(published) > 1000
    assert births

    def landed() -> set[str]:
        # Rows of deaths are made by the host, not by the gateway.
        rows = system.query(
            "select distinct event_id from tag_events"
            " where message_type not in ('NDEATH', 'DDEATH', 'HOST')"
        )
        return {event_id for (event_id,) in rows}

    def complete() -> bool:
        found = landed()
        # A value of a birth has one of two ids, whether or not a death was seen before it.
        return found >= published and all(not found.isdisjoint(each) for each in births)

    system.wait(complete, ROWS_SECONDS, "all that was published")
    assert landed() <= published.union(*births)
    [(rows,)] = system.query("select count(*) from tag_events")
    distinct = len(published | {own for own, _ in births})
    _say(f"{distinct} observations published by {len(GATEWAYS)} gateways: {rows} rows")

    before = system.last_arrival()
    system.compose("start", *GATEWAYS)
    system.wait(
        lambda: system.groups(f"arrival_number > {before}") == set(GATEWAYS.values()),
        ROWS_SECONDS,
        "rows of the gateways that came back",
    )


def test_the_consumer_is_ready_and_shows_its_metrics(system):
    system.wait(lambda: system.get("/readyz")[0] == 200, 30.0, "/readyz says 200")
    assert system.get("/healthz")[0] == 200
    status, metrics = system.get("/metrics")
    assert status == 200
    assert "# TYPE sparkplug" in metrics


def test_gateways_publish_their_own_group_only(system):
    def publish(topic: str) -> str:
        return system.shell(
            "mosquitto",
            'mosquitto_pub -V 5 -q 1 -h 127.0.0.1 -u "Plant 1" -t "$0" -m ""'
            ' -P "$(cat "/credentials/Plant 1/password")"',
            topic,
            user="10011:10011",
        )

    assert publish("spBv1.0/Plant 1/NDATA/a node without birth") == ""
    assert "Not authorized" in publish("spBv1.0/Plant 2/NDATA/a node without birth")
    assert "Not authorized" in publish("spBv1.0/Plant 1/NCMD/Line A")
    assert "Not authorized" in publish("spBv1.0/STATE/sparkplug-zerobus")


def test_nobody_gets_in_without_a_password(system):
    answer = system.shell(
        "mosquitto",
        "XDG_CONFIG_HOME=/ mosquitto_sub -h 127.0.0.1 -t 'spBv1.0/#' -C 1 -W 3",
        user="1883:1883",
    )
    assert "not authori" in answer.lower()


def test_other_containers_reach_the_broker_over_tls_only(system):
    answer = system.shell(
        "gateway-1",
        "python -c \"import socket; socket.create_connection(('mosquitto', 1883), 5)\"",
        user="10011:10011",
    )
    assert "ConnectionRefusedError" in answer


def test_a_gateway_cannot_read_the_password_of_another(system):
    answer = system.shell("gateway-1", "cat '/credentials/Plant 2/password'", user="10011:10011")
    assert "Permission denied" in answer


def test_containers_run_without_privileges_on_a_read_only_root(system):
    for service in SERVICES:
        container = system.container(service)
        assert container["Config"]["User"] not in ("", "0", "root", "0:0"), service
        assert container["HostConfig"]["ReadonlyRootfs"], service
        assert container["HostConfig"]["CapDrop"] == ["ALL"], service


def test_the_consumer_ends_in_order_and_goes_on_after_a_restart(system):
    system.compose("stop", "consumer")
    state = system.container("consumer")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
    before = system.last_arrival()

    system.compose("start", "consumer")
    system.wait(
        lambda: system.groups(f"arrival_number > {before}") == set(GATEWAYS.values()),
        ROWS_SECONDS,
        "rows of every gateway after the restart",
    )
    [(numbers, events)] = system.query(
        "select count(distinct arrival_number), count(distinct (arrival_number, event_id))"
        " from tag_events"
    )
    assert numbers == events, "two observations have the same arrival number"
