"""The way to Zerobus through a forward proxy, as the environment names one.

The addresses are of 127.0.0.2: what is on 127.0.0.1 is never asked for through a proxy. And they
are https, as those of Databricks: a server without TLS speaks first, and when its first words come
together with the proxy's answer, the SDK (1.10) waits for the end of that answer for ever.
"""

import queue

import pytest
from support.check_cases import failure, mapping
from support.forward_proxy import forward_proxy
from support.services import PATIENCE, free_port
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, TABLE, event

from consumer.check.endpoint import check_endpoint
from consumer.check.report import Status
from consumer.check.token import check_token
from consumer.config import parse
from consumer.errors import SinkFailure
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.login import Login
from consumer.sinks.sink import Acknowledged
from consumer.sinks.zerobus import StreamOptions, ZerobusSink
from zerobus_local import LocalZerobus, Ports, Tls

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy")
PASSWORD = "pass-word_1"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server(tmp_path, authority, monkeypatch):
    pair = authority.issue("zerobus", "IP:127.0.0.2")
    tls = Tls(pair.cert_file, pair.key_file)
    ports = Ports(f"127.0.0.2:{free_port()}", f"127.0.0.2:{free_port()}", tls=tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    server = LocalZerobus(tmp_path / "lake", ports=ports, commit_interval=0.02)
    server.create_table(TABLE, TAG_EVENTS_SCHEMA)
    with server:
        yield server


def deliver(server):
    options = StreamOptions(open_timeout=PATIENCE, flush_timeout=0.3)
    login = Login(CLIENT_ID, lambda: SECRET)
    sink = ZerobusSink(server.endpoint, server.workspace_url, login=login, options=options)
    events = queue.SimpleQueue()
    stream = sink.open_stream(TABLE, DESCRIPTOR, "schema", events)
    stream.send([event(0)])
    assert isinstance(events.get(timeout=PATIENCE), Acknowledged)
    stream.close()


def configured(tmp_path, server):
    urls = {"endpoint": server.endpoint, "workspace_url": server.workspace_url, "table": TABLE}
    return parse(mapping(tmp_path, **urls)).zerobus


@pytest.fixture(params=["", f"plant:{PASSWORD}"], ids=["open", "with password"])
def proxy(request, tmp_path, monkeypatch):
    """A proxy that the environment names, with the password that it wants."""
    with forward_proxy(tmp_path / "proxy", request.param) as running:
        address = running.address(f"{request.param}@" if request.param else "")
        monkeypatch.setenv("https_proxy", address)
        yield running


def test_rows_and_tokens_go_through_the_proxy_of_the_environment(server, proxy):
    deliver(server)
    for url in (server.endpoint, server.workspace_url):
        assert proxy.went_through(url.removeprefix("https://"))


def test_check_goes_through_it_too(server, proxy, tmp_path):
    zerobus = configured(tmp_path, server)
    found = [
        *check_token(zerobus, timeout=PATIENCE),
        *check_endpoint(zerobus, timeout=PATIENCE, table=TABLE),
    ]
    assert [each.status for each in found] == [Status.OK, Status.OK]
    for url in (server.endpoint, server.workspace_url):
        assert proxy.went_through(url.removeprefix("https://"))
    assert PASSWORD not in "".join(each.text for each in found)


def test_what_no_proxy_names_is_reached_directly(server, proxy, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.2")
    deliver(server)
    assert not proxy.went_through(server.endpoint.removeprefix("https://"))


@pytest.mark.parametrize("credentials", ["", "plant:wrong-password@"])
def test_a_proxy_that_wants_a_password_is_told_as_that(server, tmp_path, monkeypatch, credentials):
    with forward_proxy(tmp_path / "proxy", f"plant:{PASSWORD}") as running:
        monkeypatch.setenv("https_proxy", running.address(credentials))
        with pytest.raises(SinkFailure, match="the proxy wants a name and a password") as refused:
            deliver(server)
        monkeypatch.setenv("http_proxy", running.address(credentials))
        zerobus = configured(tmp_path, server)
        plain = {"workspace_url": server.workspace_url.replace("https:", "http:")}
        texts = [
            failure(check_token, zerobus, timeout=PATIENCE),
            failure(check_token, zerobus.model_copy(update=plain), timeout=PATIENCE),
        ]
    assert all(each.startswith("the proxy wants a name and a password") for each in texts)
    assert "wrong-password" not in "".join([*texts, str(refused.value)])


def test_a_password_that_an_address_cannot_have_is_why_the_tunnel_is_refused(
    server, tmp_path, monkeypatch
):
    # The SDK decodes percent signs for tokens, and not for streams.
    with forward_proxy(tmp_path / "proxy", "plant:p@ss") as running:
        monkeypatch.setenv("https_proxy", running.address("plant:p%40ss@"))
        zerobus = configured(tmp_path, server)
        (found,) = check_token(zerobus, timeout=PATIENCE)
        assert found.status is Status.OK
        text = failure(check_endpoint, zerobus, timeout=PATIENCE, table=TABLE)
    assert "the proxy wants a name and a password" in text
    assert "must do without characters that an address cannot have" in text
    assert "p%40ss" not in text
