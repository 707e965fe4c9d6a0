"""`sparkplug-zerobus check` names each failing part with its mend."""

import base64
import contextlib
import copy
import json
import os
import subprocess
import sys
import time
import uuid

import pyarrow as pa
import pytest
from support.check_cases import SECRET, TABLE, failure, findings, mapping
from support.scripted_server import scripted
from support.services import PATIENCE, free_port, mosquitto, wait_until

from consumer.check import Status
from consumer.check.endpoint import check_endpoint, explain
from consumer.check.report import Running
from consumer.check.token import check_token
from consumer.config import configured_layout, parse
from consumer.rows.tables import SPARKPLUG_EVENTS, TAG_EVENTS_SCHEMA
from consumer.spool import DrillResult, DrillStore, Spool
from zerobus_local import LocalZerobus, Ports, Tls


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def lake(tmp_path):
    with LocalZerobus(tmp_path / "lake", credentials={"local": SECRET}) as server:
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        yield server


# --- spool


def spool_findings(tmp_path, **spool):
    config = mapping(tmp_path)
    config["spool"] |= spool
    return findings(config, "spool")


def test_a_directory_that_is_yet_to_be_made_is_fine(tmp_path):
    (ok,) = spool_findings(tmp_path, path=str(tmp_path / "new" / "deep" / "spool.db"))
    assert ok.startswith(f"ok   spool  {tmp_path}/new/deep/spool.db: 0 B used, ")
    assert ok.endswith(" free for 16MiB")
    assert not (tmp_path / "new").exists()


def test_a_disk_too_small_for_the_limit_is_a_warning(tmp_path):
    (warning,) = spool_findings(tmp_path, max_bytes="5000TiB")
    assert warning.startswith("warn spool  ")
    assert warning.endswith(" -> make room, or lower spool.max_bytes")


def test_what_is_spooled_counts_as_used(tmp_path):
    (tmp_path / "spool.db").write_bytes(bytes(3 * 1024 * 1024))
    (ok,) = spool_findings(tmp_path)
    assert "3.0 MiB used" in ok


def test_a_spool_path_that_cannot_work_is_reported(tmp_path):
    (fail,) = spool_findings(tmp_path, path=str(tmp_path))
    assert f"FAIL spool  {tmp_path} is a directory -> let spool.path name a file" in fail
    (tmp_path / "file").touch()
    (fail,) = spool_findings(tmp_path, path=str(tmp_path / "file" / "spool.db"))
    assert "is no directory -> let spool.path be in a directory" in fail
    (fail,) = spool_findings(tmp_path, path="/proc/self/spool.db")
    assert " cannot be written: " in fail


def test_who_uses_the_spool_is_told_whatever_its_name(tmp_path):
    with contextlib.closing(Spool.open(tmp_path / "spool.db", reserve_bytes=0)):
        (tmp_path / "link.db").symlink_to(tmp_path / "spool.db")
        (tmp_path / "spool.db.lock").unlink()
        for name in ("spool.db", "link.db"):
            (ok,) = spool_findings(tmp_path, path=str(tmp_path / name))
            assert f", in use by process {os.getpid()}" in ok
    (ok,) = spool_findings(tmp_path)
    assert "in use" not in ok


def test_a_file_of_others_in_the_place_of_the_spools_is_reported(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "spool.db")
    reserve = tmp_path / "real" / "spool.db.reserve"
    reserve.symlink_to(tmp_path / "foreign")
    (fail,) = spool_findings(tmp_path, path=str(tmp_path / "link.db"))
    assert f"FAIL spool  {reserve} is a symbolic link, which is not followed -> move it" in fail


# --- OAuth


def zerobus(tmp_path, **changes):
    return parse(mapping(tmp_path, **changes)).zerobus


def pointing(tmp_path, lake, **changes):
    urls = {"endpoint": lake.endpoint, "workspace_url": lake.workspace_url}
    return zerobus(tmp_path, **(urls | changes))


def test_a_token_is_fetched(tmp_path, lake):
    (found,) = check_token(pointing(tmp_path, lake), timeout=PATIENCE)
    assert found.status is Status.OK
    assert found.text == f"token for {TABLE} from {lake.workspace_url}, valid for 3600 s"


