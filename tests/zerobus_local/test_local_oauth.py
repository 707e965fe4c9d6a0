"""Tokens: who gets one, and that a stream needs one."""

import base64
import contextlib
import json
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.local_rig import READING, TABLE, create_request, raw_call
from support.services import PATIENCE
from zerobus.sdk.sync import (
    HeadersProvider,
    NonRetriableException,
    StreamConfigurationOptions,
    TableProperties,
    ZerobusException,
)

from zerobus_local import LocalZerobus, LocalZerobusError, Ports, Tls
from zerobus_local.http import MAX_CONNECTIONS
from zerobus_local.oauth import Tokens, signing_key


def ask(server, *, user="client", secret="s", form="grant_type=client_credentials"):
    basic = base64.b64encode(f"{user}:{secret}".encode()).decode()
    request = urllib.request.Request(
        f"{server.workspace_url}/oidc/v1/token",
        data=form.encode(),
        headers={"Authorization": f"Basic {basic}"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def test_any_credentials_are_good_unless_some_are_given(server, client):
    answer = ask(server, user="whoever", secret="whatever")
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3600
    client.stream(secret="anything")


def test_only_given_credentials_get_a_token(make_server, make_client):
    server = make_server(credentials={"client": "right"})
    client = make_client(server)
    with pytest.raises(ZerobusException, match="401"):
        client.stream(secret="wrong")
    client.stream(secret="right")
    for user, secret in (("client", ""), ("", "right"), ("other", "right"), ("client", "Right")):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(server, user=user, secret=secret)
    counters = server.counters()
    assert counters.tokens_issued == 1
    assert counters.tokens_refused >= 5


def test_another_grant_type_is_refused(server):
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(server, form="grant_type=password")


class Fixed(HeadersProvider):
    def __new__(cls, _authorization):
        return super().__new__(cls)

    def __init__(self, authorization):
        super().__init__()
        self.authorization = authorization

    def get_headers(self):
        return [
            ("authorization", self.authorization),
            ("x-databricks-zerobus-table-name", TABLE),
        ]


@pytest.mark.parametrize("authorization", ["Bearer invented", "Bearer ", "Basic YTpi", ""])
def test_a_stream_needs_a_token_that_was_issued(client, authorization):
    with pytest.raises(NonRetriableException, match="token is missing, invalid or expired"):
        client.sdk.create_stream(
            table_properties=TableProperties(TABLE, READING.cls.DESCRIPTOR),
            options=StreamConfigurationOptions(recovery_backoff_ms=50),
            headers_provider=Fixed(authorization),
        )


def test_an_issued_token_opens_a_stream(server, client):
    stream = client.sdk.create_stream(
        table_properties=TableProperties(TABLE, READING.cls.DESCRIPTOR),
        headers_provider=Fixed(f"Bearer {ask(server)['access_token']}"),
    )
    stream.close()


def test_expired_tokens_are_asked_for_anew(server, client):
    client.stream()
    client.stream()
    assert server.counters().tokens_issued == 1
    server.faults.expire_tokens()
    client.stream()
    counters = server.counters()
    assert (counters.tokens_issued, counters.tokens_refused) == (2, 1)


def test_tokens_live_as_long_as_they_say():
    tokens = Tokens(None, lifetime=0.0, key=b"k")
    assert not tokens.valid(f"Bearer {tokens.issue()}")
    tokens = Tokens(None, lifetime=60.0, key=b"k")
    token = tokens.issue()
    assert tokens.valid(f"bearer {token}")
    tokens.expire_all()
    assert not tokens.valid(f"Bearer {token}")
    assert tokens.valid(f"Bearer {tokens.issue()}")


def test_tokens_outlive_a_restart_but_not_another_key(tmp_path):
    key = signing_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    token = Tokens(None, 60.0, key).issue()
    assert Tokens(None, 60.0, signing_key(tmp_path / "key")).valid(f"Bearer {token}")
    assert not Tokens(None, 60.0, signing_key(tmp_path / "other")).valid(f"Bearer {token}")


@given(st.data())
def test_a_changed_token_is_not_valid(data):
    tokens = Tokens(None, 60.0, b"k")
    raw = bytearray(base64.urlsafe_b64decode(tokens.issue()))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    assert not tokens.valid(f"Bearer {base64.urlsafe_b64encode(raw).decode()}")


def test_a_rejected_token_is_tried_once_more(server, client):
    server.faults.reject_tokens(times=1)
    client.stream()
    assert server.counters().tokens_issued == 2
    server.faults.reject_tokens(times=None)
    with pytest.raises(NonRetriableException):
        client.stream()


@pytest.mark.parametrize("status", [401, 429])
def test_token_requests_that_fail_with_4xx_are_not_retried(server, client, status):
    server.faults.fail_oauth(status)
    with pytest.raises(NonRetriableException, match=str(status)):
        client.stream()
    client.stream()


def test_token_requests_that_fail_with_5xx_are_retried(server, client):
    server.faults.fail_oauth(500, times=2)
    client.stream()
    assert server.counters().tokens_issued == 1


def test_health_tells_the_counters(server):
    raw_call(server, [create_request()])
    with urllib.request.urlopen(f"{server.workspace_url}/healthz", timeout=PATIENCE) as answer:
        body = json.load(answer)
    assert body["status"] == "ok"
    assert body["counters"]["streams_opened"] == 1


def test_large_and_endless_bodies_are_refused(server):
    request = urllib.request.Request(f"{server.workspace_url}/oidc/v1/token", data=b"x" * 70_000)
    with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)):
        urllib.request.urlopen(request, timeout=PATIENCE)


def test_tokens_are_given_out_while_strangers_hold_connections(server):
    address = urllib.parse.urlsplit(server.workspace_url)
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(
                socket.create_connection((address.hostname, address.port), PATIENCE)
            )
            for _ in range(MAX_CONNECTIONS + 10)
        ]
        assert ask(server)
        # The oldest are let go of.
        assert [each.recv(1) for each in held[:10]] == [b""] * 10
        threads = [each for each in threading.enumerate() if "process_request" in each.name]
        assert len(threads) <= MAX_CONNECTIONS + 1


def test_both_ports_speak_tls(make_server, make_client, tmp_path, monkeypatch, rows):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-keyout",
            key,
            "-out",
            cert,
            *subject,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    server = make_server(ports=Ports(tls=Tls(cert, key)))
    assert server.endpoint.startswith("https://127.0.0.1:")
    stream = make_client(server).stream()
    stream.ingest_record_offset(READING("a"))
    stream.close()
    assert [row["id"] for row in rows()] == ["a"]


def test_a_port_in_use_is_said(server, tmp_path):
    address = server.endpoint.removeprefix("http://")
    other = LocalZerobus(tmp_path / "other", ports=Ports(grpc_address=address))
    with pytest.raises(LocalZerobusError, match="Cannot listen on"):
        other.start()
    other.stop()
