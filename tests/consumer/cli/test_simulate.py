"""The simulate command as a process: output, files, signals and exit codes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys

import pytest
from support.mqtt_listener import listening
from support.services import PATIENCE, wait_until

PROGRAM = "from consumer.cli import main; main()"


@contextlib.contextmanager
def simulate(*arguments, prelude=""):
    process = subprocess.Popen(
        [sys.executable, "-c", prelude + PROGRAM, "simulate", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_ends_after_the_given_time_with_a_summary_and_the_ledger(server, tmp_path):
    ledger_file = tmp_path / "ledger.json"
    with listening(server) as listener:
        arguments = ("--url", server.url, "--gateways", 2, "--seconds", 2)
        with simulate(*arguments, "--ledger", ledger_file, "--json") as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        listener.wait_for("NDEATH", 2)
        rows = listener.decoded().rows
        landed = {row["event_id"] for row in rows if row["message_type"] != "NDEATH"}

    summary, ledger = json.loads(out), json.loads(ledger_file.read_text())
    assert summary["gateways"] == ["Plant 1/Line A", "Plant 2/Line A"]
    assert summary["published"] == ledger["published"] > 0
    # On a busy machine a node may have connected twice: its births then repeat data.
    data, births = set(ledger["event_ids"]), ledger["births"]
    assert summary["distinct"] == ledger["distinct"] == len(data | {own for own, _ in births})
    assert data <= landed
    assert all(landed & {own, returned} for own, returned in births)
    assert landed <= data.union(*births)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_after_the_ndeath(server, number, code):
    with listening(server) as listener:
        with simulate("--url", server.url, "--gateways", 3, "--gateway-index", 2) as process:
            listener.wait_for("DDATA", 2)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, err
        assert not out
        listener.wait_for("NDEATH")
        assert {each.topic.split("/")[1] for each in listener.arrivals} == {"Plant 2"}


def stays_away(health_file):
    """Remove it: touched every 0.2 seconds, it would be back with one of the next rounds."""
    health_file.unlink(missing_ok=True)
    try:
        wait_until(health_file.exists, timeout=0.8)
    except AssertionError:
        return True
    return False


def test_the_health_file_is_touched_only_while_connected(server, tmp_path):
    health_file = tmp_path / "healthy"
    arguments = ("--url", server.url, "--gateways", 1, "--health-file", health_file)
    more_often = "from consumer.cli import simulate; simulate._HEALTH_SECONDS = 0.2; "
    with simulate(*arguments, prelude=more_often) as process:
        wait_until(health_file.exists, what="the health file")
        server.stop()
        assert any("not connected" in line for line in process.stderr)
        # The round that was under way at the loss may still touch it.
        wait_until(lambda: stays_away(health_file), what="a health file that is left alone")
        server.start()
        wait_until(health_file.exists, what="the health file again")


def test_the_password_comes_from_its_file_and_is_not_shown(server, tmp_path):
    password_file = tmp_path / "password"
    password_file.write_text("geheim\n")
    arguments = ("--url", server.url, "--username", "u", "--password-file", password_file)
    with simulate(*arguments, "--seconds", 0.2, "--json") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "geheim" not in out + err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--url", "http://127.0.0.1"), "mqtt://"),
        (("--gateway-index", 9), "gateway index"),
        (("--password-file", "/nowhere/password"), "--password-file"),
        (("--ca-file", "/nowhere/ca.pem"), "--ca-file"),
        (("--rate", "fast"), "--rate"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(arguments, word):
    with simulate(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert not out
    assert word in err
    assert "Traceback" not in err


@pytest.mark.parametrize("store", ["--store", "--no-store"])
def test_while_its_primary_host_is_offline_a_gateway_keeps_its_data_or_drops_it(server, store):
    arguments = ("--url", server.url, "--gateways", 1, "--seconds", 1, "--primary-host", "nobody")
    with simulate(*arguments, store, "--json") as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["published"] == 0
    kept, lost = summary["unsent"], summary["dropped"]
    assert (kept > 0, lost > 0) == ((True, False) if store == "--store" else (False, True))
