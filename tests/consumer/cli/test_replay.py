"""`replay` in a terminal, from files that are right and wrong, to stdout and to a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from oracle.messages import MEASURED_MS, metric, payload
from support.captures import BEGUN_US, HEADER, messages_in, write_capture
from support.check_cases import mapping
from support.mqtt_listener import listening
from support.program import run
from support.services import free_port, mosquitto, password_line, wait_until
from support.small_disk import small_disk
from support.terminal import CTRL_C, in_terminal

from consumer.tap.capture_format import CapturedServer
from sparkplug import Message

NODE = "spBv1.0/G/{}/E"
NBIRTH = (NODE.format("NBIRTH"), payload(metric("Level", 10, alias=1, double_value=0.5)))


def data(number, *, seq=None):
    measured = metric(alias=1, timestamp=MEASURED_MS + number, double_value=float(number))
    return NODE.format("NDATA"), payload(measured, seq=number % 256 if seq is None else seq)


@pytest.fixture
def wire(tmp_path):
    """A capture of a birth and two values."""
    return write_capture(tmp_path / "wire.spz", [NBIRTH, data(1), data(2)])


def rows(*arguments, code=0):
    ended = run("replay", *map(str, arguments))
    assert ended.returncode == code, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def refused(*arguments, code=1):
    """The one line that says why."""
    ended = run("replay", *map(str, arguments))
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    [line] = [each for each in ended.stderr.splitlines() if each.startswith("Error")]
    return line


# ------------------------------------------------------------------ rows


def test_rows_are_json_lines_without_nulls(wire):
    first, second, third = rows(wire)
    assert first["metric_name"] == "Level"
    assert first["event_time"] == "2023-11-14T22:13:20.000000Z"
    assert first["ingestion_timestamp"] == "2023-11-14T22:13:20.000000Z"
    assert "device_id" not in first
    assert [each["numeric_value"] for each in (first, second, third)] == [0.5, 1.0, 2.0]
    assert [each["arrival_number"] for each in (first, second, third)] == [1, 2, 3]


def test_the_site_of_the_capture_is_part_of_the_event_ids(tmp_path, wire):
    header = HEADER._replace(servers=(CapturedServer("plant-a", "North"),))
    other = write_capture(tmp_path / "north.spz", [NBIRTH], header=header)
    [one], [same] = rows(other), rows(wire, "--site", "North")[:1]
    assert one["event_id"] == same["event_id"]
    assert one["event_id"] != rows(wire)[0]["event_id"]


def test_a_configuration_says_how_the_server_of_its_name_is_read(tmp_path, wire):
    made = mapping(tmp_path)
    made["servers"][0] |= {"site": "South", "source_system_id": "{site}:{server}"}
    made["normalize"] = {"emit_births": False, "tag_path": "{metric}"}
    del made["zerobus"]["client_secret"]  # no secret is needed
    config = tmp_path / "plant.yaml"
    config.write_text(json.dumps(made))
    found = rows(wire, "--config", config)
    assert [each["numeric_value"] for each in found] == [1.0, 2.0]
    assert {each["tag_path"] for each in found} == {"Level"}
    assert {each["source_system_id"] for each in found} == {"South:plant-a"}
    made["servers"][0]["name"] = "other"
    config.write_text(json.dumps(made))
    assert "the configuration has no server plant-a" in refused(wire, "--config", config)


def test_time_is_that_of_the_capture(tmp_path):
    """What comes late is waited for as long as it was waited for: two seconds, by default."""
    late = [data(1, seq=2), data(2, seq=1)]
    for seconds, gaps in ((1.0, False), (3.0, True)):
        at_us = BEGUN_US + int(seconds * 1e6)
        given = [NBIRTH, late[0], Message(*late[1], at_us)]
        path = write_capture(tmp_path / f"late-{seconds}.spz", given)
        told = run("replay", str(path)).stderr
        assert ("sequence_gap 1" in told) is gaps


def test_a_lost_connection_is_lost_again(tmp_path):
    """Whether the node goes on is not known then: a seq that does not follow waits for a birth."""
    given = [NBIRTH, data(1), data(9)]
    whole = write_capture(tmp_path / "whole.spz", given)
    lost = write_capture(tmp_path / "lost.spz", given, lost_at=2)
    assert len(rows(whole)) == 3
    assert len(rows(lost)) == 2
    assert "1 messages wait for a birth" in run("replay", str(lost)).stderr


def test_births_that_a_server_keeps_are_known_before_the_data(tmp_path):
    kept = (f"$sparkplug/certificates/{NBIRTH[0]}", NBIRTH[1])
    named = NODE.format("NDATA"), payload(metric("Level", double_value=7.0), seq=5)
    path = write_capture(tmp_path / "kept.spz", [kept, named])
    assert [each["numeric_value"] for each in rows(path)] == [7.0]


def test_csv_and_parquet_have_the_columns_of_the_table(tmp_path, wire):
    for kind in ("csv", "parquet"):
        assert rows(wire, "--format", kind, "--output", tmp_path / f"rows.{kind}") == []
    table = pq.read_table(tmp_path / "rows.parquet")
    header, *lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert header.split(",") == table.schema.names
    assert [each.partition(",")[0] for each in lines] == table["event_id"].to_pylist()
    assert table["numeric_value"].to_pylist() == [0.5, 1.0, 2.0]


def test_a_capture_without_rows_gives_none(tmp_path):
    path = write_capture(tmp_path / "empty.spz", [])
    assert rows(path) == []
    assert len(run("replay", str(path), "--format", "csv").stdout.splitlines()) == 1
    rows(path, "--format", "parquet", "--output", tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 0


def test_whoever_has_read_enough_is_not_told_of_it(tmp_path):
    path = write_capture(tmp_path / "long.spz", [NBIRTH, *map(data, range(1, 10_000))])
    command = "exec 3>&1; { sparkplug_zerobus; echo code $? >&3; } 2>errors | head -1"
    program = (
        "sparkplug_zerobus() { "
        f"'{sys.executable}' -c 'from consumer.cli import main; main()' replay '{path}'; }}; "
    )
    told = subprocess.run(
        ["bash", "-c", program + command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "code 0" in told.stdout
    assert "Error" not in (tmp_path / "errors").read_text()


def test_a_capture_can_be_redacted_afterwards(tmp_path):
    given = [NBIRTH, data(1), data(9)]
    path = write_capture(tmp_path / "wire.spz", given, lost_at=2)
    copy = tmp_path / "redacted.spz"
    ended = run("replay", str(path), "--redacted", str(copy))
    assert ended.returncode == 0, ended.stderr
    one, other = run("replay", str(path)), run("replay", str(copy))
    assert [json.loads(each)["numeric_value"] for each in other.stdout.splitlines()] == [0.5, 1.0]
    assert one.stderr.splitlines()[1:] == other.stderr.splitlines()[1:]
    assert "Level" not in other.stdout
    assert "exists: give another name" in refused(path, "--redacted", copy, code=2)


def test_of_a_file_that_was_cut_the_redacted_copy_is_whole(tmp_path, wire):
    wire.write_bytes(wire.read_bytes()[:-5])
    copy = tmp_path / "redacted.spz"
    assert "is cut off" in refused(wire, "--redacted", copy)
    assert len(messages_in(copy)) == 3


# ------------------------------------------------------------------ files that are wrong


def test_what_can_be_read_of_a_file_that_was_cut_is_read_and_it_is_said(wire):
    whole = wire.read_bytes()
    wire.write_bytes(whole[:-5])
    assert len(rows(wire, code=1)) == 3
    assert "is cut off: it has no end mark" in refused(wire)


def test_damage_is_said_with_its_place(wire):
    data_ = bytearray(wire.read_bytes())
    data_[-60] ^= 0xFF
    wire.write_bytes(data_)
    assert "is damaged near byte" in refused(wire)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is no capture"), (b"SQLite format 3", "is no capture"), (None, "no such file")],
)
def test_what_is_no_capture_is_one_line(tmp_path, content, says):
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
    assert says in refused(path)


def test_a_directory_and_a_pipe_are_no_captures(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is no file" in refused(tmp_path / "pipe")
    assert "is no file" in refused(tmp_path)


def test_nothing_is_overwritten(tmp_path, wire):
    (tmp_path / "rows").write_text("precious")
    line = refused(wire, "--output", tmp_path / "rows", code=2)
    assert "exists: give another name" in line
    assert (tmp_path / "rows").read_text() == "precious"


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_a_full_disk_is_one_line(tmp_path, kind):
    path = write_capture(tmp_path / "long.spz", [NBIRTH, *map(data, range(1, 20_000))])
    with small_disk(tmp_path, 1) as disk, disk.filled():
        line = refused(path, "--format", kind, "--output", disk.path / "rows")
    assert "rows cannot be written: No space left on device" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "parquet"], "--format parquet needs --output FILE"),
        (["--pace", "2"], "--pace needs --to"),
        (["--username", "me"], "--username needs --to"),
        (["--yes"], "--yes needs --to"),
        (["--to", "mqtt://127.0.0.1", "--format", "csv"], "--format does not go with --to"),
        (["--to", "mqtt://127.0.0.1", "--site", "x"], "--site does not go with --to"),
        (["--redacted", "new", "--format", "csv"], "--format does not go with --redacted"),
        (["--to", "mqtt://127.0.0.1", "--pace", "0"], "must be max, or a number"),
        (["--to", "127.0.0.1:1883"], "--to: has no scheme; write mqtt://127.0.0.1:1883"),
        (["--to", "mqtt://10.0.0.1"], "is another machine"),
        (["--to", "mqtt://plant.example"], "is another machine"),
        (["--to", "mqtt://me:s3cret@127.0.0.1"], "--to: "),
        (["--to", "mqtt://127.0.0.1", "--ca-file", "/x"], "--ca-file"),
        (["--to", "mqtts://127.0.0.1", "--ca-file", "/none"], "--ca-file: /none cannot be used"),
        (["--to", "mqtts://127.0.0.1", "--cert-file", "/x"], "--key-file: missing"),
        (["--to", "mqtt://127.0.0.1", "--password-file", "/none"], "--password-file: the file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_option_is_one_line(wire, options, says):
    line = refused(wire, *options, code=2)
    assert says in line
    assert "s3cret" not in line


# ------------------------------------------------------------------ onto a server


def test_a_server_gets_what_edge_nodes_said_and_nothing_else(tmp_path, server, client):
    kept = (f"$sparkplug/certificates/{NBIRTH[0]}", NBIRTH[1])
    others = [
        ("spBv1.0/STATE/other", b'{"online":true,"timestamp":1}'),
        (NODE.format("NCMD"), b"command"),
        (NODE.format("DCMD") + "/D", b"command"),
        ("else/where", b"x"),
        ("$SYS/broker", b"x"),
    ]
    retained = Message(NODE.format("NBIRTH"), b"old", BEGUN_US, retained=True)
    given = [kept, NBIRTH, retained, *others, data(1), data(2)]
    path = write_capture(tmp_path / "wire.spz", given)
    ended = run("replay", str(path), "--to", server.url, "--pace", "max")
    assert ended.returncode == 0, ended.stderr
    assert f"4 messages published on {server.url}" in ended.stderr
    assert "left out: no message of an edge node 3, commands 2, retained 1" in ended.stderr
    client.wait_for("NDATA", 2)
    found = [(each.topic, each.payload) for each in client.arrivals]
    assert found == [NBIRTH, NBIRTH, data(1), data(2)]
    with listening(server) as later:
        client.publish("spBv1.0/G/NDATA/last", b"x")
        later.wait_for("NDATA")
        assert len(later.arrivals) == 1  # nothing is kept there


def test_all_of_many_messages_come_in_their_order(tmp_path, server, client):
    path = write_capture(tmp_path / "wire.spz", [NBIRTH, *map(data, range(1, 3000))])
    assert run("replay", str(path), "--to", server.url, "--pace", "max").returncode == 0
    client.wait_for("NDATA", 2999)
    assert [each.payload for each in client.arrivals[1:]] == [data(n)[1] for n in range(1, 3000)]


@pytest.mark.parametrize(("pace", "bounds"), [("1", (0.5, 30)), ("10", (0.05, 0.5))])
def test_the_pace_is_the_old_one_or_another(tmp_path, server, client, pace, bounds):
    given = [Message(*data(n), BEGUN_US + n * 300_000) for n in range(3)]
    path = write_capture(tmp_path / "wire.spz", given)
    assert run("replay", str(path), "--to", server.url, "--pace", pace).returncode == 0
    client.wait_for("NDATA", 3)
    came = [each.received_at_us / 1e6 for each in client.arrivals]
    assert bounds[0] < came[-1] - came[0] < bounds[1]
    assert all(later > earlier for earlier, later in pairwise(came))


def test_a_clock_that_was_set_back_is_waited_for_by_nobody(tmp_path, server, client):
    given = [Message(*data(n), BEGUN_US - n * 3_600_000_000) for n in range(3)]
    path = write_capture(tmp_path / "wire.spz", given)
    assert run("replay", str(path), "--to", server.url).returncode == 0
    client.wait_for("NDATA", 3)


def test_ctrl_c_in_a_terminal_ends_a_slow_replay_in_order(tmp_path, server, client):
    given = [Message(*data(n), BEGUN_US + n * 40_000) for n in range(10_000)]
    path = write_capture(tmp_path / "wire.spz", given)
    with in_terminal("replay", str(path), "--to", server.url) as terminal:
        terminal.wait_for("messages published")  # the bar, from the third second on
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
        assert "Traceback" not in terminal.shown
        assert "messages published on mqtt://" in terminal.shown
    count = int(re.findall(r"(\d+) messages published on", terminal.shown)[0])
    wait_until(lambda: client.count("NDATA") == count, what="what was said to be published")


def test_ctrl_c_while_rows_are_written_leaves_a_whole_file(tmp_path):
    path = write_capture(tmp_path / "long.spz", [NBIRTH, *map(data, range(1, 60_000))])
    rows_file = tmp_path / "rows.parquet"
    arguments = ["replay", str(path), "--format", "parquet", "--output", str(rows_file)]
    with in_terminal(*arguments) as terminal:
        wait_until(rows_file.exists, what="the file")
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
    assert pq.read_table(rows_file).num_rows < 60_000


def test_what_takes_long_shows_a_bar_on_a_terminal_but_not_among_rows(tmp_path):
    path = write_capture(tmp_path / "long.spz", [NBIRTH, *map(data, range(1, 80_000))])
    with in_terminal("replay", str(path), stdout=tmp_path / "rows") as terminal:
        begun = time.monotonic()
        assert terminal.wait_end() == 0
        took = time.monotonic() - begun
        if took > 4:  # else this machine is too fast for a bar
            assert re.search(r"[0-9,]+ rows .*━", terminal.shown)
    found = (tmp_path / "rows").read_text()
    assert "━" not in found
    assert len(found.splitlines()) == 80_000


# ------------------------------------------------------------------ servers that refuse


def test_no_server_is_one_line(wire):
    port = free_port()
    line = refused(wire, "--to", f"mqtt://127.0.0.1:{port}")
    assert f"nobody listens on 127.0.0.1:{port}; start the server, or correct" in line


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_one_line_without_it(tmp_path, wire, protocol):
    passwords = tmp_path / "passwords"
    passwords.write_text(password_line("me", "right"))
    passwords.chmod(0o600)
    secret = tmp_path / "secret"
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as server:
        options = ["--to", server.url, "--username", "me", "--password-file", secret]
        secret.write_text("wr0ng-one\n")
        line = refused(wire, *options, "--protocol", protocol)
        assert "refuses the connection" in line
        assert "check --username" in line
        assert "wr0ng-one" not in line
        secret.write_text("right\n")
        assert rows(wire, *options, "--pace", "max", "--protocol", protocol) == []


def test_a_server_that_takes_no_messages_of_this_user_is_one_line(tmp_path, wire):
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n")
    acl.chmod(0o600)
    with mosquitto(tmp_path, f"acl_file {acl}") as server:
        line = refused(wire, "--to", server.url, "--pace", "max")
    assert "refuses what is published: Not authorized" in line


def test_a_server_that_goes_away_is_one_line(tmp_path, server, client):
    given = [Message(*data(n), BEGUN_US + n * 100_000) for n in range(10_000)]
    path = write_capture(tmp_path / "wire.spz", given)
    with in_terminal("replay", str(path), "--to", server.url) as terminal:
        client.wait_for("NDATA")
        server.stop()
        assert terminal.wait_end() == 1
        assert "ended the connection" in terminal.shown


def test_its_help_has_examples():
    ended = run("replay", "--help")
    assert "sparkplug-zerobus replay wire.spz --to mqtt://127.0.0.1:1883" in ended.stdout