@pytest.mark.parametrize("change", [{"client_secret": "wrong"}, {"client_id": "display name"}])
def test_wrong_credentials_are_reported(tmp_path, lake, change):
    text = failure(check_token, pointing(tmp_path, lake, **change), timeout=PATIENCE)
    assert text.startswith("HTTP 401: Client authentication failed -> zerobus.client_id must be")
    assert "not its display name" in text


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "has its grants"),
        (403, "IP access list"),
        (404, "workspace_url must be the address of the workspace"),
        (418, "workspace_url must be the address of the workspace"),
        (429, "too many requests: try again in a minute"),
        (503, "the workspace has a problem: try again later"),
    ],
)
def test_what_the_workspace_refuses_is_named_with_its_mend(tmp_path, lake, status, words):
    lake.faults.fail_oauth(status)
    text = failure(check_token, pointing(tmp_path, lake), timeout=PATIENCE)
    assert text.startswith(f"HTTP {status}: ")
    assert words in text


BASIC = base64.b64encode(f"local:{SECRET}".encode()).decode()
"""As the token request says who asks."""


def http(status, body, *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            http("200 OK", "<html>sign in</html>"),
            "answered without a token -> zerobus.workspace_url",
        ),
        (http("200 OK", "[1]"), "answered without a token"),
        (
            http("302 Found", "", "Location: https://login.example.com/x"),
            "HTTP 302: a redirect to login.example.com -> zerobus.workspace_url must be",
        ),
        (
            http("401 No", json.dumps({"error_description": f"bad\nsecret {SECRET}"})),
            "HTTP 401: bad secret ***",
        ),
        (
            http("401 No", json.dumps({"error_description": f"heard {BASIC} {SECRET}"})),
            "HTTP 401: heard *** ***",
        ),
        (http("401 No", json.dumps({"message": "x" * 395 + SECRET})), f"HTTP 401: {'x' * 395}***"),
        (
            http("302 Found", "", "Location: http://[/"),
            "HTTP 302: a redirect to another path",
        ),
        (http("305 No", "", "Location: http://[/"), "HTTP 305: a redirect to another path"),
        (http("200 OK", "[" * 60_000), "answered without a token"),
        (b"220 mail.example.com ESMTP\r\n", "does not speak HTTP: BadStatusLine"),
    ],
)
def test_what_is_no_workspace_is_reported(tmp_path, answer, words):
    with scripted(answer, stay=False) as port:
        config = zerobus(tmp_path, workspace_url=f"http://127.0.0.1:{port}")
        assert words in failure(check_token, config, timeout=PATIENCE)


def test_a_workspace_that_does_not_answer_is_reported(tmp_path):
    with scripted() as port:
        config = zerobus(tmp_path, workspace_url=f"http://127.0.0.1:{port}")
        text = failure(check_token, config, timeout=0.3)
    assert text.startswith(f"127.0.0.1:{port} did not answer within 0.3 s -> correct zerobus.works")


def test_a_proxy_that_is_in_the_way_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://user:{SECRET}@127.0.0.1:{free_port()}")
    text = failure(check_token, zerobus(tmp_path), timeout=PATIENCE)
    assert text.endswith("; http_proxy is set: add 127.0.0.1 to no_proxy for a direct connection")


# --- Zerobus


def test_a_stream_is_opened_and_closed_and_no_row_is_sent(tmp_path, lake):
    (found,) = check_endpoint(pointing(tmp_path, lake), timeout=PATIENCE)
    assert found.status is Status.OK
    assert found.text.startswith(f"stream on {TABLE} opened in ")
    assert lake.counters().records_received == 0


def test_every_configured_table_is_checked_by_itself(tmp_path, lake):
    lake.create_table("main.ot.events", SPARKPLUG_EVENTS.arrow_schema)
    config = mapping(
        tmp_path,
        endpoint=lake.endpoint,
        workspace_url=lake.workspace_url,
        events_table="main.ot.events",
        metadata_table="main.ot.none",
    )
    first, second, third = findings(config, "zerobus ")
    assert first.startswith(f"ok   zerobus  stream on {TABLE} opened in ")
    assert "stream on main.ot.events opened in " in second
    assert third.startswith("FAIL zerobus")
    assert "main.ot.none on " in third
    (summary, *_) = findings(config, "configuration")
    assert summary.endswith(f"tables {TABLE}, main.ot.events, main.ot.none")


