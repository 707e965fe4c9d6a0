"""Strangers hold connections and say nothing; who asks is answered all the same."""

import contextlib
import logging
import resource
import select
import socket
import time
from pathlib import Path

import httpx
import pytest
from support.certificates import Authority
from support.http_side import serving
from support.services import PATIENCE, wait_until
from support.unconnected import unconnected

from consumer.http import HttpServer
from consumer.http.connections import ConnectionLimits

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
PATHS = ("/healthz", "/readyz", "/status", "/metrics")
NAMES = "sparkplug_zerobus_http_connections"
LONG = ConnectionLimits(connections=8, request_seconds=600.0, answer_seconds=600.0)


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path) as consumer:
        yield consumer


@contextlib.contextmanager
def strangers(server, count, sent=b""):
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            address = ("127.0.0.1", server.port)
            made = stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
            made.sendall(sent)
            held.append(made)
        yield held


def get(server, path):
    return httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=PATIENCE, verify=False)


def descriptors():
    return [int(each.name) for each in Path("/dev/fd").iterdir()]


def metric(server, name):
    [line] = [each for each in get(server, "/metrics").text.splitlines() if each.startswith(name)]
    return float(line.rpartition(" ")[2])


def closed(server, reason):
    return metric(server, f'{NAMES}_closed_total{{reason="{reason}"}}')


def open_ones(held):
    """Those of the connections that the server has not ended."""
    poll = select.poll()
    for each in held:
        poll.register(each, select.POLLIN)
    ended = {number for number, _ in poll.poll(0)}
    return [each for each in held if each.fileno() not in ended]


def is_ended(stranger):
    stranger.settimeout(PATIENCE)
    try:
        while stranger.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return True


def takes(stranger, drop):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stranger.sendall(drop)
        return True
    return False


SLOW = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD,
        b"POST /status HTTP/1.1\r\nHost: localhost\r\n",
        SLOW % b"/api/session",
        SLOW % b"/ingest",
    ],
)
def test_whoever_asks_is_answered_while_strangers_hold_all_connections(consumer, sent):
    with serving(consumer, LONG) as server, strangers(server, 40, sent) as held:
        for path in PATHS:
            assert get(server, path).status_code in (200, 503), path
        wait_until(lambda: len(open_ones(held)) < 8, what="room made")
        # The ones that came last are held on to.
        assert open_ones(held) == held[-len(open_ones(held)) :]
        assert metric(server, f"{NAMES} ") <= 8
        assert closed(server, "made_room") >= 32
        assert closed(server, "refused") == 0


def test_bodies_that_do_not_come_keep_nobody_from_an_answer(consumer):
    many = ConnectionLimits(connections=150)
    with serving(consumer, many) as server, strangers(server, 100, SLOW % b"/api/session"):
        wait_until(lambda: get(server, "/version").status_code == 200, what="an answer")
        for path in PATHS[:-1]:
            assert get(server, path).json().get("error") is None, path
        assert metric(server, f"{NAMES} ") >= 100


def test_no_more_than_two_hundred_connections_are_held(consumer):
    with serving(consumer) as server:
        most = ConnectionLimits.of_process().connections
        assert most <= 200
        before = len(descriptors())
        with strangers(server, 300) as held:
            assert get(server, "/healthz").status_code == 503  # it was not started
            wait_until(lambda: len(open_ones(held)) < most, what="room made")
            assert len(descriptors()) - before <= 300 + most + 5


def test_few_descriptors_leave_most_of_them_to_the_consumer():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    bounds = []
    try:
        for few in (1024, 256, 64):
            resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
            bounds.append(ConnectionLimits.of_process().connections)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert bounds == [200, 64, 16]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEAD, id="half a head"),
        pytest.param(HEAD + b"\r\n", id="nothing after an answer"),
        pytest.param(
            b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
            id="half a body",
        ),
    ],
)
def test_who_goes_silent_is_cut_off(consumer, sent):
    limits = ConnectionLimits(connections=8, request_seconds=0.2, answer_seconds=600.0)
    with serving(consumer, limits) as server, strangers(server, 1, sent) as [stranger]:
        assert is_ended(stranger)
        wait_until(lambda: closed(server, "timeout") >= 1, what="counted")


