"""What is wrong with configuration or surroundings is one clear line, and never a traceback."""

from __future__ import annotations

import json
import signal
import socket
from dataclasses import dataclass

import pytest
from support.program import FROM_SCRATCH
from support.services import PROMPT, free_port

from end_to_end.consumer_process import configuration, consumer
from end_to_end.world import world

KEY = {"name": "on-call", "role": "operator", "key": "0123456789abcdef"}


@dataclass
class Nowhere:
    """A Zerobus that does not exist: what is tested here never gets that far."""

    endpoint: str = "http://127.0.0.1:1"
    workspace_url: str = "http://127.0.0.1:2"


def settings(directory, **changes):
    return configuration(directory, f"mqtt://127.0.0.1:{free_port()}", Nowhere(), **changes)


def refusal(directory, config, program=(), warnings=0):
    """Exit code and the last line of a run that cannot start; there are only warnings before."""
    with consumer(directory, config) as process:
        process.program = program
        process.start()
        code = process.wait_end()
        assert process.output_file.read_bytes() == b""
        lines = process.log().splitlines()
    assert len(lines) == 1 + warnings, lines
    return code, lines[-1].replace(str(directory), "DIR")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"zerobus": {"end_point": "x"}},
            "zerobus.end_point: unknown key; did you mean 'endpoint'?",
        ),
        ({"reorder_timeout": "2s"}, "unknown key here; did you mean 'host.reorder_timeout'?"),
        ({"servers": {"password_file": "/none"}}, "servers[0].password_file: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_wrong_configuration_is_one_line_that_names_the_key(tmp_path, changes, expected):
    code, line = refusal(tmp_path, settings(tmp_path, **changes))
    assert code == 2
    assert line.startswith("Error: DIR/consumer.yaml: ")
    assert expected in line


def test_a_variable_that_is_not_set_is_named(tmp_path):
    config = settings(tmp_path, zerobus={"client_secret": "${SPARKPLUG_SECRET}"})
    code, line = refusal(tmp_path, config, FROM_SCRATCH)
    assert code == 2
    assert "zerobus.client_secret" in line
    assert "SPARKPLUG_SECRET" in line


@pytest.mark.parametrize("content", [None, "servers: [", "\x00", "- a list"])
def test_a_file_that_is_missing_or_no_configuration_is_named(tmp_path, content):
    with consumer(tmp_path, {}) as process:
        process.config_file.unlink()
        if content is not None:
            process.config_file.write_text(content)
        process.start()
        assert process.wait_end() == 2
        [line] = process.log().splitlines()
    assert line.startswith(f"Error: {tmp_path}/consumer.yaml: ")


def test_without_a_configuration_the_option_is_named(tmp_path):
    with consumer(tmp_path, {}) as process:
        process.start("--help")
        assert process.wait_end() == 0
        process.start("--config")
        assert process.wait_end() == 2
        assert "--config" in process.log()
        assert "Traceback" not in process.log()


def test_a_port_that_is_taken_is_named_with_its_key(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = settings(tmp_path, http={"listen": f"127.0.0.1:{port}"})
        code, line = refusal(tmp_path, config)
    assert code == 2
    assert line == (
        f"Error: http.listen: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another port, or '' to switch HTTP off"
    )


def test_a_listen_address_that_nobody_can_have_is_named_with_its_key(tmp_path):
    config = settings(tmp_path, http={"listen": f"{'a' * 64}:8099", "keys": [KEY]})
    code, line = refusal(tmp_path, config, warnings=1)
    assert code == 2
    assert f"http.listen: cannot listen on {'a' * 64}:8099: " in line


def test_a_spool_belongs_to_one_consumer(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        config = settings(tmp_path)
        code, line = refusal(tmp_path / "second", config)
        assert code == 1
        assert line == (
            f"Error: the spool DIR/spool.db is in use by another consumer (process "
            f"{system.consumer.process.pid}): stop it, or give this one a spool.path of its own"
        ).replace("DIR", str(tmp_path))
        assert system.consumer.get("/readyz").status_code == 200
        assert system.consumer.stop() == 0


def test_a_spool_that_cannot_be_made_is_named_with_its_key(tmp_path):
    (tmp_path / "file").touch()
    config = settings(tmp_path, spool={"path": str(tmp_path / "file" / "spool.db")})
    code, line = refusal(tmp_path, config)
    assert code == 1
    assert "spool.db" in line
    assert "point spool.path to a directory this user may write" in line


def test_a_spool_file_that_is_something_else_is_named_and_left_alone(tmp_path):
    (tmp_path / "spool.db").write_bytes(b"no database" * 500)
    code, line = refusal(tmp_path, settings(tmp_path))
    assert code == 1
    assert "is not an SQLite file" in line
    assert (tmp_path / "spool.db").read_bytes() == b"no database" * 500


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_without_broker_and_zerobus_it_says_so_tries_again_and_ends_when_told(
    tmp_path, number, code
):
    with consumer(tmp_path, settings(tmp_path)) as process:
        process.program = FROM_SCRATCH
        process.start()
        process.wait_for_log("cannot connect to plant-a (mqtt://127.0.0.1:")
        process.wait_for_log("rows stay spooled")
        assert process.get("/healthz").status_code == 200
        answer = process.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["not_connected"] == ["plant-a"]
        assert process.stop(number, timeout=PROMPT) == code
        assert "Traceback" not in process.log()
        assert json.loads(process.config_file.read_text())["servers"][0]["url"] in process.log()