def test_a_missing_table_is_reported(tmp_path, lake):
    text = failure(check_endpoint, pointing(tmp_path, lake, table="main.ot.none"), timeout=PATIENCE)
    assert text.startswith(f"main.ot.none on {lake.endpoint}: there is no such table, or ")
    assert "create it with `sparkplug-zerobus ddl`" in text


def test_a_table_with_other_columns_is_reported(tmp_path, lake):
    lake.create_table("main.ot.less", pa.schema(list(TAG_EVENTS_SCHEMA)[:20]))
    text = failure(check_endpoint, pointing(tmp_path, lake, table="main.ot.less"), timeout=PATIENCE)
    assert "the table's columns are not those of the rows" in text
    assert "'arrival_number' is not a column of the table" in text
    assert "compare the table with `sparkplug-zerobus ddl`" in text


def test_the_columns_of_the_configured_profile_are_compared(tmp_path, lake):
    module = parse({**mapping(tmp_path), "normalize": {"profile": "ignition-module"}}).normalize
    schema = configured_layout(module).table.arrow_schema
    lake.create_table("main.ot.module", schema)
    zerobus = pointing(tmp_path, lake, table="main.ot.module")
    (found,) = check_endpoint(zerobus, timeout=PATIENCE, normalize=module)
    assert found.status is Status.OK
    text = failure(check_endpoint, pointing(tmp_path, lake), timeout=PATIENCE, normalize=module)
    assert "'source_system' is not a column of the table" in text


@pytest.mark.parametrize(
    ("code", "said", "words"),
    [
        (
            "PERMISSION_DENIED",
            "No.",
            ["permission denied (No.)", "SELECT and MODIFY", "USE SCHEMA"],
        ),
        ("UNAUTHENTICATED", "No.", ["the token was not accepted", "workspace_url names"]),
        ("UNIMPLEMENTED", "No.", ["not supported (No.)", "without liquid clustering"]),
        (
            "INVALID_ARGUMENT",
            "Unsupported table kind. Error Code: 4024, Error State: 0.",
            ["a kind that Zerobus does not write to", "storage location of its own"],
        ),
        (
            "INTERNAL",
            "Internal error. Error Code: 1521, Error State: 0.",
            ["internal error 1521", "must name the same workspace and region", "liquid clustering"],
        ),
        ("INVALID_ARGUMENT", "Error Code: 1015.", ["generated columns"]),
        ("INVALID_ARGUMENT", "Hm.", ["the table was refused (Hm.)", "managed Delta"]),
        ("RESOURCE_EXHAUSTED", "Full.", ["a limit of the service is reached", "quotas"]),
        ("DATA_LOSS", "Gone.", ["Gone.", "error list of Zerobus Ingest"]),
    ],
)
def test_what_zerobus_refuses_is_named_with_its_mend(tmp_path, lake, code, said, words):
    lake.faults.fail_creation(code, said, times=None)
    text = failure(check_endpoint, pointing(tmp_path, lake), timeout=PATIENCE)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("form", [SECRET, BASIC, f"http://local:{SECRET}@proxy"])
def test_what_zerobus_says_is_shown_without_the_secret(tmp_path, lake, form):
    lake.faults.fail_creation("DATA_LOSS", f"Heard {form} {'x' * 500}", times=None)
    text = failure(check_endpoint, pointing(tmp_path, lake), timeout=PATIENCE)
    assert "Heard " in text
    assert "***" in text
    assert BASIC not in text


def test_an_endpoint_where_nobody_listens_is_reported(tmp_path, lake):
    config = pointing(tmp_path, lake, endpoint=f"http://127.0.0.1:{free_port()}")
    text = failure(check_endpoint, config, timeout=PATIENCE)
    assert "nobody listens on the endpoint" in text
    assert "start `sparkplug-zerobus local-zerobus`" in text


def test_an_endpoint_with_an_unknown_name_is_reported(tmp_path, lake):
    config = pointing(tmp_path, lake, endpoint="http://zerobus.invalid:9")
    assert "the name of the endpoint is not known" in failure(
        check_endpoint, config, timeout=PATIENCE
    )


