"""HTTP with something that should be a gateway, and is slow, endless, elsewhere or nonsense."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.services import PATIENCE

from consumer.errors import ConfigurationError, GatewayError, NoGatewayError, NoResourceError
from consumer.setup.ignition import calls
from consumer.setup.ignition.calls import Calls
from consumer.setup.ignition.gateway import Gateway


@contextlib.contextmanager
def answering(answer):
    """A server that answers each request by `answer(handler)`: its URL, and what was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("X-Ignition-API-Token")))
            answer(self)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def with_body(content, status=200, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(content)

    return answer


def test_a_key_is_not_carried_elsewhere():
    with answering(with_body(b"{}")) as (other, asked_there):
        redirect = with_body(b"", 302, Location=f"{other}/data/api/v1/gateway-info")
        with (
            answering(redirect) as (url, asked),
            pytest.raises(GatewayError, match="redirect to http://127") as error,
        ):
            Gateway(Calls(url, "the-key", "", 5.0)).info()
    assert asked == [("/data/api/v1/gateway-info", "the-key")]
    assert asked_there == []
    assert "the-key" not in str(error.value)


def test_an_answer_without_end_is_not_read_to_it(monkeypatch):
    monkeypatch.setattr(calls, "_MOST_BYTES", 100_000)
    with (
        answering(with_body(b"x" * 1_000_000)) as (url, _),
        pytest.raises(GatewayError, match="more than 32 MiB"),
    ):
        Gateway(Calls(url, "", "", 5.0)).info()


def test_an_answer_that_drips_ends_in_time():
    done = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not done.wait(0.05):
                handler.wfile.write(b" ")

    with answering(drip) as (url, _):
        with pytest.raises(NoGatewayError, match=r"did not answer within 0\.3 s"):
            Gateway(Calls(url, "", "", 0.3)).info()
        done.set()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
        (b"HTTP/1.1 404 Not Found\r\nX-Long: ", b"a"),
    ],
)
def test_an_answer_that_never_comes_to_its_body_ends_in_time(begin, more):
    done = threading.Event()

    def drip(handler):
        with contextlib.suppress(OSError):
            handler.wfile.write(begin)
            while not done.wait(0.05):
                handler.wfile.write(more)

    stop = threading.Timer(PATIENCE, done.set)  # or else a failure would hang, too
    stop.start()
    with answering(drip) as (url, _):
        with pytest.raises(NoGatewayError, match=r"did not answer within 0\.3 s"):
            Gateway(Calls(url, "", "", 0.3)).info()
        assert not done.is_set()
        done.set()
        stop.cancel()


@pytest.mark.parametrize("content", [b"<html>", b"", b"[" * 100_000, b"\xff\xfe", b"[]"])
def test_another_server_is_no_gateway(content):
    with (
        answering(with_body(content)) as (url, _),
        pytest.raises(NoGatewayError, match="not as an Ignition gateway"),
    ):
        Gateway(Calls(url, "", "", 5.0)).info()


def test_no_http_is_no_gateway():
    with (
        answering(lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n")) as (url, _),
        pytest.raises(NoGatewayError),
    ):
        Gateway(Calls(url, "", "", 5.0)).info()


def test_a_missing_file_of_an_authority_is_told_of(tmp_path):
    with pytest.raises(ConfigurationError, match="--ca-file"):
        Calls("https://gateway", "", str(tmp_path / "none.pem"), 5.0)


def test_a_scan_that_is_refused_with_200_is_told_of():
    refusal = b'{"success": false, "problem": {"message": "somebody else scans"}}'
    with (
        answering(with_body(refusal)) as (url, _),
        pytest.raises(GatewayError, match="did not scan its projects: somebody else scans"),
    ):
        Gateway(Calls(url, "", "", 5.0)).scan("projects")


def test_a_log_that_is_not_there_is_no_missing_module():
    with (
        answering(with_body(b"", 404)) as (url, _),
        pytest.raises(GatewayError, match="has no log") as error,
    ):
        Gateway(Calls(url, "", "", 5.0)).log("", 10)
    assert not isinstance(error.value, NoResourceError)
