"""`capture` in a terminal, beside a real MQTT server: what is in the file, however it ends."""

from __future__ import annotations

import json
import os
import signal
import stat

import pytest
from support.captures import messages_in
from support.check_cases import mapping
from support.program import run, start
from support.services import PATIENCE, free_port, mosquitto, password_line, wait_until
from support.small_disk import small_disk
from support.terminal import CTRL_C, in_terminal

from consumer.errors import CaptureCut
from consumer.tap.capture_format import Kind
from consumer.tap.capture_reader import CaptureReader

TOPIC = "spBv1.0/G/NDATA/Edge 1"


def configured(tmp_path, url, **changes):
    made = mapping(tmp_path, url)
    made["servers"][0].update(changes)
    path = tmp_path / "plant.yaml"
    path.write_text(json.dumps(made))
    return str(path)


def refused(tmp_path, *arguments, code):
    ended = run(*arguments, cwd=tmp_path)
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    [line] = [each for each in ended.stderr.splitlines() if each.startswith("Error")]
    assert "Traceback" not in ended.stderr
    return line


def on_the_way(path):
    """Messages in a file that is still written, or was cut off."""
    found = []
    if path.exists():
        with CaptureReader(path) as reader, pytest.raises(CaptureCut):
            found.extend(record.message for record in reader.records())
    return found


# ------------------------------------------------------------------ how it ends


def test_ctrl_c_in_a_terminal_ends_it_with_a_whole_file(tmp_path, server, client):
    path = tmp_path / "wire.spz"
    arguments = ["capture", "--config", configured(tmp_path, server.url), str(path)]
    with in_terminal(*arguments) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        client.publish(TOPIC, b"one")
        terminal.wait_for("1 messages, ")  # the bar, from the third second on
        client.publish(TOPIC, b"two")
        wait_until(lambda: len(on_the_way(path)) == 2, what="both in the file")
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
        assert "Traceback" not in terminal.shown
        assert f": {path}" in terminal.shown.replace("\r\n", "")
    found = messages_in(path)
    assert [(each.topic, each.payload) for each in found] == [(TOPIC, b"one"), (TOPIC, b"two")]
    assert found[0].received_us < found[1].received_us
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_came_until_a_second_before_kill_9_can_be_read(tmp_path, server, client):
    path = tmp_path / "wire.spz"
    with in_terminal(
        "capture", "--config", configured(tmp_path, server.url), str(path)
    ) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        client.publish(TOPIC, b"one")
        wait_until(lambda: on_the_way(path), what="in the file")
        terminal.process.send_signal(signal.SIGKILL)
        terminal.process.wait(PATIENCE)
    ended = run("replay", str(path))
    assert ended.returncode == 1
    assert "1 messages" in ended.stderr
    assert f"Error: {path} is cut off: it has no end mark" in ended.stderr