def test_an_endpoint_that_does_not_answer_is_reported(tmp_path, lake):
    with scripted() as port:
        config = pointing(tmp_path, lake, endpoint=f"http://127.0.0.1:{port}")
        text = failure(check_endpoint, config, timeout=0.5)
    assert "did not answer in time" in text


def test_an_endpoint_of_another_protocol_is_reported(tmp_path, lake):
    config = pointing(tmp_path, lake, endpoint=lake.workspace_url)
    assert "does not speak gRPC" in failure(check_endpoint, config, timeout=PATIENCE)


def test_an_endpoint_without_tls_is_reported(tmp_path, lake):
    config = pointing(tmp_path, lake, endpoint=lake.endpoint.replace("http", "https"))
    text = failure(check_endpoint, config, timeout=PATIENCE)
    assert "the endpoint does not speak TLS" in text


def test_an_authority_of_ones_own_is_trusted_through_the_environment(
    tmp_path, authority, lake, monkeypatch
):
    pair = authority.issue("zerobus")
    with LocalZerobus(
        tmp_path / "tls", ports=Ports(tls=Tls(pair.cert_file, pair.key_file))
    ) as server:
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        text = failure(check_token, pointing(tmp_path, server), timeout=PATIENCE)
        assert "is not trusted" in text
        assert "in SSL_CERT_FILE" in text
        text = failure(
            check_endpoint, pointing(tmp_path, lake, endpoint=server.endpoint), timeout=5
        )
        assert "the certificate of the endpoint is not trusted" in text
        assert "in SSL_CERT_FILE" in text

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        assert check_token(pointing(tmp_path, server), timeout=PATIENCE)[0].status is Status.OK
        assert check_endpoint(pointing(tmp_path, server), timeout=PATIENCE)[0].status is Status.OK


def test_an_error_of_the_sdk_never_shows_the_secret(tmp_path):
    error = explain(f"something about {SECRET}", zerobus(tmp_path))
    assert error.text.endswith("something about ***")


# --- all together


def test_a_part_that_never_ends_is_given_up():
    started = Running("slow", lambda: wait_until(lambda: False, 20), 0.1)
    (found,) = started.findings()
    assert found.line().startswith("FAIL slow  no result within 0.1 s -> check name resolution")


def test_a_defect_in_one_part_is_reported_as_its_failure():
    (found,) = Running("odd", lambda: 1 / 0, PATIENCE).findings()
    assert found.line().startswith("FAIL odd  ZeroDivisionError: division by zero")


def test_without_a_token_the_endpoint_is_not_tried(tmp_path):
    (note,) = findings(mapping(tmp_path), "zerobus")
    assert note == "note zerobus  not tried, for there is no token -> mend oauth first"


