"""A consumer that is posted to: the server, a client, and what is in the spool by then."""

from __future__ import annotations

import contextlib
import threading

import httpx
import pytest

from consumer.http import HttpServer
from support import unconnected
from support.event_stream import body_of, decoded
from support.hand_fed import Courier, Shelf, consuming
from support.services import PATIENCE

TABLE = "main.ot.tag_events"
TOKEN = "t0ken-of-the-gateway"
SECRET = "s3cr3t-value"


@contextlib.contextmanager
def serving(directory, intake=None, **sections):
    configuration = unconnected.configuration(directory, shutdown_timeout="0s", **sections)
    shelf = intake or Shelf()
    with consuming(configuration, shelf, Courier(configuration.servers[0])) as consumer:
        server = HttpServer(consumer, ("127.0.0.1", 0))
        server.start()
        try:
            yield Served(consumer, server, shelf)
        finally:
            server.stop(PATIENCE)


class Served:
    def __init__(self, consumer, server, shelf):
        self.consumer, self.server, self.shelf = consumer, server, shelf
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE, verify=False
        )

    def post(self, *events, path="/ingest/batch", body=None, **headers):
        content = body_of(*events) if body is None else body
        return self.client.post(path, content=content, headers=headers)

    def rows(self):
        return [
            decoded(raw)
            for batch in self.consumer.spool.batches_after(0, 1 << 30, table=TABLE)
            for raw in batch.rows.slice(0, len(batch.rows))
        ]

    def batches(self):
        return len(self.consumer.spool.batches_after(0, 1 << 30, table=TABLE))

    def http_balance(self):
        balance = self.consumer.balance()
        assert balance.balanced
        return balance.messages["http"].to_dict()


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as served:
        yield served


@contextlib.contextmanager
def held_back(served):
    """The decoding thread waits in the middle of a batch."""
    reached, go_on = threading.Event(), threading.Event()
    freed = served.consumer.decoding._freed
    look = freed.look

    def wait():
        reached.set()
        assert go_on.wait(PATIENCE)
        look()

    # It takes posts first in `_see_to_the_rest`, and then looks there.
    freed.look = wait
    served.shelf.put()
    assert reached.wait(PATIENCE)
    freed.look = look
    try:
        yield
    finally:
        go_on.set()
