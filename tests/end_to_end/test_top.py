"""`sparkplug-zerobus top`: a real consumer, looked at in a terminal, and by programs."""

from __future__ import annotations

import json

import pytest
from support.program import run
from support.screen import terminal
from support.services import free_port

from end_to_end.gateway import Gateway, metric
from end_to_end.world import world

READER, OPERATOR = "reader-key-0123456789", "operator-key-0123456789"
KEYS = [
    {"name": "screen", "role": "reader", "key": READER},
    {"name": "on-call", "role": "operator", "key": OPERATOR},
]
HOSTILE = "[red]Edge\u202e9"


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """Thirty edge nodes, of which one is dead, and one lost messages."""
    with world(tmp_path_factory.mktemp("plant"), http={"keys": KEYS}) as system:
        system.consumer.start_ready()
        names = [*(f"Edge-{number:02}" for number in range(29)), HOSTILE]
        nodes = {name: Gateway(system.publish, "Plant", name) for name in names}
        for node in nodes.values():
            node.born(metric("Level", value=0.0))
        nodes["Edge-07"].died()
        nodes["Edge-21"].skip_seq()
        nodes["Edge-21"].data(metric("Level", value=1.0))
        yield system


@pytest.fixture
def file(plant, tmp_path):
    """A configuration of somebody who has a reader's key and no more."""
    path = tmp_path / "reader.yaml"
    http = {**plant.consumer.configuration["http"], "keys": KEYS[:1]}
    path.write_text(json.dumps({**plant.consumer.configuration, "http": http}))
    return str(path)


def top(*arguments):
    return run("top", *arguments)


def row(text, name):
    return next(each for each in text.splitlines() if name in each)


def worst_first(text):
    return text.index("Edge-07") < text.index("Edge-21") < text.index("Edge-00")


def test_the_worst_nodes_come_first_and_the_others_are_counted(file):
    with terminal("top", "--config", file, size=(100, 24)) as shown:
        shown.wait_for(lambda: "Plant/Edge-21" in shown.shown() and worst_first(shown.shown()))
        assert "dead" in row(shown.shown(), "Edge-07")
        assert "red" in shown.colours("Edge-07  dead")
        assert "connected" in row(shown.shown(), "plant-a")
        last = next(each for each in shown.lines() if "edge nodes; not shown" in each)
        assert " of 30 edge nodes; not shown: " in last
        shown.press("q")
        assert shown.wait_end() == 0


def test_it_fits_every_terminal(file):
    # Where a shell exports these, they are of the moment in which it began.
    begun = {"COLUMNS": "80", "LINES": "24"}
    with terminal("top", "--config", file, size=(200, 50), environ=begun) as shown:
        shown.wait_for("30 of 30 edge nodes; q ends")
        assert "devices" in shown.shown()
        for columns, lines in ((60, 12), (30, 6), (120, 30)):
            shown.resize(columns, lines)
            shown.wait_for(lambda: "edge node" in shown.shown() and "Edge-07" in shown.shown())
            shown.wait_for(lambda wide=columns: ("devices" in shown.shown()) == (wide == 120))
        shown.press("q")
        assert shown.wait_end() == 0


def test_names_are_text_and_steer_nothing(file):
    with terminal("top", "--config", file, "--node", "Plant/[[]red*") as shown:
        shown.wait_for(r"Plant/[red]Edge\u202e9")
        assert "1 of 1 edge nodes" in shown.shown()
        assert "\u202e".encode() not in shown.written
        shown.press("q")
        shown.wait_end()


def pressed(keys):
    return lambda shown: shown.press(keys)


def terminated(shown):
    shown.process.terminate()


def test_who_suspends_it_has_the_terminal_as_it_was_meanwhile(file):
    # No shell waits for this process, so the system lets it go on at once.
    with terminal("top", "--config", file) as shown:
        shown.wait_for("q ends")
        shown.press("\x1a")
        shown.wait_for(lambda: shown.shown() and shown.written.count(b"\x1b[?1049h") == 2)
        assert shown.written.count(b"\x1b[?1049l") == 1
        shown.wait_for("q ends")
        assert not shown.is_as_before()
        shown.press("q")
        assert shown.wait_end() == 0
        assert shown.is_as_before()


@pytest.mark.parametrize(
    ("end", "code"), [(pressed("jq"), 0), (pressed("\x03"), 130), (terminated, 0)]
)
def test_the_terminal_is_left_as_it_was(file, end, code):
    with terminal("top", "--config", file) as shown:
        shown.wait_for("q ends")
        assert b"\x1b[?1049h" in shown.written
        assert not shown.is_as_before()
        end(shown)
        assert shown.wait_end() == code
        assert shown.is_as_before()
        assert shown.written.rstrip().endswith(b"\x1b[?25h\x1b[?1049l")


