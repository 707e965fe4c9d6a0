"""Prometheus itself reads monitoring/, and scrapes a running consumer with it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from dataclasses import dataclass

import httpx
import pytest
import yaml
from end_to_end.gateway import Gateway, metric
from end_to_end.world import world
from support.monitoring import (
    ALERTS,
    SCRAPING,
    TESTS,
    asked,
    dashboard_expressions,
    rules,
)
from support.services import PATIENCE, free_port, wait_until

pytestmark = pytest.mark.monitoring

READER = "reader-key-0123456789"
KEYS = [{"name": "prometheus", "role": "reader", "key": READER}]


NOTHING_YET = {
    *("dead_messages_total", "rows_dropped_total", "ingest_events_dropped_total"),
    *("gate_closed", "side_rows_produced_total", "side_spooled_rows"),
    *("ingest_posts_total", "ingest_wait_seconds_total"),
    "start_timestamp_seconds",  # a change of it
}
"""Of what a consumer that runs well, without gate, side tables and posts, has not."""


def program(name):
    found = shutil.which(name)
    assert found, f"no {name} found: run `sh scripts/ensure-prometheus.sh`"
    return found


def promtool(*arguments):
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scraping(directory, port):
    """The example, for this consumer, and quicker."""
    for each in (ALERTS, SCRAPING):
        shutil.copy(each, directory)
    key = directory / "key"
    key.write_text(READER + "\n")
    example = yaml.safe_load(SCRAPING.read_text("utf-8"))
    example["global"] = dict.fromkeys(example["global"], "1s")
    [job] = example["scrape_configs"]
    job["authorization"]["credentials_file"] = str(key)
    job["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(example))
    return path


def test_rules_and_example_are_what_prometheus_reads(tmp_path):
    assert f"{len(rules())} rules found" in promtool("check", "rules", ALERTS)
    promtool("check", "config", scraping(tmp_path, 8099))
    promtool("check", "config", "--syntax-only", SCRAPING)


def test_each_alert_fires_when_it_should_and_not_before():
    assert "SUCCESS" in promtool("test", "rules", TESTS)


def test_a_rule_that_fires_too_late_is_noticed(tmp_path):
    for each in (ALERTS, TESTS):
        text = each.read_text("utf-8").replace("for: 30m", "for: 3h")
        (tmp_path / each.name).write_text(text)
    with pytest.raises(AssertionError, match="SparkplugZerobusGapsNotHealed"):
        promtool("test", "rules", tmp_path / TESTS.name)


@dataclass
class Prometheus:
    """A server that scrapes."""

    port: int
    process: subprocess.Popen[bytes]

    def ask(self, route, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{route}"
        answer = httpx.get(url, params=parameters, timeout=PATIENCE)
        told = answer.json()
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expression):
        """Series that an expression gives now: [(labels, value)]."""
        result = self.ask("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in result]

    def value(self, expression):
        found = self.query(expression)
        return found[0][1] if found else None

    def answers(self):
        with contextlib.suppress(httpx.TransportError, AssertionError, ValueError):
            return self.query("vector(1)")
        return False


@contextlib.contextmanager
def prometheus(directory, port):
    """A Prometheus of our own, in a directory of its own; ended on leaving."""
    directory.mkdir()
    listening = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={scraping(directory, port)}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{listening}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    server = Prometheus(listening, process)
    try:
        wait_until(lambda: process.poll() is not None or server.answers(), what="Prometheus")
        assert process.poll() is None, (directory / "log").read_text()
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with world(tmp_path_factory.mktemp("plant"), http={"keys": KEYS}) as system:
        system.consumer.start_ready()
        press = Gateway(system.publish, "Plant", "Press")
        press.born(metric("Level"))
        press.skip_seq()
        press.data(metric("Level", value=2.0))
        yield system


@pytest.fixture(scope="module")
def server(plant, tmp_path_factory):
    port = int(plant.consumer.base_url.rpartition(":")[2])
    with prometheus(tmp_path_factory.mktemp("prometheus") / "server", port) as server:
        wait_until(lambda: server.value("up") == 1, what="the consumer is scraped")
        yield server


def test_the_consumer_is_scraped_with_a_readers_key(server):
    wait_until(lambda: server.value("sparkplug_zerobus_edge_nodes") == 1, what="its node")
    assert server.value("sparkplug_zerobus_servers_connected") == 1
    [(labels, value)] = server.query("sparkplug_zerobus_server_connected")
    assert (labels["server"], labels["job"], value) == ("plant-a", "sparkplug-zerobus", 1)
    asked = 'sparkplug_zerobus_http_requests_total{key="prometheus"}'
    wait_until(lambda: server.value(asked), what="requests of this key")


def test_all_rules_are_evaluated(server):
    def states():
        groups = server.ask("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    wait_until(lambda: set(states().values()) == {"ok"}, what="all rules are evaluated")
    assert set(states()) == {rule["alert"] for rule in rules()}
    assert server.query('ALERTS{alertstate="firing"}') == []


def test_every_expression_of_the_dashboard_can_be_evaluated(server):
    """What a running consumer has at once is there; the others are of what did not happen."""
    wait_until(lambda: server.query("rate(sparkplug_zerobus_batches_decoded_total[1m])"))
    empty = {
        name.removeprefix("sparkplug_zerobus_")
        for _, expression, _ in dashboard_expressions()
        if not server.query(expression)
        for name, _ in asked(expression).metrics
    }
    assert empty <= NOTHING_YET


def test_a_consumer_that_ends_is_an_alert_that_says_what_to_do(plant, server):
    plant.consumer.kill()

    def pending():
        return [
            each
            for each in server.ask("alerts")["alerts"]
            if each["labels"]["alertname"] == "SparkplugZerobusDown"
        ]

    wait_until(pending, what="the alert")
    [alert] = pending()
    assert alert["state"] == "pending"  # it fires in two minutes, and not at a restart
    summary = alert["annotations"]["summary"]
    assert summary.startswith("the consumer on 127.0.0.1:")
    plant.consumer.start_ready()
    wait_until(lambda: not pending(), what="the alert is over")


def test_a_wrong_key_is_a_scrape_that_fails(plant, tmp_path):
    port = int(plant.consumer.base_url.rpartition(":")[2])
    with prometheus(tmp_path / "server", port) as server:
        (tmp_path / "server" / "key").write_text("not-the-key-0123456789")
        wait_until(lambda: server.value("up") == 0, what="no scrape")
        [target] = server.ask("targets")["activeTargets"]
        assert "401" in target["lastError"]
