"""Drills: which edge nodes keep their data while the host is offline, on a real MQTT server."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from conformance.observer import kept, state_of
from support import peer_environments
from support.services import PATIENCE, wait_until

from end_to_end.drill_world import (
    ARMED,
    OTHERS,
    SMALL,
    UNARMED,
    drill_world,
    json_of,
    on_a_terminal,
)
from end_to_end.gated_world import STATE, states, wait_for_states

pytestmark = pytest.mark.long

SHORT = ("--seconds", "4", "--wait", "6")
AIOSPB = Path(__file__).with_name("aiospb_edge_node.py")


@pytest.fixture
def plant(tmp_path):
    with drill_world(tmp_path) as found:
        yield found


def is_online(plant):
    message = kept(plant.system.server.port, STATE)
    return message is not None and state_of(message.payload)["online"]


def test_who_keeps_its_data_is_told_from_who_drops_it_or_keeps_a_part_or_does_not_wait(plant):
    with on_a_terminal(*plant.drill("--yes", *SHORT)) as terminal:
        terminal.wait_for("4 edge nodes may lose what is published in the 4 s")
        terminal.wait_for("listening: who publishes, and how often")
        terminal.wait_for("STATE is offline")
        terminal.wait_for("STATE is online, waiting for history")
        assert terminal.wait() == 1
    assert f"{ARMED}, {UNARMED}, {OTHERS}, {SMALL}" in terminal.text
    assert terminal.text.splitlines()[-1] == (
        "of 4 edge nodes 2 lose it, 1 keep a part of it, 1 keep their data: "
        f"{UNARMED}, {OTHERS}, {SMALL}"
    )
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in terminal.text.splitlines()
        if "│ Plant" in line
    ]
    assert [(row[1], row[2]) for row in rows] == [
        (UNARMED, "no"),
        (OTHERS, "no"),
        (SMALL, "a part"),
        (ARMED, "yes"),
    ]
    assert "enable its history store" in rows[0][-1]
    assert "it went on publishing" in rows[1][-1]
    assert "see the capacity of its history store" in rows[2][-1]

    _, gone, back = wait_for_states(plant.system, True, False, True)
    assert 3_500 <= back - gone <= 30_000
    found = plant.results()
    assert {name: each["verdict"] for name, each in found.items()} == {
        ARMED: "kept",
        UNARMED: "lost",
        OTHERS: "lost",
        SMALL: "partly",
    }
    # What the gateway kept is what landed as history, and is of the time between.
    rows = plant.system.table.rows(group_id="Plant 1", is_historical=True)
    in_time = [row for row in rows if gone <= 1000 * row["event_time"].timestamp() <= back]
    assert found[ARMED]["rows"] >= len(in_time) > 200
    # From now on it is known who does.
    assert plant.told()["may_lose"]["total"] == 3
    done = plant.run("--show", "--json")
    assert done.returncode == 0
    assert {each["node"]: each["rows"] for each in json_of(done)["items"]}.keys() == {"Line A"}


def test_ctrl_c_ends_the_drill_and_state_is_online_at_once(plant):
    with on_a_terminal(*plant.drill("--yes", "--seconds", "20")) as terminal:
        terminal.wait_for("listening")
        terminal.interrupt()
        assert terminal.wait() == 130
    assert "interrupted: the drill is ended" in terminal.text
    assert plant.told()["last"]["text"] == "it was ended before the host went offline"
    wait_for_states(plant.system, True)

    with on_a_terminal(*plant.drill("--yes", "--seconds", "12")) as terminal:
        terminal.wait_for("STATE is offline")
        wait_until(lambda: not is_online(plant), what="offline")
        began = time.monotonic()
        terminal.interrupt()
        assert terminal.wait() == 130
        took = time.monotonic() - began
    assert terminal.text.splitlines()[-1].startswith("STATE is online. ")
    assert is_online(plant)
    assert took < 11
    wait_for_states(plant.system, True, False, True)
    plant.wait_for_state("waiting", "idle")


def test_a_second_one_is_refused_with_a_line_and_a_code(plant):
    with on_a_terminal(*plant.drill("--yes", *SHORT)) as terminal:
        terminal.wait_for("listening")
        done = plant.run("--yes")
        assert done.returncode == 3
        assert done.stderr.startswith(
            "Error: the consumer refuses: no drill now: a drill of local is on ("
        )
        assert done.stderr.count("\n") == 1
        terminal.interrupt()
        assert terminal.wait() == 130


@pytest.mark.parametrize("restarted", ["before the deadline", "after the deadline"])
def test_a_consumer_that_is_killed_in_the_middle_comes_back_in_time_and_judges(plant, restarted):
    process = plant.system.consumer
    seconds = 14 if restarted == "before the deadline" else 6  # a start takes long where all do
    with on_a_terminal(*plant.drill("--yes", "--seconds", f"{seconds}", "--wait", "8")) as terminal:
        terminal.wait_for("STATE is offline")
        told = plant.wait_for_state("offline")
        process.kill()
        _, gone = wait_for_states(plant.system, True, False)
        until = told["offline_until_ms"] / 1000
        if restarted == "after the deadline":
            wait_until(lambda: time.time() > until + 1, what="the deadline")
        process.start()
        process.wait_for_log("the drill of an earlier run goes on")
        if restarted == "before the deadline":
            assert time.time() < until - 1, "this machine is too busy for this test"
            assert plant.told()["state"] == "offline"
        code = terminal.wait()
    assert code == 1, terminal.text
    back = states(plant.system)[-1]
    assert back[0] is True
    if restarted == "before the deadline":
        # As long as it was to be: a start does not end it, and does not begin it anew.
        assert seconds - 1 <= (back[1] - gone) / 1000 <= seconds + 3
    assert plant.told()["last"]["begun_ms"] == told["begun_ms"]
    found = plant.results()
    assert {name: each["verdict"] for name, each in found.items()} == {
        ARMED: "kept",
        UNARMED: "lost",
        OTHERS: "lost",
        SMALL: "partly",
    }
    assert found[ARMED]["window_seconds"] >= seconds - 1
    # The next run knows nothing of it, and what it showed.
    assert process.stop() == 0
    process.start_ready()
    assert plant.told()["state"] == "idle"
    assert plant.results().keys() == found.keys()


def test_a_stop_does_not_wait_for_the_drill_and_the_next_run_goes_on_with_it(plant):
    process = plant.system.consumer
    with on_a_terminal(*plant.drill("--yes", "--seconds", "5", "--wait", "6")) as terminal:
        plant.wait_for_state("offline")
        assert process.stop() == 0
        process.start()
        assert terminal.wait() == 1
    assert plant.results()[ARMED]["verdict"] == "kept"


# a client that others wrote


@pytest.fixture(scope="module")
def aiospb():
    try:
        return peer_environments.python_of("aiospb")
    except peer_environments.UnavailableError as error:
        pytest.skip(f"aiospb cannot be had: {error}")


def test_an_edge_node_of_another_implementation_keeps_its_data_or_drops_it(tmp_path, aiospb):
    with contextlib.ExitStack() as stack:
        plant = stack.enter_context(drill_world(tmp_path, fleets=False))
        for store in ("keeps", "drops"):
            arguments = [aiospb, AIOSPB, str(plant.system.server.port), "Peers", store, store]
            process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.kill)
        for store in ("keeps", "drops"):
            plant.system.table.wait_for(5, group_id="Peers", edge_node_id=store)
        done = plant.run("--yes", *SHORT, "--json")
        told = json_of(done)
        assert done.returncode == 1, done.stderr
        found = {each["node"]: each for each in told["items"]}
        assert (found["keeps"]["verdict"], found["drops"]["verdict"]) == ("kept", "lost")
        assert told["counts"] == {"lost": 1, "partly": 0, "not_known": 0, "kept": 1}
        # Five a second for four seconds.
        assert 15 <= found["keeps"]["rows"] <= 40
        assert found["drops"]["rows"] == 0
