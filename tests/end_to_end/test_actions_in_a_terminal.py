"""`rebirth`, `pause`, `resume`, `drain` in a terminal, on a consumer that runs on real parts."""

from __future__ import annotations

import json

import pytest
from support.services import wait_until
from support.terminal import in_terminal

from end_to_end.gateway import Gateway, metric
from end_to_end.world import world

KEYS = [{"name": "on-call", "role": "operator", "key": "operator-key-0123456789"}]


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A consumer with one edge node, and the file of who operates it."""
    directory = tmp_path_factory.mktemp("plant")
    with world(directory, http={"keys": KEYS}) as system:
        system.consumer.start_ready()
        node = Gateway(system.publish, "Plant", "Edge")
        node.born(metric("Level", value=0.0))
        system.table.wait_for(1)
        file = directory / "operator.yaml"
        file.write_text(json.dumps(system.consumer.configuration))
        yield system, node, str(file)


def ended(*arguments):
    """The exit code, and what the terminal showed."""
    with in_terminal(*arguments) as terminal:
        code = terminal.wait_end()
        return code, terminal.shown


def drained(file, seconds="0"):
    """The exit code of a drain, and what it said."""
    code, shown = ended("drain", "--seconds", seconds, "--config", file)
    return code, shown.strip()


def test_an_edge_node_is_asked_for_its_births(plant):
    system, _, file = plant
    before = system.client.count("NCMD")
    code, shown = ended("rebirth", "Plant/Edge", "--config", file)
    assert (code, "Plant/Edge is asked for its births" in shown) == (0, True), shown
    system.client.wait_for("NCMD", before + 1)


def test_rows_wait_while_delivery_is_paused_and_land_when_it_goes_on(plant):
    system, node, file = plant
    code, shown = ended("pause", "--for", "10m", "--why", "migration", "--config", file)
    assert (code, "paused until" in shown) == (0, True), shown
    node.data(metric("Level", value=1.0))
    wait_until(lambda: drained(file) == (1, "1 row waits"), what="a row that waits")
    code, shown = ended("resume", "--config", file)
    assert code == 0, shown
    system.table.wait_for(1, numeric_value=1.0)


def test_what_waits_is_sent(plant):
    assert drained(plant[2], "10") == (0, "0 rows wait")


def test_an_unknown_server_and_a_command_without_a_consumer_are_one_line(plant, tmp_path):
    system, _, file = plant
    code, shown = ended("rebirth", "Plant/Edge", "--server", "other", "--config", file)
    assert (code, shown.count("Error: ")) == (1, 1), shown
    elsewhere = tmp_path / "elsewhere.yaml"
    http = {**system.consumer.configuration["http"], "listen": "127.0.0.1:9"}
    elsewhere.write_text(json.dumps({**system.consumer.configuration, "http": http}))
    code, shown = ended("drain", "--config", str(elsewhere))
    assert code == 1
    assert "does it run, with this file?" in " ".join(shown.split())
