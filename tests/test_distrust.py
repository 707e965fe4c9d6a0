"""Certificates that are not trusted are named, other troubles are left to whoever has them."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from services import free_port

from consumer.distrust import distrusted
from zerobus_local import Tls


@contextlib.contextmanager
def tls_server(certificate):
    """The URL of a server that makes TLS handshakes, one after the other."""
    context = Tls(certificate.cert_file, certificate.key_file).for_http()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), connection:
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_certificate_of_an_unknown_authority_is_named_with_the_mend(authority, monkeypatch):
    with tls_server(authority.issue("server")) as url:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        text = distrusted(f"http://127.0.0.1:{free_port()}", url)
        assert text.startswith(
            f"the certificate of {url.removeprefix('https://')} is not trusted: "
        )
        assert "SSL_CERT_FILE" in text
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        assert distrusted(url) == ""


def test_a_certificate_for_another_host_is_named(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    with tls_server(authority.issue("elsewhere", names="DNS:elsewhere.example")) as url:
        assert "not valid for '127.0.0.1'" in distrusted(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:{port}", ""])
def test_nothing_is_said_of_what_is_not_reached(url):
    assert distrusted(url.format(port=free_port())) == ""
