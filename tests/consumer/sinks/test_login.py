"""Who the consumer is, on the real SDK: secrets that are renewed, and exchanged tokens."""

import queue

import pytest
from support.services import PATIENCE
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, TABLE, event

from consumer.errors import FailureKind, SinkFailure
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.login import Login
from consumer.sinks.sink import Acknowledged
from consumer.sinks.zerobus import StreamOptions, ZerobusSink
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.usefixtures("few_authorities")

IDENTITY = "header.identity-of-the-plant.signature"


@pytest.fixture
def known():
    """Proof per client id, as the workspace has it now."""
    return {CLIENT_ID: SECRET}


@pytest.fixture
def server(tmp_path, known):
    server = LocalZerobus(tmp_path, credentials=known, commit_interval=0.02)
    server.create_table(TABLE, TAG_EVENTS_SCHEMA)
    with server:
        yield server


def sink(server, login):
    options = StreamOptions(open_timeout=PATIENCE, flush_timeout=0.3)
    return ZerobusSink(server.endpoint, server.workspace_url, login=login, options=options)


def deliver(sink):
    """Open a stream and have a row acknowledged."""
    events = queue.SimpleQueue()
    stream = sink.open_stream(TABLE, DESCRIPTOR, "schema", events)
    stream.send([event(0)])
    assert isinstance(events.get(timeout=PATIENCE), Acknowledged)
    stream.close()


def test_a_secret_that_is_renewed_is_used_for_the_next_stream(server, known):
    secrets = [SECRET]
    zerobus = sink(server, Login(CLIENT_ID, lambda: secrets[-1]))
    deliver(zerobus)
    known[CLIENT_ID] = "renewed-secret"
    secrets.append("renewed-secret")
    before = server.counters().tokens_issued
    deliver(zerobus)
    assert server.counters().tokens_issued == before + 1


def test_the_token_is_kept_as_long_as_the_secret_is_the_same(server):
    zerobus = sink(server, Login(CLIENT_ID, lambda: SECRET))
    deliver(zerobus)
    deliver(zerobus)
    assert server.counters().tokens_issued == 1


def test_a_secret_that_was_revoked_is_cured_by_a_new_file_without_a_restart(server, known):
    secrets = [SECRET]
    zerobus = sink(server, Login(CLIENT_ID, lambda: secrets[-1]))
    known[CLIENT_ID] = "renewed-secret"
    with pytest.raises(SinkFailure) as failure:
        deliver(zerobus)
    assert failure.value.kind is FailureKind.AUTHENTICATION
    secrets.append("renewed-secret")
    deliver(zerobus)


def test_errors_show_neither_the_old_secret_nor_the_new_one(server, known):
    secrets = [SECRET]
    zerobus = sink(server, Login(CLIENT_ID, lambda: secrets[-1]))
    deliver(zerobus)
    secrets.append("renewed-secret")
    known[CLIENT_ID] = "renewed-secret"
    server.faults.fail_creation("DATA_LOSS", f"Heard {SECRET}, renewed-secret.")
    with pytest.raises(SinkFailure, match=r"Heard \*\*\*, \*\*\*\."):
        deliver(zerobus)


@pytest.mark.parametrize("client_id", [CLIENT_ID, ""])
def test_a_token_of_an_identity_provider_is_exchanged(server, known, client_id):
    known.clear()
    known[client_id] = IDENTITY
    deliver(sink(server, Login(client_id, lambda: IDENTITY, federated=True)))
    assert server.counters().tokens_issued == 1


def test_an_exchanged_token_is_kept_though_the_identity_provider_gives_new_ones(server, known):
    known[CLIENT_ID] = IDENTITY
    tokens = iter([IDENTITY, "header.another.signature"])
    zerobus = sink(server, Login(CLIENT_ID, lambda: next(tokens), federated=True))
    deliver(zerobus)
    deliver(zerobus)
    assert server.counters().tokens_issued == 1


def test_a_refused_exchange_is_asked_for_again_with_the_token_of_that_time(server, known):
    known[CLIENT_ID] = IDENTITY
    tokens = ["header.expired.signature"]
    zerobus = sink(server, Login(CLIENT_ID, lambda: tokens[-1], federated=True))
    with pytest.raises(SinkFailure, match="federation policy") as failure:
        deliver(zerobus)
    assert failure.value.kind is FailureKind.AUTHENTICATION
    assert "expired.signature" not in str(failure.value)
    tokens.append(IDENTITY)
    deliver(zerobus)