def test_a_consumer_that_goes_away_is_seen_to_and_comes_back(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        Gateway(system.publish, "Plant", "Press").born(metric("Level"))
        with terminal("top", "--config", str(system.consumer.config_file)) as shown:
            shown.wait_for("Plant/Press")
            assert "green" in shown.colours("Plant/Press  alive")
            system.consumer.kill()
            shown.wait_for("old since ")
            assert "no consumer answers at 127.0.0.1:" in shown.shown()
            assert shown.colours("Plant/Press") == {"brightblack"}
            system.consumer.start()
            shown.wait_for(lambda: "old since" not in shown.shown())
            assert "green" in shown.colours("Plant/Press  alive")
            assert shown.process.poll() is None
            shown.press("q")
            assert shown.wait_end() == 0


def test_a_key_that_changes_is_read_again(tmp_path):
    key = tmp_path / "key"
    key.write_text(READER)
    keys = [{"name": "screen", "role": "reader", "key_file": str(key)}]
    with world(tmp_path, http={"keys": keys}) as system:
        system.consumer.start_ready()
        with terminal("top", "--config", str(system.consumer.config_file)) as shown:
            shown.wait_for("q ends")
            key.write_text("another-key-0123456789")
            shown.wait_for("old since ")
            assert "the consumer refuses: " in shown.shown()
            shown.wait_for(lambda: "old since" not in shown.shown())
            shown.press("q")
            assert shown.wait_end() == 0


def test_without_a_terminal_all_is_printed_once(file):
    done = top("--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert worst_first(done.stdout)
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1] == "30 of 30 edge nodes"


def test_once_in_a_terminal_prints_all_and_ends(file):
    with terminal("top", "--config", file, "--once", size=(80, 10)) as shown:
        assert shown.wait_end() == 0
        assert b"\x1b[?1049h" not in shown.written
        assert b"Plant/Edge-07" in shown.written
        assert b"Plant/Edge-00" in shown.written


def test_programs_read_it_as_json(file):
    done = top("--config", file, "--once", "--json")
    told = json.loads(done.stdout)
    assert done.stdout.isascii()
    assert [each["node"] for each in told["nodes"]["items"]][:2] == ["Edge-07", "Edge-21"]
    assert len(told["nodes"]["items"]) == told["nodes"]["total"] == 30
    assert told["nodes"]["states"]["dead"] == 1
    assert told["servers"][0]["connected"]
    assert told["latency_p50_seconds"] is None or told["latency_p50_seconds"] > 0
    assert "samples" not in told


def test_nodes_are_chosen_and_sorted(file):
    done = top("--config", file, "--json", "--node", "*Edge-0?", "--sort", "-node")
    nodes = json.loads(done.stdout)["nodes"]
    assert [each["node"] for each in nodes["items"]] == [f"Edge-{n:02}" for n in range(9, -1, -1)]
    assert nodes["states"] == {
        **dict.fromkeys(nodes["states"], 0),
        "alive": 9,
        "dead": 1,
    }


def test_a_readers_key_in_a_file_is_enough(file, tmp_path):
    key = tmp_path / "key"
    key.write_text(READER)
    done = top("--config", file, "--key-file", str(key))
    assert (done.returncode, done.stderr) == (0, "")


def one_line(done, code):
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_wrong_key_is_one_line(file, tmp_path):
    key = tmp_path / "key"
    key.write_text("not-the-key-0123456789")
    said = one_line(top("--config", file, "--key-file", str(key)), 1)
    assert "the consumer refuses: " in said
    assert "not-the-key" not in said


@pytest.mark.parametrize(
    ("http", "code", "said"),
    [
        ({"listen": f"127.0.0.1:{free_port()}"}, 1, "no consumer answers at 127.0.0.1:"),
        ({"listen": ""}, 2, "http.listen: is empty"),
        (
            {"keys": [{"name": "gateway", "role": "ingest", "key": READER}]},
            2,
            "http.keys: none is of a reader or an operator; name one with --key-file",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(plant, tmp_path, http, code, said):
    configuration = dict(plant.consumer.configuration)
    configuration["http"] = {**configuration["http"], **http}
    path = tmp_path / "other.yaml"
    path.write_text(json.dumps(configuration))
    assert said in one_line(top("--config", str(path)), code)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sort", "mood"], "'mood' is none of state, rate"),
        (["--node", "Edge-1"], "'Edge-1' can match no GROUP/NODE; write '*/Edge-1'"),
    ],
)
def test_a_wrong_command_line_is_refused(file, arguments, said):
    done = top("--config", file, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