def test_seconds_end_it_and_nothing_is_drawn_where_no_terminal_is(tmp_path, server):
    path = tmp_path / "wire.spz"
    config = configured(tmp_path, server.url)
    ended = run("capture", "--config", config, "--seconds", "0.2", str(path))
    assert ended.returncode == 0
    assert len(ended.stderr.splitlines()) == 2
    assert "\x1b" not in ended.stderr
    assert messages_in(path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_in_order(tmp_path, server, client, number):
    path, log = tmp_path / "wire.spz", tmp_path / "log"
    with log.open("wb") as out:
        process = start(
            ["capture", "--config", configured(tmp_path, server.url), str(path)],
            stdout=out,
            stderr=out,
        )
    wait_until(lambda: "Ctrl-C ends it" in log.read_text(), what="capture")
    client.publish(TOPIC, b"one", retain=True)
    client.publish(TOPIC, b"two")
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0, log.read_text()
    assert [each.payload for each in messages_in(path)] == [b"one", b"two"]


# ------------------------------------------------------------------ what is in it


def test_what_a_server_had_kept_is_marked_so(tmp_path, server, client):
    client.publish(TOPIC, b"old", retain=True)
    path = tmp_path / "wire.spz"
    config = configured(tmp_path, server.url)
    with in_terminal("capture", "--config", config, str(path)) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        client.publish(TOPIC, b"new")
        wait_until(lambda: len(on_the_way(path)) == 2, what="both in the file")
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
    found = {each.payload: each.retained for each in messages_in(path)}
    assert found == {b"old": True, b"new": False}


def test_a_lost_connection_is_said_and_is_in_the_file(tmp_path, server, client):
    path = tmp_path / "wire.spz"
    config = configured(tmp_path, server.url)
    with in_terminal("capture", "--config", config, str(path)) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        client.publish(TOPIC, b"one")
        wait_until(lambda: len(on_the_way(path)) == 1, what="in the file")
        server.restart()
        terminal.wait_for("plant-a is connected again")
        wait_until(client.client.is_connected, what="the publisher")
        client.publish(TOPIC, b"two")
        wait_until(lambda: len(on_the_way(path)) == 3, what="both in the file")
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
    with CaptureReader(path) as reader:
        kinds = [record.kind for record in reader.records()]
    assert kinds == [Kind.MESSAGE, Kind.LOST, Kind.MESSAGE]


def test_files_follow_each_other_by_size_and_the_oldest_go(tmp_path, server, client):
    path = tmp_path / "wire.spz"
    config = configured(tmp_path, server.url)
    options = ["--max-bytes", "64KiB", "--max-files", "2"]
    with in_terminal("capture", "--config", config, *options, str(path)) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        for number in range(5):
            client.publish(TOPIC, bytes([number]) + os.urandom(50_000))
            wait_until(lambda n=number: file_of(path, n), what=f"message {number}")
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
    assert sorted(each.name for each in tmp_path.glob("wire*")) == ["wire.spz.3", "wire.spz.4"]
    assert [each.payload[0] for each in messages_in(tmp_path / "wire.spz.3")] == [3, 4]


def file_of(path, number):
    last = path.with_name(f"{path.name}.{number}") if number else path
    return last.exists() and on_the_way(last)


def test_names_do_not_leave_the_plant_in_a_redacted_file(tmp_path, server, client):
    path = tmp_path / "wire.spz"
    config = configured(tmp_path, server.url, name="Salzburg", site="Kettle.House")
    options = ["--redact", "--config", config]
    with in_terminal("capture", *options, str(path)) as terminal:
        terminal.wait_for("Ctrl-C ends it")
        client.publish("spBv1.0/Brewery/NDATA/Edge", b"\xff no payload: Heinrich")
        wait_until(lambda: on_the_way(path), what="in the file")
        terminal.press(CTRL_C)
        assert terminal.wait_end() == 130
        assert "1 payloads could not be read" in terminal.shown
    [message] = messages_in(path)
    content = path.read_bytes() + message.topic.encode() + message.payload
    for secret in (b"Salzburg", b"Kettle", b"Brewery", b"Heinrich"):
        assert secret not in content
    with CaptureReader(path) as reader:
        assert reader.header.redacted
        assert reader.header.servers[0].name == "server-1"


# ------------------------------------------------------------------ what goes wrong


def test_no_server_is_one_line_and_leaves_no_file(tmp_path):
    config = configured(tmp_path, f"mqtt://127.0.0.1:{free_port()}")
    line = refused(tmp_path, "capture", "--config", config, "wire.spz", code=1)
    assert "nobody listens on 127.0.0.1:" in line
    assert not (tmp_path / "wire.spz").exists()


def test_a_server_that_refuses_is_one_line_without_the_password(tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text(password_line("capture", "right"))
    passwords.chmod(0o600)
    with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {passwords}") as server:
        config = configured(tmp_path, server.url, username="capture", password="wr0ng-one")
        line = refused(tmp_path, "capture", "--config", config, "wire.spz", code=1)
    assert "Not authorized" in line
    assert "wr0ng-one" not in line
    assert not (tmp_path / "wire.spz").exists()


def test_a_file_that_exists_is_one_line_before_anything_is_connected(tmp_path):
    (tmp_path / "wire.spz.3").write_text("precious")
    config = configured(tmp_path, "mqtt://127.0.0.1:1")
    line = refused(tmp_path, "capture", "--config", config, "wire.spz", code=2)
    assert line == "Error: wire.spz.3 exists: give another name, or move it away"


def test_a_directory_that_is_not_there_is_one_line(tmp_path):
    config = configured(tmp_path, "mqtt://127.0.0.1:1")
    line = refused(tmp_path, "capture", "--config", config, "none/wire.spz", code=2)
    assert "there is no directory none" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--max-bytes", "1KiB"], "must be 64KiB or more"),
        (["--max-bytes", "much"], "must be a size"),
        (["--max-files", "3"], "--max-files needs --max-bytes"),
        (["--server", "other"], "no server is called other"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, options, says):
    config = configured(tmp_path, "mqtt://127.0.0.1:1")
    assert says in refused(tmp_path, "capture", "--config", config, *options, "wire.spz", code=2)


def test_a_full_disk_is_one_line_and_leaves_a_file_that_can_be_read(tmp_path, server, client):
    with small_disk(tmp_path, 1) as disk:
        path = disk.path / "wire.spz"
        config = configured(tmp_path, server.url)
        with in_terminal("capture", "--config", config, str(path)) as terminal:
            terminal.wait_for("Ctrl-C ends it")
            sent = 0
            while terminal.process.poll() is None and sent < 1000:
                client.publish(TOPIC, os.urandom(100_000))
                sent += 1
            assert terminal.wait_end() == 1
            assert "No space left on device" in terminal.shown
            assert "Traceback" not in terminal.shown
        with CaptureReader(path) as reader:
            list(reader.records())


def test_its_help_has_examples():
    ended = run("capture", "--help")
    assert "sparkplug-zerobus capture --config plant.yaml wire.spz" in ended.stdout
