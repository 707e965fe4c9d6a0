"""Updates of the page: one event a second for all who listen, bounded, and none for who may not."""

import contextlib
import json
import socket

import pytest
from support.http_side import KEYS, READER, Client, http_side, serving
from support.services import PATIENCE, wait_until
from support.unconnected import unconnected

from consumer.http.connections import ConnectionLimits


@pytest.fixture
def side(tmp_path):
    with http_side(tmp_path) as client:
        yield client


@contextlib.contextmanager
def listening(client, **options):
    """The events of a stream as they come: kind and content."""
    with client.http.stream("GET", "/api/stream", **options) as answer:
        assert answer.status_code == 200, answer.read()
        yield _events(answer.iter_lines())


def _events(lines):
    kind = None
    for line in lines:
        name, _, text = line.partition(": ")
        if name == "event":
            kind = text
        elif name == "data":
            yield kind, json.loads(text)


def test_the_first_event_comes_at_once_and_others_follow(side):
    with listening(side) as events:
        kind, first = next(events)
        assert kind == "now"
        assert {"now_ms", "state", "cards", "attention", "ledger", "versions"} <= set(first)
        assert "samples" not in first
        _, second = next(events)
        assert second["now_ms"] > first["now_ms"]
        assert set(second["sample"]) >= {"time_ms", "rows_waiting"}


def test_who_has_left_is_forgotten(side):
    hub = side.server._hub
    with listening(side) as events:
        next(events)
        assert hub.present == 1
    wait_until(lambda: hub.present == 0)


def test_so_many_may_listen_and_no_more(tmp_path):
    with unconnected(tmp_path) as consumer, serving(consumer) as server:
        server._hub.most = 3
        client = Client(server)
        with contextlib.ExitStack() as open_streams:
            held = [open_streams.enter_context(listening(client)) for _ in range(3)]
            assert [next(events)[0] for events in held] == ["now"] * 3
            refused = client.get("/api/stream")
            assert (refused.status_code, refused.json()["error"]) == (429, "too_many")
            assert "Retry-After" in refused.headers
            assert client.get("/healthz").status_code == 503
        wait_until(lambda: server._hub.present == 0)
        with listening(client) as events:
            next(events)


def test_a_stream_is_not_ended_while_it_is_read(tmp_path):
    limits = ConnectionLimits(request_seconds=0.5, answer_seconds=0.5)
    with unconnected(tmp_path) as consumer, serving(consumer, limits) as server:
        with listening(Client(server)) as events:
            times = [next(events)[1]["now_ms"] for _ in range(4)]
        assert times[-1] - times[0] > 1_500
        assert times == sorted(times)


def test_who_does_not_read_is_disconnected(tmp_path):
    limits = ConnectionLimits(request_seconds=1.0)
    with unconnected(tmp_path) as consumer, serving(consumer, limits) as server:
        hub = server._hub
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: hub.present == 1)
            large = b"event: now\ndata: " + b"x" * 1_000_000 + b"\n\n"

            def is_gone():
                if hub._loop is not None:
                    hub._loop.call_soon_threadsafe(hub._publish, large)
                return hub.present == 0

            wait_until(is_gone, PATIENCE)


def test_a_stop_says_so(tmp_path):
    with unconnected(tmp_path) as consumer, serving(consumer) as server:
        with listening(Client(server)) as events:
            next(events)
            server._hub.close()
            last = [event for event in events if event[0] == "closing"]
        assert last == [("closing", {"why": "stopping"})]


def test_a_stop_does_not_wait_for_who_listens(tmp_path):
    with unconnected(tmp_path) as consumer, serving(consumer) as server:
        client = Client(server)
        with listening(client) as events:
            next(events)
            server.stop(PATIENCE)
            assert not server._thread.is_alive()


def test_who_may_not_listen_any_more_is_sent_away(tmp_path, monkeypatch):
    monkeypatch.setattr("consumer.http.stream._LOOK_EVERY", 1)
    file = tmp_path / "key"
    file.write_text(READER)
    key = {"name": "grafana", "role": "reader", "key_file": str(file)}
    with http_side(tmp_path, http={"keys": [key]}) as client:
        assert client.get("/api/stream").status_code == 401
        with listening(client.with_key(READER)) as events:
            next(events)
            file.unlink()
            assert ("closing", {"why": "signed_out"}) in list(events)


def test_a_stream_takes_a_reader(tmp_path):
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        assert client.get("/api/stream").status_code == 401
        with listening(client.with_key(READER)) as events:
            assert next(events)[0] == "now"
