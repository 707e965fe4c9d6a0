"""The sink on the real SDK against a real server: what the SDK does, and what we make of it.

Many names of tests are traps of the SDK that were met in practice.
"""

import base64
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pyarrow as pa
import pytest
from support.services import PATIENCE, PROMPT, free_port, wait_until
from support.tag_events import (
    CLIENT_ID,
    DESCRIPTOR,
    SECRET,
    TABLE,
    event,
    landed,
    sink_for,
)

from consumer.errors import FailureKind, SinkFailure
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.login import Login
from consumer.sinks.sink import MAX_CALL_BYTES, Acknowledged, Failed
from consumer.sinks.zerobus import StreamOptions, ZerobusSink
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.usefixtures("few_authorities")

QUICK = StreamOptions(open_timeout=PATIENCE, ack_timeout=30.0, flush_timeout=0.3)


@pytest.fixture
def server(tmp_path):
    server = LocalZerobus(tmp_path, credentials={CLIENT_ID: SECRET}, commit_interval=0.02)
    server.create_table(TABLE, TAG_EVENTS_SCHEMA)
    with server:
        yield server


class Line:
    """A sink, its events and the streams that a test opened, closed at the end."""

    def __init__(self, sink):
        self.sink = sink
        self.events = queue.SimpleQueue()
        self.streams = []

    def open(self):
        stream = self.sink.open_stream(TABLE, DESCRIPTOR, "schema", self.events)
        self.streams.append(stream)
        return stream

    def acknowledged(self, stream, offset):
        """Wait until `offset` is acknowledged; the offsets in the order of their arrival."""
        seen = []
        while offset not in seen:
            event = self.events.get(timeout=PATIENCE)
            assert isinstance(event, Acknowledged), stream.failure()
            assert event.generation == stream.generation
            seen.append(event.offset)
        return seen

    def dead(self, stream):
        """Wait until the stream is dead; the cause."""
        while self.events.get(timeout=PATIENCE) != Failed(stream.generation):
            pass
        return stream.failure()


@pytest.fixture
def line(server):
    line = Line(sink_for(server, options=QUICK))
    yield line
    for stream in line.streams:
        stream.close()


def test_records_land_in_order_and_each_call_is_acknowledged(line, tmp_path):
    stream = line.open()
    offsets = [stream.send([event(call * 10 + row) for row in range(10)]) for call in range(20)]
    assert offsets == list(range(20))
    assert line.acknowledged(stream, 19) == offsets
    assert landed(tmp_path) == list(range(200))


def test_offsets_restart_with_each_stream_generation(line):
    first = line.open()
    line.acknowledged(first, first.send([event(0)]))
    first.close()
    second = line.open()
    assert second.send([event(1)]) == 0
    line.acknowledged(second, 0)
    assert second.generation > first.generation


def test_closing_lands_what_was_sent_nothing_is_sent_unnoticed(server, tmp_path):
    stream = Line(sink_for(server, options=replace(QUICK, flush_timeout=PATIENCE))).open()
    for number in range(100):
        stream.send([event(number)])
    stream.close()
    assert landed(tmp_path) == list(range(100))


def test_inflight_counts_calls_not_records(server, tmp_path):
    server.faults.delay_acks(30)
    line = Line(sink_for(server, options=StreamOptions(max_inflight=3, flush_timeout=PATIENCE)))
    stream = line.open()
    for call in range(3):
        stream.send([event(call * 100 + row) for row in range(100)])
    fourth = threading.Thread(target=stream.send, args=([event(300)],))
    fourth.start()
    fourth.join(0.3)
    assert fourth.is_alive()
    server.faults.clear()
    fourth.join(PATIENCE)
    assert not fourth.is_alive()
    stream.close()
    assert landed(tmp_path) == list(range(301))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAVAILABLE", FailureKind.RETRIABLE),
        ("INTERNAL", FailureKind.RETRIABLE),
        ("RESOURCE_EXHAUSTED", FailureKind.RETRIABLE),
        ("ABORTED", FailureKind.RETRIABLE),
        ("INVALID_ARGUMENT", FailureKind.POISON),
        ("UNAUTHENTICATED", FailureKind.AUTHENTICATION),
        ("PERMISSION_DENIED", FailureKind.AUTHENTICATION),
        ("NOT_FOUND", FailureKind.PERMANENT),
        ("UNIMPLEMENTED", FailureKind.PERMANENT),
        ("OUT_OF_RANGE", FailureKind.PERMANENT),
    ],
)
def test_a_status_in_mid_stream_is_classified_and_the_first_error_kept(server, line, code, kind):
    server.faults.fail_stream(code, "the reason in words", at_offset=1)
    stream = line.open()
    stream.send([event(0)])
    line.acknowledged(stream, 0)
    stream.send([event(1)])
    cause = line.dead(stream)
    assert cause.kind is kind
    assert "the reason in words" in str(cause)
    for _ in range(2):  # the SDK itself says "Stream closed" from now on
        with pytest.raises(SinkFailure, match="the reason in words") as later:
            stream.send([event(2)])
        assert later.value is cause


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAVAILABLE", FailureKind.RETRIABLE),
        ("RESOURCE_EXHAUSTED", FailureKind.RETRIABLE),
        ("INVALID_ARGUMENT", FailureKind.CONTRACT),
        ("PERMISSION_DENIED", FailureKind.AUTHENTICATION),
        ("NOT_FOUND", FailureKind.PERMANENT),
        ("UNIMPLEMENTED", FailureKind.PERMANENT),
    ],
)
def test_a_status_at_opening_is_classified(server, line, code, kind):
    server.faults.fail_creation(code, "the reason in words", times=None)
    with pytest.raises(SinkFailure, match="the reason in words") as failure:
        line.open()
    assert failure.value.kind is kind