def run(tmp_path, config, *arguments):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    program = [sys.executable, "-c", "from consumer.cli import main; main()", "check"]
    return subprocess.run(
        [
            *program,
            "--config",
            str(path),
            "--listen",
            "0.1",
            "--timeout",
            str(PATIENCE),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
        env={name: value for name, value in os.environ.items() if name != "RUST_LOG"},
    )


def test_the_command_says_that_all_is_well(tmp_path, lake):
    with mosquitto(tmp_path) as server:
        urls = {"endpoint": lake.endpoint, "workspace_url": lake.workspace_url}
        done = run(tmp_path, mapping(tmp_path, server.url, **urls))
    assert (done.returncode, done.stdout) == (0, "")
    head, *lines = done.stderr.splitlines()
    assert head == f"checking {tmp_path}/c.yaml ..."
    assert [line[:5] + line[5:].split("  ")[0] for line in lines] == [
        "ok   configuration",
        "ok   mqtt plant-a",
        "note mqtt plant-a",
        "ok   spool",
        "ok   oauth",
        "ok   zerobus",
    ]


def test_the_command_fails_when_a_part_fails_and_reports_as_json(tmp_path, lake):
    urls = {"endpoint": lake.endpoint, "workspace_url": lake.workspace_url}
    done = run(tmp_path, mapping(tmp_path, **urls), "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    failed = [found for found in report["findings"] if found["status"] == "FAIL"]
    assert failed == [
        {
            "status": "FAIL",
            "part": "mqtt plant-a",
            "text": "nobody listens on 127.0.0.1:1",
            "mend": "start the server, or correct the port in servers[0].url",
        }
    ]
    assert SECRET not in done.stdout + done.stderr


def test_warnings_of_the_configuration_are_shown_and_do_not_fail(tmp_path):
    config = mapping(tmp_path)
    config["normalize"] = {"tag_path": "[x]{device_id}"}
    (ok, warning) = findings(config, "configuration")
    assert ok == f"ok   configuration  c.yaml: 1 MQTT server, table {TABLE}"
    assert warning.startswith("warn configuration  normalize.tag_path: has no {metric}")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_command_ends_with_2_when_the_configuration_is_wrong(tmp_path, arguments):
    config = copy.deepcopy(mapping(tmp_path))
    config["zerobus"]["tabel"] = str(uuid.uuid4())
    done = run(tmp_path, config, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"Error: {tmp_path}/c.yaml: zerobus.tabel: unknown key; did you mean 'table'?"
    ]
    if arguments:
        assert json.loads(done.stdout)["ok"] is False
    else:
        assert done.stdout == ""


# --- drills


def drill_findings(tmp_path, gate=True):
    config = mapping(tmp_path)
    config["host"] = {"gate_on_sink": gate}
    return findings(config, "drill")


def test_with_a_gate_it_is_said_which_edge_nodes_no_drill_showed_to_keep_their_data(tmp_path):
    assert drill_findings(tmp_path, gate=False) == []
    (note,) = drill_findings(tmp_path)
    assert note.startswith("note drill  host.gate_on_sink is on, and no edge node is known yet -> ")
    with contextlib.closing(Spool.open(tmp_path / "spool.db", max_bytes=16 << 20)) as spool:
        spool.write(
            lambda db: db.executemany(
                "INSERT INTO edge_nodes (server, group_id, edge_node_id, last_us, sent_us) "
                "VALUES ('plant-a', 'Plant', ?, 1, 1)",
                [(f"Edge-{number:02}",) for number in range(12)],
            )
        )
        (warning,) = drill_findings(tmp_path)
        assert warning.startswith(
            "warn drill  host.gate_on_sink is on, and of 12 edge nodes 12 may lose data while the "
            "gate is closed, for no drill of the last 90 days shows that they keep it: "
            "Plant/Edge-00, "
        )
        assert warning.endswith(
            "Plant/Edge-09 and 2 others -> sparkplug-zerobus drill, while the consumer runs, "
            "shows which do"
        )
        now_ms = time.time_ns() // 1_000_000
        DrillStore(spool.state, 16 << 20).write_results(
            "plant-a",
            [
                DrillResult("plant-a", "Plant", f"Edge-{number:02}", now_ms, "kept", kept_ms=now_ms)
                for number in range(12)
            ],
        )
        (ok,) = drill_findings(tmp_path)
        assert ok == (
            "ok   drill  12 edge nodes are known, and all keep data while the gate is closed"
        )


def federated(tmp_path, lake, **changes):
    (tmp_path / "identity").write_text("header.identity.signature\n")
    keys = {"auth": "federated", "identity_token_file": str(tmp_path / "identity")} | changes
    written = mapping(tmp_path, endpoint=lake.endpoint, workspace_url=lake.workspace_url, **keys)
    del written["zerobus"]["client_secret"]
    return parse(written).zerobus


def test_a_token_of_an_identity_provider_is_exchanged_to_see_whether_it_is_good(tmp_path):
    known = {"local": "header.identity.signature"}
    with LocalZerobus(tmp_path / "lake", credentials=known) as server:
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        zerobus = federated(tmp_path, server)
        assert check_token(zerobus, timeout=PATIENCE)[0].status is Status.OK
        assert check_endpoint(zerobus, timeout=PATIENCE)[0].status is Status.OK

        known["local"] = "header.another.signature"
        text = failure(check_token, zerobus, timeout=PATIENCE)
        assert text.startswith("HTTP 400: The subject token is not one that a federation policy")
        assert "the workspace must have a federation policy" in text
        assert "header.identity" not in text