@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        pytest.param(HEAD + b"X: ", b"y", id="head"),
        pytest.param(
            b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
            b"x",
            id="body",
        ),
    ],
)
def test_who_sends_by_the_drop_is_cut_off(consumer, begun, drop):
    limits = ConnectionLimits(connections=8, request_seconds=0.3, answer_seconds=600.0)
    with serving(consumer, limits) as server, strangers(server, 1, begun) as [stranger]:
        wait_until(lambda: not takes(stranger, drop), what="the end of the connection")


def test_who_does_not_read_is_cut_off_and_others_go_first(consumer):
    asked = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60
    limits = ConnectionLimits(connections=4, request_seconds=600.0, answer_seconds=600.0)
    with serving(consumer, limits) as server, contextlib.ExitStack() as stack:
        # What the system keeps for a reader is little, so that it is soon seen that there is none.
        server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for _ in range(4):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.settimeout(0.2)
            with contextlib.suppress(TimeoutError):  # neither does the server, in the end
                deaf.sendall(asked)
        wait_until(lambda: answers(server), what="an answer")
        assert closed(server, "made_room") >= 1


def test_an_answer_that_is_not_read_in_time_is_given_up(consumer):
    asked = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60
    limits = ConnectionLimits(connections=4, request_seconds=600.0, answer_seconds=0.3)
    with serving(consumer, limits) as server, socket.socket() as deaf:
        server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(asked)
        wait_until(lambda: closed(server, "timeout") == 1, what="the end of the connection")


def answers(server):
    # Until the buffers are full nobody can tell that they do not read.
    try:
        return get(server, "/readyz").status_code == 503
    except httpx.TransportError:
        return False


def test_health_is_told_while_many_wait_for_the_spool(consumer):
    asked = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(consumer) as server, consumer.spool.snapshot(), strangers(server, 45, asked):
        assert get(server, "/healthz").status_code == 503  # it was not started


def test_a_client_that_asks_again_and_again_keeps_its_connection(consumer):
    limits = ConnectionLimits(connections=8, request_seconds=0.5, answer_seconds=0.5)
    with (
        serving(consumer, limits) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE) as client,
    ):
        begun, ports = time.monotonic(), set()
        while time.monotonic() - begun < 1.5:
            answer = client.get("/healthz")
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
            time.sleep(0.05)
    assert len(ports) == 1


def test_a_stop_waits_for_no_client(consumer):
    server = HttpServer(consumer, ("127.0.0.1", 0), LONG)
    server.start()
    half = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with (
        strangers(server, 3),
        strangers(server, 2, HEAD),
        strangers(server, 2, half) as held,
    ):
        assert all(each.recv(1) for each in held)
        server.stop(PATIENCE)
        assert not server._thread.is_alive()


def test_too_many_are_told_of_once_a_minute(consumer, caplog):
    with serving(consumer, LONG) as server, strangers(server, 60):
        assert get(server, "/healthz").status_code == 503
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.getMessage().startswith("too many HTTP connections, 8 are open and at most 8 may")


def test_without_descriptors_there_is_one_line_and_an_answer_afterwards(consumer, caplog):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(consumer, LONG) as server, contextlib.ExitStack() as stack:
        assert get(server, "/healthz").status_code == 503
        client = stack.enter_context(socket.socket())
        used = max(descriptors())
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, before[1]))
        try:
            with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
                while True:
                    taken.enter_context(socket.socket())
            # Everything is free again but for what is taken here.
            spent = []
            with contextlib.suppress(OSError):
                while True:
                    spent.append(stack.enter_context(socket.socket()))
            client.connect(("127.0.0.1", server.port))
            client.sendall(HEAD + b"Connection: close\r\n\r\n")
            wait_until(
                lambda: server._connections.closed["no_descriptor"], what="no descriptor is left"
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        client.settimeout(PATIENCE)
        assert client.recv(12) == b"HTTP/1.1 503"
        assert spent
    warned = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warned) == 1, [each.getMessage() for each in warned]
    assert "no descriptor" in warned[0].getMessage()


def test_strangers_that_do_not_shake_hands_keep_nobody_out(tmp_path):
    issued = Authority(tmp_path).issue("server")
    tls = {"cert_file": str(issued.cert_file), "key_file": str(issued.key_file)}
    with (
        unconnected(tmp_path, http={"tls": tls}) as consumer,
        serving(consumer, LONG) as server,
        strangers(server, 30),
    ):
        for _ in range(3):
            told = httpx.get(
                f"https://127.0.0.1:{server.port}/version", timeout=PATIENCE, verify=False
            )
            assert told.status_code == 200
        assert server._connections.open <= LONG.connections
        assert server._connections.closed["made_room"] >= 20
