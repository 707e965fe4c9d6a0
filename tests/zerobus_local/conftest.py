"""Servers on free ports, and clients of the real SDK for them."""

import os

# Read when the SDK is loaded: without these it logs to stdout and asks a proxy for 127.0.0.1.
os.environ.setdefault("RUST_LOG", "off")
os.environ["no_proxy"] = "127.0.0.1,localhost"

import pyarrow as pa
import pytest
from support.garbage import _no_garbage  # noqa: F401 - a fixture
from support.local_rig import READING, TABLE, Client

from zerobus_local import LocalZerobus


@pytest.fixture(autouse=True)
def _trust(few_authorities):
    """The SDK does not read the authorities of the system."""


@pytest.fixture
def schema():
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("value", pa.float64()),
            pa.field("count", pa.int32()),
            pa.field("note", pa.string()),
        ]
    )


@pytest.fixture
def make_server(tmp_path, schema):
    """Start a server with the table of readings; options as LocalZerobus takes them."""
    servers = []

    def make(**options):
        options.setdefault("commit_interval", 0.02)
        server = LocalZerobus(tmp_path / "data", **options)
        server.create_table(TABLE, schema)
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop(grace=1)


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def rows(tmp_path):
    """The rows of the table of readings as they are on disk, in order."""

    def read():
        return READING.rows(tmp_path / "data")

    return read


@pytest.fixture
def make_client():
    """Connect the real SDK to a server; streams are closed at the end of the test."""
    clients = []

    def make(server):
        client = Client(server)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(server, make_client):
    return make_client(server)
