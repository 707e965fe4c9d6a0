"""A consumer that is connected to nothing: batches are given to it by hand."""

from __future__ import annotations

import contextlib

from consumer.config import parse
from consumer.pipeline import make_consumer


def written(zerobus=(), **sections):
    """What a file says of one server, named plant, and a table; nobody listens at the addresses."""
    return {
        "servers": [{"name": "plant", "url": "mqtt://127.0.0.1:9"}],
        "zerobus": {
            "endpoint": "http://127.0.0.1:9",
            "workspace_url": "http://127.0.0.1:10",
            "table": "main.ot.tag_events",
            "client_id": "id",
            "client_secret": "secret",
            **dict(zerobus),
        },
        **sections,
    }


def configuration(directory, zerobus=(), spool=(), **sections):
    """The same, read, with a spool in the directory."""
    spool = {"path": str(directory / "spool.db"), **dict(spool)}
    return parse(written(zerobus, spool=spool, **sections))


@contextlib.contextmanager
def unconnected(directory, **options):
    """The consumer of such a configuration; its spool is closed at the end."""
    consumer = make_consumer(configuration(directory, **options))
    try:
        yield consumer
    finally:
        consumer.spool.close()
