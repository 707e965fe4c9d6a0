"""`sparkplug-zerobus tail` against a real Mosquitto: in pipes, in a terminal, and its ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess

import pytest
from oracle.messages import metric
from rich.cells import cell_len
from support.columnar import change, message, tag
from support.program import FROM_SCRATCH, run
from support.services import free_port, mosquitto, password_line
from support.tailing import configure, tailing

from consumer.rows import COLUMNS
from sparkplug.datatypes import DataType

UNIT = {"properties": {"keys": ["engUnit"], "values": [{"type": 12, "string_value": "bar"}]}}
BIRTH = message("NBIRTH", tag("Ramp", 0, 1.5), seq=0)
DEVICE_BIRTH = message("DBIRTH", tag("Level", 1, 7.0) | UNIT, seq=1)
DATA = message("DDATA", change(1, 8.25), seq=2)
HOSTILE = "A\x1b[2J\u202eB\nfail [red]x[/red]\x07"
NODE = "A\u202eB [red]x[link=y] \u2066"
"""No controls: Mosquitto lets none of them into a topic."""
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
SUMMARY = "messages seen: {}, lines shown: {}, messages let go: 0"


@pytest.fixture
def server(tmp_path):
    with mosquitto(tmp_path, "log_type all") as running:
        yield running


@pytest.fixture
def publish(client):
    def say(*messages):
        for each in messages:
            client.publish(each.topic, each.payload, retain=each.retained)

    return say


@pytest.fixture
def plant(tmp_path, server):
    return configure(tmp_path, server.url)


def test_changes_are_shown_as_they_come_in_plain_text_where_no_terminal_is(plant, publish):
    with tailing(plant) as tail:
        publish(message("DDATA", change(1, 6.0), seq=200))
        tail.wait_lines(1)
        publish(BIRTH, DEVICE_BIRTH, DATA)
        lines = tail.wait_lines(4)
        assert [line.split("  ", 1)[1] for line in lines] == [
            "Plant/Edge/Boiler  alias 1  6.0  GOOD  (no birth heard yet)",
            "Plant/Edge  Ramp  1.5  GOOD  NBIRTH",
            "Plant/Edge/Boiler  Level  7.0 bar  GOOD  DBIRTH",
            "Plant/Edge/Boiler  Level  8.25 bar  GOOD",
        ]
        assert all(re.match(r"2023-11-14T22:13:20\.000Z  ", line) for line in lines)
        assert "\x1b" not in tail.out
        assert tail.end(signal.SIGINT) == 130
        begin, account, mend = tail.err.splitlines()
        assert begin.startswith("listening to plant-a (mqtt://127.0.0.1:")
        assert account == SUMMARY.format(4, 4)
        assert mend.startswith("lines that no birth explains yet: 1; `sparkplug-zerobus rebirth` ")


@pytest.mark.parametrize(
    ("options", "count"),
    [(["--count", "2"], 2), (["--count", "2", "--json"], 2), (["--count", "2", "--rows"], 2)],
)
def test_it_ends_with_the_count_that_was_asked_for(plant, publish, options, count):
    with tailing(plant, *options) as tail:
        publish(BIRTH, DEVICE_BIRTH, DATA)
        assert tail.end() == 0
        assert len(tail.lines) == count
        assert f"lines shown: {count}," in tail.err


def test_it_ends_after_the_seconds_that_were_asked_for(plant):
    with tailing(plant, "--seconds", "0.5") as tail:
        assert tail.end() == 0
        assert tail.lines == []
        assert tail.err.splitlines()[-1] == SUMMARY.format(0, 0)


def test_sigterm_ends_it_in_order(plant, publish):
    with tailing(plant) as tail:
        publish(BIRTH)
        tail.wait_lines(1)
        assert tail.end(signal.SIGTERM) == 0
        assert tail.err.splitlines()[-1] == SUMMARY.format(1, 1)


def test_json_is_one_object_per_line(plant, publish):
    with tailing(plant, "--json", "Plant/Edge/Boiler", "--type", "ddata") as tail:
        publish(BIRTH, DEVICE_BIRTH, DATA)
        [line] = tail.wait_lines(1)
        shown = json.loads(line)
        assert (shown["server"], shown["group"], shown["node"], shown["device"]) == (
            "plant-a",
            "Plant",
            "Edge",
            "Boiler",
        )
        assert (shown["metric"], shown["value"], shown["unit"]) == ("Level", 8.25, "bar")
        assert tail.end(signal.SIGINT) == 130
        assert SUMMARY.format(3, 1) in tail.err


def test_rows_are_those_of_the_table(plant, publish):
    with tailing(plant, "--rows") as tail:
        publish(message("NDATA", change(0, 9.0), seq=1), BIRTH)
        rows = [json.loads(line) for line in tail.wait_lines(2)]
    names = {column.name for column in COLUMNS}
    required = {column.name for column in COLUMNS if not column.nullable} - {"arrival_number"}
    assert all(required <= row.keys() <= names for row in rows)
    assert [row["numeric_value"] for row in rows] == [1.5, 9.0]
    assert rows[0]["tag_path"] == "[MQTT Engine]Edge Nodes/Plant/Edge/Ramp"


def test_rows_that_wait_for_a_birth_are_told_at_the_end(plant, publish):
    with tailing(plant, "--rows") as tail:
        publish(DATA, message("NBIRTH", tag("Ramp"), node="Other"))
        tail.wait_lines(1)
        assert tail.end(signal.SIGINT) == 130
        assert "messages that give no rows before their birth: 1; " in tail.err


def test_messages_are_shown_whatever_they_are(plant, publish, client):
    kept = message("NBIRTH", tag("Ramp"), node="Kept", retained=True)
    publish(kept)
    with tailing(plant, "--messages") as tail:
        tail.wait_lines(1)
        client.publish("spBv1.0/STATE/host", b'{"online": true}')
        client.publish("spBv1.0/Plant/NDATA/Edge", b"\xff\xff no payload")
        publish(DATA)
        lines = [line.split("  ", 1)[1] for line in tail.wait_lines(4)]
    assert lines == [
        f"NBIRTH  {kept.topic}  seq 0  1 metric  {len(kept.payload)} bytes  retained",
        'STATE  spBv1.0/STATE/host  {"online": true}',
        "NDATA  spBv1.0/Plant/NDATA/Edge  13 bytes  cannot be read: bad_payload",
        f"DDATA  {DATA.topic}  seq 2  1 metric  {len(DATA.payload)} bytes",
    ]


def test_payloads_are_shown_as_they_came(plant, publish):
    with tailing(plant, "--raw", "Plant/Edge/Boiler") as tail:
        publish(BIRTH, DATA)
        [line] = [each for each in tail.wait_lines(2) if "DDATA" in each]
    assert line.split("  ")[1:] == ["DDATA", DATA.topic, DATA.payload.hex()]


def test_only_one_server_of_several_is_listened_to_if_that_is_asked_for(tmp_path, server, publish):
    both = configure(tmp_path, f"mqtt://127.0.0.1:{free_port()}", server.url)
    with tailing(both, "--server", "plant-b") as tail:
        publish(BIRTH)
        tail.wait_lines(1)
        assert "plant-a" not in tail.err


def test_of_several_servers_each_line_says_which_and_one_that_is_away_is_told(
    tmp_path, server, publish
):
    both = configure(tmp_path, f"mqtt://127.0.0.1:{free_port()}", server.url)
    with tailing(both) as tail:
        publish(BIRTH)
        assert "  plant-b  Plant/Edge  Ramp" in tail.wait_lines(1)[0]
        tail.wait_for_error("plant-a is not connected: nobody listens on 127.0.0.1:")


def test_a_connection_that_is_lost_is_told_and_made_again(plant, server, publish, client):
    with tailing(plant) as tail:
        server.stop()
        tail.wait_for_error("plant-a is not connected: ")
        before = client.subscriptions
        server.start()
        tail.wait_for_error("plant-a is connected again")
        tail.wait_for(lambda: client.subscriptions > before, "the publisher's connection")
        publish(BIRTH)
        tail.wait_lines(1)


# ---------------------------------------------------------------------- in a terminal


@pytest.mark.parametrize("columns", [64, 100])
def test_in_a_terminal_there_are_colours_and_lines_as_wide_as_that(plant, publish, columns):
    bad = metric(alias=1, double_value=-1234567.25, quality=0)
    long = message("NBIRTH", tag("温" * 90, 0), metric("S", 12, string_value="v" * 500), node="N")
    with tailing(plant, columns=columns) as tail:
        publish(BIRTH, DEVICE_BIRTH, message("DDATA", bad, seq=2), long)
        lines = tail.wait_lines(5)
    assert "\x1b[32mGOOD\x1b[0m" in lines[0]
    assert "\x1b[1;31mBAD\x1b[0m" in lines[2]
    plain = [ESCAPE.sub("", line) for line in lines]
    assert plain[0].endswith("  Plant/Edge  Ramp  1.5  GOOD  NBIRTH")
    assert "-1234567.25 bar  BAD" in plain[2]
    assert [line for line in plain if cell_len(line) > columns] == []
    assert "\u2026" in plain[3]
    assert "\u2026" in plain[4]


def test_who_wants_no_colours_gets_none(plant, publish):
    with tailing(plant, columns=100, environ={"NO_COLOR": "1"}) as tail:
        publish(BIRTH)
        [line] = tail.wait_lines(1)
    assert "\x1b[32m" not in line
    assert "Ramp" in line


def test_ctrl_c_in_a_terminal_ends_it_with_an_account(plant, publish):
    with tailing(plant, columns=80) as tail:
        publish(BIRTH)
        tail.wait_lines(1)
        assert tail.end(signal.SIGINT) == 130
        assert tail.err.splitlines()[-1] == SUMMARY.format(1, 1)
        assert "Traceback" not in tail.err


# ---------------------------------------------------------------------- whoever publishes


@pytest.mark.parametrize("columns", [None, 80])
@pytest.mark.parametrize("option", [[], ["--json"], ["--messages"], ["--rows"], ["--raw"]])
def test_hostile_names_and_values_are_bounded_lines_beside_those_of_others(
    plant, publish, client, columns, option
):
    name = (HOSTILE * 200)[:4_096]
    text = metric("Text", DataType.String, string_value=HOSTILE * 20_000)
    with tailing(plant, *option, columns=columns) as tail:
        publish(message("NBIRTH", tag(name, 0), text, node=NODE * 10))
        client.publish("spBv1.0/Plant/NDATA/Huge", b"\x12\x00" * 400_000)
        client.publish("spBv1.0/Plant/NDATA/Deep", b"\x0b" * 100_000)
        publish(message("NBIRTH", metric("Last", DataType.Double, double_value=1.0), node="Good"))
        tail.wait_for(lambda: any("Good" in line for line in tail.lines), "the neighbour")
        lines = [ESCAPE.sub("", line) for line in tail.lines]
        assert tail.end(signal.SIGINT) == 130
        assert "Traceback" not in tail.err
    assert all(line.isprintable() for line in lines)
    if columns is not None and option not in (["--json"], ["--rows"]):
        assert all(cell_len(line) <= columns for line in lines)
    elif option == []:
        assert all(len(line) < 2_000 for line in lines)


# ---------------------------------------------------------------------- the end of a pipe


def test_it_ends_quietly_when_its_reader_has_enough(plant, publish):
    with tailing(plant) as tail:
        publish(BIRTH)
        tail.wait_lines(1)
        tail.stop_reading()
        publish(DEVICE_BIRTH, DATA)
        assert tail.process.wait(60) == 0
        assert len(tail.err.splitlines()) == 1


def test_it_ends_quietly_when_its_reader_has_gone_though_nothing_comes(plant):
    reading, writing = os.pipe()
    command = ["tail", "--config", str(plant)]
    with os.fdopen(writing, "wb") as out:
        process = subprocess.Popen(
            [*FROM_SCRATCH, *command],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
    os.close(reading)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["listening"]


# ---------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_ends_at_once_while_a_server_does_not_answer(tmp_path, number, code):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        plant = configure(tmp_path, f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        process = subprocess.Popen(
            [*FROM_SCRATCH, "tail", "--config", str(plant)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert (out, err.strip()) == ("", "")


def test_a_server_that_ends_the_connection_at_once_is_one_line_with_a_mend(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        plant = configure(tmp_path, f"mqtt://127.0.0.1:{rude.getsockname()[1]}")
        process = subprocess.Popen(
            [*FROM_SCRATCH, "tail", "--config", str(plant)], stderr=subprocess.PIPE, text=True
        )
        connection, _ = rude.accept()
        connection.recv(1 << 10)
        connection.close()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    [line] = err.splitlines()
    assert line.startswith("Error: plant-a: ")
    assert line.endswith("; `sparkplug-zerobus check` says more of it")


def refusal(*arguments):
    done = run("tail", *map(str, arguments))
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


def test_no_server_is_one_line_with_a_mend(tmp_path):
    port = free_port()
    code, lines = refusal("--config", configure(tmp_path, f"mqtt://127.0.0.1:{port}"))
    assert code == 1
    mend = "start the server, or correct the port in servers[0].url"
    assert lines == [f"Error: plant-a: nobody listens on 127.0.0.1:{port}; {mend}"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_one_line_with_a_mend(tmp_path, protocol):
    passwords = tmp_path / "passwords"
    passwords.write_text(password_line("tail", "right"))
    passwords.chmod(0o600)
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as server:
        wrong = {"username": "tail", "password": "wrong-and-secret", "protocol": protocol}
        code, [line] = refusal("--config", configure(tmp_path, server.url, **wrong))
    assert code == 1
    assert line.startswith("Error: plant-a: refused: Not authorized; check username, password")
    assert "wrong-and-secret" not in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["Plant/#"], "Error: the glob 'Plant/#' has a wildcard of MQTT: write * instead"),
        (["A/B/[C"], "Error: the glob 'A/B/[C' has a bracket that is not closed: "),
        (["\x1b[2J//x"], r"Error: the glob '\x1b[2J//x' has an empty level"),
        (["--server", "c"], "Error: no server is called c; there is plant-a"),
        (["--type", "STATE"], "Error: --type STATE has no values: add --messages or --raw"),
        (["--quality", "BAD", "--raw"], "Error: --quality is of values: --raw shows whole"),
        (["--rows", "--raw"], "Error: --messages, --rows and --raw: choose one of them"),
        (["--quality", "worse"], "Error: Invalid value for '--quality': 'worse' is not one of"),
        (["--count", "0"], "Error: Invalid value for '--count': 0 is not in the range x>=1."),
    ],
)
def test_what_is_wrong_in_the_command_line_is_one_clear_line(tmp_path, arguments, text):
    file = configure(tmp_path, "mqtt://127.0.0.1:9")
    code, lines = refusal("--config", file, *arguments)
    assert code == 2
    assert lines[-1].startswith(text)


def test_a_configuration_that_is_not_there_is_one_line(tmp_path):
    code, [line] = refusal("--config", tmp_path / "none.yaml")
    assert code == 2
    assert line.startswith("Error: ")
    assert "none.yaml" in line


def test_the_help_has_examples():
    done = run("tail", "--help")
    assert done.returncode == 0
    assert "Examples:\n    sparkplug-zerobus tail --config plant.yaml\n" in done.stdout


def test_with_its_lines_in_a_file_a_terminal_shows_how_it_goes(plant, publish, tmp_path):
    terminal, theirs = pty.openpty()
    out = tmp_path / "out.jsonl"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*FROM_SCRATCH, "tail", "--config", str(plant), "--json"],
            stdout=file,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm"},
        )
    os.close(theirs)
    shown = bytearray()

    def read(text):
        while text not in shown:
            shown.extend(os.read(terminal, 1 << 16))

    read(b"listening to plant-a")
    publish(BIRTH)
    read(b"messages seen: 1, lines shown: 1")
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the terminal is closed
        while data := os.read(terminal, 1 << 16):
            shown.extend(data)
    assert process.wait(60) == 130
    os.close(terminal)
    assert [json.loads(line)["metric"] for line in out.read_text().splitlines()] == ["Ramp"]
    assert b"\x1b[?25h" in shown  # the cursor is back
    assert shown.endswith(b"messages seen: 1, lines shown: 1, messages let go: 0\r\n")