def test_of_very_long_reasons_only_the_beginning_is_kept(server, line):
    server.faults.fail_creation("NOT_FOUND", "the reason in words" + 5_000 * "!")
    with pytest.raises(SinkFailure, match="the reason in words") as failure:
        line.open()
    assert len(str(failure.value)) < 4_100


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, FailureKind.RETRIABLE),  # the SDK calls it final
        (500, FailureKind.RETRIABLE),
        (503, FailureKind.RETRIABLE),
        (400, FailureKind.AUTHENTICATION),
        (403, FailureKind.AUTHENTICATION),
    ],
)
def test_an_answer_of_the_token_endpoint_is_classified(server, line, status, kind):
    server.faults.fail_oauth(status)
    with pytest.raises(SinkFailure, match=str(status)) as failure:
        line.open()
    assert failure.value.kind is kind
    line.open()


def test_internal_error_1521_is_permanent_though_the_sdk_retries_it(server, line):
    server.faults.fail_stream("INTERNAL", "Internal error. Error Code: 1521, Error State: 0.")
    stream = line.open()
    stream.send([event(0)])
    assert line.dead(stream).kind is FailureKind.PERMANENT


def test_a_refused_record_is_poison_and_named_by_the_service(line):
    stream = line.open()
    stream.send([event(0)])
    stream.send([b"no protobuf at all"])
    cause = line.dead(stream)
    assert cause.kind is FailureKind.POISON
    assert "Error Code: 4044" in str(cause)


def test_an_unknown_table_is_permanent(line):
    with pytest.raises(SinkFailure) as failure:
        line.sink.open_stream("main.plant.nowhere", DESCRIPTOR, "schema", line.events)
    assert failure.value.kind is FailureKind.PERMANENT


def test_a_table_without_one_of_our_columns_is_a_contract_mismatch(server, line):
    name = "main.plant.narrow"
    fields = [each for each in TAG_EVENTS_SCHEMA if each.name != "quality_code"]
    server.create_table(name, pa.schema(fields))
    with pytest.raises(SinkFailure, match="quality_code") as failure:
        line.sink.open_stream(name, DESCRIPTOR, "schema", line.events)
    assert failure.value.kind is FailureKind.CONTRACT


def test_wrong_credentials_are_told_without_the_secret(server, line):
    wrong = ZerobusSink(
        server.endpoint, server.workspace_url, login=Login(CLIENT_ID, lambda: "wrong" + SECRET)
    )
    with pytest.raises(SinkFailure, match="401") as failure:
        wrong.open_stream(TABLE, DESCRIPTOR, "schema", line.events)
    assert failure.value.kind is FailureKind.AUTHENTICATION
    assert SECRET not in str(failure.value)
    assert SECRET not in repr(wrong)


@pytest.mark.parametrize(
    "form", [SECRET, base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()]
)
def test_a_secret_that_the_service_repeats_is_masked(server, line, form):
    server.faults.fail_creation("DATA_LOSS", f"Heard {form}.")
    with pytest.raises(SinkFailure) as failure:
        line.open()
    assert "Heard ***." in str(failure.value)
    server.faults.fail_stream("DATA_LOSS", f"Heard {form}.")
    stream = line.open()
    stream.send([event(0)])
    assert "Heard ***." in str(line.dead(stream))


