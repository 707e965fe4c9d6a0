"""The command `local-zerobus`: a server exactly where the configuration points."""

import contextlib
import json
import signal
import subprocess
import sys

import httpx
import pytest
from deltalake import DeltaTable
from support.services import PATIENCE, free_port, wait_until

from consumer.cli.local_zerobus import addresses
from consumer.config import parse
from consumer.errors import ConfigurationError
from consumer.rows.tables import SPARKPLUG_EVENTS, TAG_EVENTS_SCHEMA, TAG_METADATA

PROGRAM = [sys.executable, "-c", "from consumer.cli import main; main()", "local-zerobus"]


def configuration(endpoint, workspace):
    return {
        "servers": [{"name": "a", "url": "mqtt://localhost", "password_file": "/nowhere"}],
        "zerobus": {
            "endpoint": endpoint,
            "workspace_url": workspace,
            "table": "main.ot.tag_events",
            "client_id": "local",
            "client_secret": "${SECRET:-let me in}",
        },
    }


@contextlib.contextmanager
def running(tmp_path, mapping, *arguments):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(mapping), encoding="utf-8")  # JSON is YAML
    errors = tmp_path / "stderr"
    with errors.open("w") as log:
        process = subprocess.Popen(
            [*PROGRAM, "--config", str(path), "--data-dir", str(tmp_path / "lake"), *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield process, errors
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)


def ready(process, errors):
    wait_until(
        lambda: "ready" in errors.read_text() or process.poll() is not None, what="the ready line"
    )
    assert process.poll() is None, errors.read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_the_configured_table_until_a_signal_ends_it(tmp_path, number, code):
    endpoint, workspace = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with running(tmp_path, configuration(endpoint, workspace)) as (process, errors):
        ready(process, errors)
        assert httpx.get(f"{workspace}/healthz", timeout=PATIENCE).status_code == 200
        table = DeltaTable(tmp_path / "lake" / "main" / "ot" / "tag_events")
        assert [f.name for f in table.schema().fields] == TAG_EVENTS_SCHEMA.names
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
        assert process.stdout.read() == b""
    assert errors.read_text() == (
        f"local-zerobus ready: endpoint {endpoint}, workspace {workspace}, "
        f"table main.ot.tag_events in {tmp_path / 'lake'}\n"
    )


def test_it_serves_the_side_tables_that_have_a_name(tmp_path):
    endpoint, workspace = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    mapping = configuration(endpoint, workspace)
    mapping["zerobus"] |= {"events_table": "main.ot.e", "metadata_table": "main.ot.m"}
    with running(tmp_path, mapping) as (process, errors):
        ready(process, errors)
    for name, table in (("e", SPARKPLUG_EVENTS), ("m", TAG_METADATA)):
        made = DeltaTable(tmp_path / "lake" / "main" / "ot" / name)
        assert [f.name for f in made.schema().fields] == table.arrow_schema.names
    assert "tables main.ot.tag_events, main.ot.e, main.ot.m in " in errors.read_text()


def test_a_port_that_is_taken_is_named(tmp_path):
    endpoint, workspace = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    mapping = configuration(endpoint, workspace)
    with running(tmp_path / "first", mapping) as first:
        ready(*first)
        with running(tmp_path / "second", mapping) as (process, errors):
            assert process.wait(PATIENCE) == 1
            text = errors.read_text()
            assert text.startswith("Error: local-zerobus: Cannot listen on 127.0.0.1:")


def test_the_configuration_must_point_to_this_machine(tmp_path):
    mapping = configuration("https://zerobus.example.com", "https://w.example.com")
    with running(tmp_path, mapping) as (process, errors):
        assert process.wait(PATIENCE) == 2
        assert "zerobus.endpoint: must be http:// with a port" in errors.read_text()
        assert len(errors.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("endpoint", "workspace", "expected"),
    [
        ("http://127.0.0.1:1", "http://localhost:2", ("127.0.0.1:1", "127.0.0.1:2")),
        ("http://127.0.0.7:1", "http://zerobus:2", ("127.0.0.7:1", "0.0.0.0:2")),
        ("http://10.1.2.3:1", "http://zerobus.lan:2", ("0.0.0.0:1", "0.0.0.0:2")),
    ],
)
def test_loopback_is_listened_on_as_it_is_and_any_other_host_means_all_interfaces(
    endpoint, workspace, expected
):
    zerobus = parse(configuration(endpoint, workspace), secrets=False).zerobus
    assert addresses(zerobus, "c.yaml") == expected


@pytest.mark.parametrize(
    ("endpoint", "workspace", "words"),
    [
        ("http://h", "http://h:2", r"zerobus\.endpoint: must be http:// with a port"),
        ("http://h:1", "https://h:2", r"zerobus\.workspace_url: must be http://"),
        ("http://h:1", "http://h:1", r"zerobus\.workspace_url: must have another port"),
        ("http://h:1", "http://h:2/prefix", r"zerobus\.workspace_url: must end after the port"),
    ],
)
def test_urls_that_cannot_be_listened_on_are_refused(endpoint, workspace, words):
    zerobus = parse(configuration(endpoint, workspace), secrets=False).zerobus
    with pytest.raises(ConfigurationError, match=words):
        addresses(zerobus, "c.yaml")


@pytest.mark.parametrize(("secret", "status"), [("let me in", 200), ("wrong", 401)])
def test_credentials_can_be_required(tmp_path, secret, status):
    endpoint, workspace = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    mapping = configuration(endpoint, workspace)
    del mapping["servers"][0]["password_file"]
    with running(tmp_path, mapping, "--require-credentials") as (process, errors):
        ready(process, errors)
        answer = httpx.post(
            f"{workspace}/oidc/v1/token",
            auth=("local", secret),
            data={"grant_type": "client_credentials"},
            timeout=PATIENCE,
        )
        assert answer.status_code == status
