"""What is wrong below the protocols is said in words, with its mend."""

import queue
import socket

import pytest
from support.certificates import Authority
from support.services import free_port
from support.tag_events import DESCRIPTOR, TABLE, sink_for

from consumer.errors import FailureKind, SinkFailure
from consumer.network import TRUST_ZEROBUS, trouble_with
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from zerobus_local import LocalZerobus, Ports, Tls


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def trouble(url, timeout=5.0):
    return trouble_with(url, key="zerobus.endpoint", trust=TRUST_ZEROBUS, timeout=timeout)


def secured(directory, certificate):
    ports = Ports(tls=Tls(certificate.cert_file, certificate.key_file))
    return LocalZerobus(directory, ports=ports, commit_interval=0.02)


def test_a_port_where_nobody_listens_is_named():
    port = free_port()
    found = trouble(f"http://127.0.0.1:{port}")
    assert found.text == f"nobody listens on 127.0.0.1:{port}"
    assert "zerobus.endpoint" in found.mend


def test_a_name_that_is_not_known_is_named():
    assert trouble("https://no.such.host.invalid").text == (
        "the name no.such.host.invalid is not known"
    )


def test_a_server_without_tls_is_told_from_one_with_it():
    with socket.create_server(("127.0.0.1", 0)) as plain:
        url = f"127.0.0.1:{plain.getsockname()[1]}"
        assert trouble(f"http://{url}") is None
        assert "did not answer" in trouble(f"https://{url}", timeout=0.2).text


def test_an_address_that_is_none_is_named():
    assert "is no address" in trouble("https://127.0.0.1:port").text


def test_nothing_is_said_of_what_stands_behind_a_proxy(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert trouble("https://no.such.host.invalid") is None


def test_a_certificate_is_judged_as_the_sdk_does(tmp_path, authority, monkeypatch):
    with secured(tmp_path, authority.issue("fine")) as server:
        found = trouble(server.endpoint)
        assert "is not trusted" in found.text
        assert found.mend == TRUST_ZEROBUS
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        assert trouble(server.endpoint) is None
    with secured(tmp_path, authority.issue("other", names="DNS:example.com")) as server:
        assert "is for another host" in trouble(server.endpoint).text


def test_a_sink_that_cannot_open_says_what_the_sdk_does_not(tmp_path, authority):
    with secured(tmp_path, authority.issue("sink")) as server:
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        with pytest.raises(SinkFailure) as raised:
            sink_for(server).open_stream(TABLE, DESCRIPTOR, "schema", queue.SimpleQueue())
        assert raised.value.kind is FailureKind.RETRIABLE
        assert "is not trusted" in str(raised.value)
        assert "SSL_CERT_FILE" in str(raised.value)