def test_unauthenticated_in_mid_stream_is_cured_by_a_new_token(server, line):
    server.faults.fail_stream("UNAUTHENTICATED", "token expired")
    stream = line.open()
    stream.send([event(0)])
    assert line.dead(stream).kind is FailureKind.AUTHENTICATION
    before = server.counters().tokens_issued
    again = line.open()
    line.acknowledged(again, again.send([event(0)]))
    assert server.counters().tokens_issued == before + 1


def test_a_cached_token_that_is_refused_at_opening_is_not_used_for_ever(server, line):
    line.open().close()
    server.faults.expire_tokens()
    for attempt in range(4):
        try:
            line.open()
            break
        except SinkFailure:
            assert attempt < 3


def test_a_call_larger_than_the_sdk_takes_is_told_and_the_stream_lives_on(line):
    stream = line.open()
    with pytest.raises(SinkFailure) as failure:
        stream.send([b"x" * MAX_CALL_BYTES, b"x"])
    assert failure.value.kind is FailureKind.TOO_LARGE
    line.acknowledged(stream, stream.send([event(0)]))


def test_an_empty_call_is_refused(line):
    with pytest.raises(ValueError, match="without records"):
        line.open().send([])


def test_close_is_bounded_while_acknowledgements_never_come(server, line):
    server.faults.acks.drop()
    stream = line.open()
    stream.send([event(0)])
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < PROMPT


def test_a_stream_that_the_service_rotates_has_ended_not_failed(server, line):
    server.faults.close_streams(0.05)
    stream = line.open()
    line.acknowledged(stream, stream.send([event(0)]))

    def is_refused():
        # Whether it is acknowledged or not: it may cross the end of the stream.
        try:
            stream.send([event(1)])
        except SinkFailure:
            return True
        return False

    wait_until(is_refused, what="the end of the stream")
    assert stream.failure().kind is FailureKind.ENDED, str(stream.failure())


def test_an_endpoint_that_refuses_connections_is_retriable(server, line):
    sink = ZerobusSink(
        f"http://127.0.0.1:{free_port()}",
        server.workspace_url,
        login=Login(CLIENT_ID, lambda: SECRET),
        options=QUICK,
    )
    with pytest.raises(SinkFailure) as failure:
        sink.open_stream(TABLE, DESCRIPTOR, "schema", line.events)
    assert failure.value.kind is FailureKind.RETRIABLE


def test_an_endpoint_that_never_answers_is_given_up_in_time(server, line):
    options = StreamOptions(open_timeout=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = ZerobusSink(
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            server.workspace_url,
            login=Login(CLIENT_ID, lambda: SECRET),
            options=options,
        )
        started = time.monotonic()
        with pytest.raises(SinkFailure) as failure:
            sink.open_stream(TABLE, DESCRIPTOR, "schema", line.events)
    assert failure.value.kind is FailureKind.RETRIABLE
    assert time.monotonic() - started < PROMPT


def test_one_sdk_object_serves_all_streams(line):
    line.open().close()
    before = psutil.Process().num_threads()
    for _ in range(5):  # an SDK object brings two threads
        line.open().close()
    assert psutil.Process().num_threads() < before + 10


_CHILD = """if True:
    import queue, sys
    from consumer.sinks.sink import Acknowledged
    from consumer.sinks.login import Login
    from consumer.sinks.zerobus import ZerobusSink
    from support.tag_events import CLIENT_ID, SECRET, DESCRIPTOR, TABLE, event
    sink = ZerobusSink(sys.argv[1], sys.argv[2], login=Login(CLIENT_ID, lambda: SECRET))
    events = queue.SimpleQueue()
    stream = sink.open_stream(TABLE, DESCRIPTOR, "schema", events)
    stream.send([event(0)])
    assert isinstance(events.get(timeout=60), Acknowledged)
    stream.close()
"""


def run_child(server, **environment):
    inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    inherited["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, "-c", _CHILD, server.endpoint, server.workspace_url],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=True,
    )


def test_the_sdk_does_not_log_to_stdout(server):
    result = run_child(server)
    assert result.stdout == ""
    assert result.stderr == ""


def test_who_sets_rust_log_gets_the_sdks_log(server):
    assert "zerobus" in run_child(server, RUST_LOG="info").stdout.lower()


def test_a_server_on_this_machine_is_reached_past_a_proxy(server):
    nobody = f"http://127.0.0.1:{free_port()}"
    run_child(server, http_proxy=nobody, https_proxy=nobody, grpc_proxy=nobody)
