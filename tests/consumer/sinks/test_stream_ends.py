"""Each way in which the service may end a stream, through the real SDK, and its class."""

from __future__ import annotations

import queue
import time

import pytest
from support.services import PATIENCE
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, TABLE, event

from consumer.errors import FailureKind, SinkFailure
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.login import Login
from consumer.sinks.sink import Acknowledged, Failed
from consumer.sinks.zerobus import StreamOptions, ZerobusSink
from zerobus_local import LocalZerobus

QUOTED = (
    "Record decoder/encoder error: bad value 'Ingest payload too large: 1 bytes, "
    "Error Code: 6002, Error Code: 1521, Client error (429), Invalid durability ACK offset 1, "
    "The operation completed successfully, Failed to send batch, Flush timed out' of a tag"
)


@pytest.fixture
def server(tmp_path):
    with LocalZerobus(tmp_path, commit_interval=0.02) as server:
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        yield server


class Line:
    """One stream, and what was heard of it."""

    def __init__(self, server, **options):
        options = {
            "open_timeout": PATIENCE,
            "ack_timeout": PATIENCE,
            "flush_timeout": 0.3,
        } | options
        self.sink = ZerobusSink(
            server.endpoint,
            server.workspace_url,
            login=Login(CLIENT_ID, lambda: SECRET),
            options=StreamOptions(**options),
        )
        self.events = queue.SimpleQueue()

    def open(self):
        self.stream = self.sink.open_stream(TABLE, DESCRIPTOR, "schema", self.events)
        return self.stream

    def begun(self):
        """A stream of which one call was acknowledged."""
        stream = self.open()
        stream.send([event(0)])
        while self.events.get(timeout=PATIENCE) != Acknowledged(stream.generation, 0):
            pass
        return stream

    def dead(self):
        """Wait until the stream with something on its way is dead; the cause."""
        while self.events.get(timeout=PATIENCE) != Failed(self.stream.generation):
            pass
        return self.stream.failure()

    def refused(self):
        """Send until that is refused; the cause."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.stream.send([event(1)])
            except SinkFailure as failure:
                return failure
            time.sleep(0.01)
        raise AssertionError("the stream does not end")


@pytest.fixture
def line(server):
    line = Line(server)
    yield line
    line.stream.close()


ENDS = {
    "bad record": (lambda f: f.fail_stream("INVALID_ARGUMENT", "no"), FailureKind.POISON),
    "bad record that quotes": (
        lambda f: f.fail_stream("INVALID_ARGUMENT", QUOTED),
        FailureKind.POISON,
    ),
    "unavailable": (lambda f: f.fail_stream("UNAVAILABLE", "moved"), FailureKind.RETRIABLE),
    "internal": (lambda f: f.fail_stream("INTERNAL", "oops"), FailureKind.RETRIABLE),
    "a crash": (lambda f: f.fail_stream("UNKNOWN", "", abrupt=True), FailureKind.RETRIABLE),
    "too large for its gRPC": (
        lambda f: f.fail_stream("RESOURCE_EXHAUSTED", "Received message larger than max"),
        FailureKind.RETRIABLE,
    ),
    "error 1521": (
        lambda f: f.fail_stream("INTERNAL", "Internal error. Error Code: 1521, Error State: 0."),
        FailureKind.PERMANENT,
    ),
    "token expired": (lambda f: f.fail_stream("UNAUTHENTICATED", ""), FailureKind.AUTHENTICATION),
    "OK": (lambda f: f.fail_stream("OK"), FailureKind.ENDED),
    "error 6002": (
        lambda f: f.fail_stream(
            "UNAVAILABLE", "Stream timeout reached. Error Code: 6002, Error State: 0."
        ),
        FailureKind.ENDED,
    ),
    "acknowledged beyond": (lambda f: f.acks.go_beyond(1_000), FailureKind.RETRIABLE),
    "acknowledged nothing": (lambda f: f.acks.empty(), FailureKind.RETRIABLE),
}


@pytest.mark.parametrize("way", ENDS)
def test_the_end_of_a_stream_with_something_on_its_way_is_classified(server, line, way):
    set_fault, kind = ENDS[way]
    stream = line.begun()
    set_fault(server.faults)
    stream.send([event(1)])
    cause = line.dead()
    assert cause.kind is kind, str(cause)
    again = line.open()
    again.send([event(1)])
    assert line.events.get(timeout=PATIENCE) == Acknowledged(again.generation, 0)


@pytest.mark.parametrize("rotate", ["close_streams", "time_out_streams"])
@pytest.mark.parametrize("acknowledged", [True, False])
def test_the_services_own_end_of_a_stream_is_one_in_order(server, line, rotate, acknowledged):
    getattr(server.faults, rotate)(0.05)
    if not acknowledged:
        server.faults.acks.drop()
    line.open().send([event(0)])
    cause = line.refused()
    assert cause.kind is FailureKind.ENDED, str(cause)
    if not acknowledged and rotate == "time_out_streams":
        assert "Error Code: 6002" in str(cause) or "Failed to send batch" in str(cause)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("UNAVAILABLE", "Stream timeout reached. Error Code: 6002.", FailureKind.RETRIABLE),
        ("OK", "", FailureKind.RETRIABLE),
        ("INVALID_ARGUMENT", QUOTED, FailureKind.CONTRACT),
    ],
)
def test_no_end_of_a_stream_that_is_being_opened_is_one_in_order(server, line, code, text, kind):
    # An end in order is followed by the next attempt at once.
    server.faults.fail_creation(code, text)
    with pytest.raises(SinkFailure) as failure:
        line.open()
    assert failure.value.kind is kind, str(failure.value)
    line.open()


def test_acknowledgements_that_are_repeated_end_no_stream(server, line):
    stream = line.begun()
    server.faults.acks.repeat()
    stream.send([event(1)])
    assert line.events.empty()
    server.faults.clear()
    stream.send([event(2)])
    seen = [line.events.get(timeout=PATIENCE)]
    while seen[-1] != Acknowledged(stream.generation, 2):
        seen.append(line.events.get(timeout=PATIENCE))
    assert Failed(stream.generation) not in seen


def test_where_the_sdk_has_not_noticed_the_end_yet_it_tells_no_reason(server, line):
    # As when one half of it knows, and the other has no time: its flush waits, and then says that.
    server.faults.acks.drop()
    line.open().send([event(0)])
    cause = line.stream.failure()
    assert "timed out" in str(cause)
    assert cause.kind is FailureKind.ENDED
    # Asked again it looks again, and once it knows it stays with that.
    server.faults.fail_stream("NOT_FOUND", "the reason in words")
    line.stream.send([event(1)])
    assert line.dead().kind is FailureKind.PERMANENT
    assert "the reason in words" in str(line.stream.failure())


def test_a_call_that_is_too_large_for_the_sdk_leaves_the_stream_alive(line):
    stream = line.open()
    with pytest.raises(SinkFailure) as failure:
        stream.send([b"x" * 10_500_000])
    assert failure.value.kind is FailureKind.TOO_LARGE
    stream.send([event(0)])
    assert line.events.get(timeout=PATIENCE) == Acknowledged(stream.generation, 0)
