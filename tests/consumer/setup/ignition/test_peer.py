"""An independent client of the gateway's API works with the fake: ignition-cli, from PyPI.

It takes 200 with success:false for success, so it proves nothing about that.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from support.certificates import Authority
from support.gateway import KEY, TX, serving_gateway
from support.peer_environments import UnavailableError, python_of
from support.services import PATIENCE


@pytest.fixture(scope="module")
def program():
    try:
        return python_of("ignition")
    except UnavailableError as error:
        pytest.skip(f"no ignition-cli: {error}")


@pytest.fixture(params=["http", "https"])
def peer(request, program, tmp_path):
    """Runs ignition-cli against a fake; `.state` is the fake's."""
    authority = Authority(tmp_path / "authority") if request.param == "https" else None
    with serving_gateway(authority and authority.issue("gateway")) as fake:
        environ = {**os.environ, "HOME": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "200"}
        if authority is not None:
            environ["SSL_CERT_FILE"] = str(authority.ca_file)

        def run(*arguments, key=KEY):
            return subprocess.run(
                [program, "-m", "ignition_cli", *arguments, "--url", fake.url, "--token", key],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                env=environ,
                check=False,
            )

        run.state = fake.state
        yield run


def told(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_it_reads_writes_and_deletes(peer):
    assert told(peer("gateway", "info", "-f", "json"))["ignitionVersion"].startswith("8.3.7")
    store = f"{TX}/history-store"
    listed = told(peer("resource", "list", store, "-f", "json"))
    assert [each["name"] for each in listed["items"]] == ["Default In-Memory Store"]
    made = peer("resource", "create", store, "--name", "Peer", "--config", '{"config": {}}')
    assert made.returncode == 0, made.stdout
    change = json.dumps({"name": "Peer", "config": peer.state.types[store] | {"flushPeriod": 5}})
    assert peer("resource", "update", store, "Peer", "--config", change).returncode == 0
    shown = told(peer("resource", "show", store, "Peer", "-f", "json"))
    assert shown["config"]["flushPeriod"] == 5
    assert peer("resource", "delete", store, "Peer", "--force").returncode == 0
    assert "Peer" not in peer.state.resources[store]


def test_it_reads_singletons_logs_and_scans(peer):
    general = f"{TX}/general"
    assert told(peer("resource", "show", general, "-f", "json"))["config"] == {"enabled": True}
    peer.state.say("com.cirruslink.x", "historyFlushType=ASYNC")
    lines = told(peer("gateway", "logs", "-f", "json"))
    assert lines["items"][0]["message"] == "historyFlushType=ASYNC"
    assert peer("gateway", "scan-config").returncode == 0
    assert peer("gateway", "scan-projects").returncode == 0
    assert [what for _, what, _ in peer.state.written] == ["config", "projects"]


def test_it_is_refused_with_a_wrong_key(peer):
    done = peer("gateway", "info", key="wrong")
    assert done.returncode != 0
    assert "Authentication failed" in done.stdout + done.stderr


def test_a_parameter_that_is_not_known_filters_everything_away(peer):
    listed = told(peer("api", "get", f"/resources/list/{TX}/history-store?bogus=1"))
    assert listed["items"] == []
    assert listed["metadata"]["total"] == 1
