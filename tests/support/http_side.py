"""A consumer that is connected to nothing, served over HTTP on a free port."""

from __future__ import annotations

import contextlib

import httpx

from consumer.http import HttpServer
from support.services import PATIENCE
from support.unconnected import unconnected

READER, OPERATOR, INGEST = (f"{role}-key-0123456789" for role in ("reader", "operator", "ingest"))
KEYS = [
    {"name": "grafana", "role": "reader", "key": READER},
    {"name": "on-call", "role": "operator", "key": OPERATOR},
    {"name": "gateway", "role": "ingest", "key": INGEST, "source_system_id": "plant-7"},
]


@contextlib.contextmanager
def serving(consumer, limits=None, host="127.0.0.1"):
    server = HttpServer(consumer, (host, 0), limits)
    server.start()
    try:
        yield server
    finally:
        server.stop(PATIENCE)


class Client:
    """Asks one server, as a program with a key or as a browser with a cookie would."""

    def __init__(self, server, key="", scheme="http"):
        self.server = server
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(
            base_url=f"{scheme}://127.0.0.1:{server.port}",
            timeout=PATIENCE,
            headers=headers,
            verify=False,
        )

    def get(self, path, **options):
        return self.http.get(path, **options)

    def post(self, path, body=None, **options):
        return self.http.post(path, json={} if body is None else body, **options)

    def with_key(self, key):
        return Client(self.server, key)


@contextlib.contextmanager
def http_side(directory, host="127.0.0.1", **options):
    """A served consumer, and a client without a key."""
    with unconnected(directory, **options) as consumer, serving(consumer, host=host) as server:
        client = Client(server)
        client.consumer = consumer
        try:
            yield client
        finally:
            client.http.close()
