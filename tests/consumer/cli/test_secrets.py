"""No command prints a password, wherever in the configuration it stands."""

from __future__ import annotations

import base64
import json

import pytest
from support.config_cases import changed
from support.program import run

from consumer.config import Configuration
from consumer.config.keys import paths
from consumer.errors import ConfigurationError
from consumer.simulator.connection import MqttTarget

COMMANDS = {
    "check": ["check", "--timeout", "0.2", "--listen", "0"],
    "check --json": ["check", "--timeout", "0.2", "--listen", "0", "--json"],
    "ddl": ["ddl"],
    "deadletter list": ["deadletter", "list"],
    "deadletter show": ["deadletter", "show", "row-1"],
    "gaps": ["gaps"],
    "ledger": ["ledger"],
    "run": ["run"],
    "tail": ["tail", "--seconds", "0.1"],
    "capture": ["capture", "--seconds", "0.1", "wire.spz"],
    "local-zerobus": ["local-zerobus", "--data-dir", "lake"],
}
FORMS = ["user:{}@host", "mqtt://user:{}@host", "user:a\n{}@b@host", "host?password={}"]


def written(directory, *changes):
    path = directory / "plant.yaml"
    path.write_text(json.dumps(changed(*changes)))
    return str(path)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_says_what_is_wrong_with_an_address_and_not_the_password(tmp_path, command):
    keys = ("servers.0.url", "zerobus.endpoint", "zerobus.workspace_url", "spool.path")
    for key in keys if command[0] == "check" else keys[:1]:
        for form in FORMS:
            path = written(tmp_path, (key, form.format("Cnry1zQ")))
            done = run(*command, "--config", path, cwd=tmp_path)
            assert done.returncode == 2
            assert f": {key.replace('.0', '[0]')}: " in done.stderr
            assert "Cnry1zQ" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_prints_no_password_of_any_key(tmp_path, command):
    changes = [
        (key.replace("servers.", "servers.0."), f"user:Cnry{number}zQ@host")
        for number, key in enumerate(paths(Configuration))
        if key != "servers.tls"
    ]
    done = run(*command, "--config", written(tmp_path, *changes), cwd=tmp_path)
    assert done.returncode == 2
    assert "Cnry" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", ["check --json", "ddl", "deadletter list", "gaps", "ledger", "tail", "capture"]
)
def test_a_command_prints_no_secret_of_a_right_configuration(tmp_path, name):
    secrets = {"servers.0.password": "CnryPw1", "http.token": "CnryToken1"}
    secrets["zerobus.client_secret"] = "CnrySecret1"
    path = written(tmp_path, ("servers.0.username", "CnryUser1"), *secrets.items())
    done = run(*COMMANDS[name], "--config", path, cwd=tmp_path)
    shown = done.stdout + done.stderr
    assert done.returncode in (0, 1)
    for secret in secrets.values():
        assert secret not in shown
        assert base64.b64encode(f"local:{secret}".encode()).decode() not in shown


@pytest.mark.parametrize("form", [*FORMS[:3], "mqtt://{}@host", "http://user%3A{}%40host"])
def test_a_gateway_that_is_simulated_does_not_quote_its_address(form):
    for url in (form.format("Cnry2zQ"), form.format("Cnry2zQ") + ":port"):
        with pytest.raises(ConfigurationError, match="apart from the URL") as caught:
            MqttTarget(url).address()
        assert "Cnry2zQ" not in str(caught.value)
