"""Strangers hold every connection that HTTP will take; the consumer goes about its work."""

import contextlib
import resource
import socket

import pytest
from support.program import FROM_SCRATCH
from support.services import PATIENCE, wait_until

from end_to_end.gateway import Gateway, metric
from end_to_end.world import world

HELD = 1_100


@pytest.fixture
def _many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * HELD
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} descriptors, not {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("_many_descriptors")
def test_the_server_is_reconnected_and_health_told_while_strangers_hold_connections(tmp_path):
    with world(tmp_path) as system, contextlib.ExitStack() as stack:
        # With as few as 256 the connections of strangers are not all that has to fit in.
        limited = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
        system.consumer.program = (*limited, *FROM_SCRATCH)
        system.consumer.start_ready()
        host, port = system.consumer.base_url.removeprefix("http://").split(":")
        for _ in range(HELD):
            stranger = stack.enter_context(socket.create_connection((host, int(port)), PATIENCE))
            with contextlib.suppress(ConnectionError):  # it may have been closed for another
                stranger.sendall(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(200):
            with socket.create_connection((host, int(port)), PATIENCE) as stranger:
                stranger.sendall(b"no HTTP\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    stranger.recv(1)
        system.server.restart()
        system.consumer.wait_for(
            lambda: system.consumer.status()["servers"][0]["connections"] == 2, "connected again"
        )
        system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "/readyz")
        wait_until(lambda: system.client.subscriptions == 2, what="the listener")
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.table.wait_for(1)
        for path in ("/healthz", "/status", "/metrics"):
            assert system.consumer.answers(path)
        assert system.consumer.metric("sparkplug_zerobus_http_connections") <= 64
        assert system.consumer.stop() == 0
        log = system.consumer.log()
    assert log.count("too many HTTP connections") == 1
    assert log.count("warning Invalid HTTP request") == 1
    assert "uvicorn.error of Invalid HTTP request" in log  # how many more, at last
    assert len(log) < 20_000
