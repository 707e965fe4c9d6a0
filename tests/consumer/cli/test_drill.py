"""`drill`: each way to end has its exit code and one clear line. Real drills are end to end."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner
from support.columnar import message, tag
from support.http_side import KEYS, http_side
from support.services import free_port
from support.unconnected import written

from consumer.broker import InboxBatch
from consumer.cli.commands import COMMANDS, LazyGroup
from consumer.cli.drill import EXAMPLES, _exit_code, _last
from consumer.cli.over_http import AskingError
from consumer.errors import ConfigurationError
from consumer.spool import DrillResult
from sparkplug import MessageBatch

NOON_MS = 1_796_040_000_000


@pytest.fixture
def side(tmp_path):
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        births = [message("NBIRTH", tag("Ramp", 0), node=f"Edge {n:02}") for n in range(23)]
        client.consumer.decoding._take(InboxBatch({0: MessageBatch(births)}))
        client.consumer.connections[0].connected.set()
        yield client


def drill(tmp_path, port, *arguments, listen=None):
    path = tmp_path / "plant.yaml"
    listen = f"127.0.0.1:{port}" if listen is None else listen
    path.write_text(yaml.safe_dump(written(http={"listen": listen, "keys": KEYS if port else []})))
    return CliRunner().invoke(
        LazyGroup(lazy=COMMANDS), ["drill", *arguments, "--config", str(path)]
    )


def know(side, *verdicts):
    side.consumer.drill._results["plant"] = {
        ("Plant", node): DrillResult(
            *(
                "plant",
                "Plant",
                node,
                NOON_MS,
                verdict,
                "it is so",
                1234,
                NOON_MS,
                NOON_MS + 44_000,
            ),
            *(45.0, NOON_MS if verdict == "kept" else None),
        )
        for node, verdict in verdicts
    }


def test_without_yes_it_names_who_may_lose_data_and_does_nothing(side, tmp_path):
    done = drill(tmp_path, side.server.port)
    assert (done.exit_code, done.stdout) == (2, "")
    cost, nothing = done.stderr.splitlines()
    assert cost.startswith(
        "23 edge nodes may lose what is published in the 45 s in which the host is offline: "
        "Plant/Edge 00, Plant/Edge 01, "
    )
    assert cost.endswith("Plant/Edge 19 and 3 others")
    assert nothing == "nothing was done: --yes begins the drill"
    assert side.consumer.drill.status()["state"] == "idle"


@pytest.mark.parametrize("arguments", [(), ("--yes",)])
def test_what_is_refused_is_said_in_one_line_before_anything_is_asked(side, tmp_path, arguments):
    side.consumer.connections[0].connected.clear()
    done = drill(tmp_path, side.server.port, *arguments)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == ("Error: the consumer refuses: no drill now: plant is not connected\n")


def test_nobody_answers(tmp_path):
    done = drill(tmp_path, free_port(), "--yes")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: no consumer answers at 127.0.0.1:")
    assert done.stderr.endswith("does it run, with this file?\n")
    assert done.stderr.count("\n") == 1


def test_a_consumer_without_http_cannot_be_asked(tmp_path):
    done = drill(tmp_path, 0, listen="")
    assert isinstance(done.exception, ConfigurationError)
    assert "http.listen" in str(done.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--yes", "--show"),
        ("--show", "--end"),
        ("--yes", "--seconds", "121"),
        ("--yes", "--seconds", "0"),
        ("--yes", "--wait", "601"),
        ("--yes", "--seconds", "long"),
    ],
)
def test_wrong_usage(side, tmp_path, arguments):
    assert drill(tmp_path, side.server.port, *arguments).exit_code == 2
    assert side.consumer.drill.status()["state"] == "idle"


def test_a_server_that_is_not_there(side, tmp_path):
    done = drill(tmp_path, side.server.port, "--server", "other")
    assert done.exit_code == 3
    assert done.stderr == "Error: the consumer refuses: there is no such server, only plant\n"


def test_the_last_results_are_shown(side, tmp_path):
    done = drill(tmp_path, side.server.port, "--show")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "no edge node has a result: there was no drill yet\n"
    know(side, ("A", "kept"), ("B", "lost"))
    done = drill(tmp_path, side.server.port, "--show")
    assert done.exit_code == 0
    rows = [line for line in done.stdout.splitlines() if "Plant/" in line]
    assert [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows] == [
        [
            *("plant", f"Plant/{node}", keeps, "1,234", "45.0 s"),
            *("12:00:00 to 12:00:44", "2026-11-30 12:00", "it is so"),
        ]
        for node, keeps in (("B", "no"), ("A", "yes"))
    ]
    done = drill(tmp_path, side.server.port, "--show", "--json")
    assert [each["node"] for each in json.loads(done.stdout)["items"]] == ["B", "A"]


def test_many_results_are_shown_all(side, tmp_path):
    know(side, *((f"Node {n:04}", "kept") for n in range(1_234)))
    done = drill(tmp_path, side.server.port, "--show", "--json")
    assert len(json.loads(done.stdout)["items"]) == 1_234


def test_a_drill_may_be_ended(side, tmp_path):
    assert drill(tmp_path, side.server.port, "--end").stderr == "no drill is on\n"
    key = {"Authorization": f"Bearer {KEYS[1]['key']}"}
    side.post("/api/actions/drill", {"yes": True}, headers=key)
    done = drill(tmp_path, side.server.port, "--end")
    assert (done.exit_code, done.stderr) == (0, "the drill is ended\n")
    side.consumer.drill.tend()
    assert side.consumer.drill.status()["last"]["outcome"] == "ended"


def test_a_consumer_that_was_restarted_before_anything_happened_knows_nothing_of_it():
    with pytest.raises(AskingError, match="restarted before the host went offline"):
        _last({"state": "idle", "last": None}, NOON_MS)
    other = {"begun_ms": NOON_MS - 1}
    with pytest.raises(AskingError, match="knows nothing of this drill"):
        _last({"state": "idle", "last": other}, NOON_MS)


@pytest.mark.parametrize(
    ("lost", "partly", "not_known", "kept", "code"),
    [
        (0, 0, 0, 3, 0),
        (1, 0, 0, 3, 1),
        (0, 1, 0, 3, 1),
        (1, 0, 1, 0, 1),
        (0, 0, 1, 3, 4),
        (0, 0, 0, 0, 4),
    ],
)
def test_the_exit_code_says_whether_all_keep_their_data(lost, partly, not_known, kept, code):
    counts = {"lost": lost, "partly": partly, "not_known": not_known, "kept": kept}
    assert _exit_code(counts) == code


def test_the_help_has_examples_and_exit_codes():
    shown = CliRunner().invoke(LazyGroup(lazy=COMMANDS), ["drill", "--help"]).output
    for line in EXAMPLES.replace("\b", "").splitlines():
        assert line.strip() in shown
