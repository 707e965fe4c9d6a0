"""What Zerobus says, and what the delivery makes of it: class, state, and nothing lost.

One server for all; every test has a table of its own.
"""

import contextlib
import itertools
import logging
import queue

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from prometheus_client import generate_latest
from support.read_spool import read_from
from support.services import PATIENCE, free_port, wait_until
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, events, landed, sink_for
from support.unconnected import unconnected

from consumer.delivery.options import Backoff, DeliveryOptions
from consumer.delivery.stats import StreamState
from consumer.delivery.table import TableDelivery
from consumer.errors import FailureKind
from consumer.monitor import add_metrics, status_of
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.zerobus import StreamOptions
from consumer.spool import Spool
from zerobus_local import LocalZerobus, Ports

pytestmark = pytest.mark.usefixtures("few_authorities")

NUMBERS = itertools.count()
QUICK = DeliveryOptions(
    retry=Backoff(0.02, 0.1), blocked_retry=Backoff(0.1, 0.2), trim_interval=0.02, lone_refusal=0.2
)
PATIENT = DeliveryOptions(retry=Backoff(0.02, 0.1), blocked_retry=Backoff(600, 600))
RETRIABLE = (
    "CANCELLED",
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "ALREADY_EXISTS",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
)
PERMANENT = ("NOT_FOUND", "OUT_OF_RANGE", "UNIMPLEMENTED")
REFUSED_TOKEN = ("UNAUTHENTICATED", "PERMISSION_DENIED")
EVERY_CODE = [
    *((code, FailureKind.RETRIABLE, StreamState.BACKING_OFF) for code in RETRIABLE),
    *((code, FailureKind.PERMANENT, StreamState.BLOCKED) for code in PERMANENT),
    *((code, FailureKind.AUTHENTICATION, StreamState.BLOCKED) for code in REFUSED_TOKEN),
    ("INVALID_ARGUMENT", FailureKind.CONTRACT, StreamState.BLOCKED),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tables")
    server = LocalZerobus(data_dir, credentials={CLIENT_ID: SECRET}, commit_interval=0.02)
    with server:
        server.data_dir = data_dir
        yield server


class Way:
    """A table, a spool with rows for it, and the delivery between them."""

    def __init__(self, tmp_path, server, options):
        self.name = f"events_{next(NUMBERS)}"
        self.table = f"main.plant.{self.name}"
        self.directory = server.data_dir / "main" / "plant" / self.name
        server.create_table(self.table, TAG_EVENTS_SCHEMA)
        self.spool = Spool.open(tmp_path / "spool.db", sync="off")
        self.schema_id = self.spool.schemas.register(DESCRIPTOR)
        stream = StreamOptions(open_timeout=PATIENCE, ack_timeout=30.0, flush_timeout=0.3)
        self.sink = sink_for(server, options=stream)
        self.delivery = TableDelivery(self.spool, self.sink, self.table, self.schema_id, options)
        self.number = 0

    def add(self, rows=100):
        encoded = events(self.number, self.number + rows)
        self.number += rows
        self.delivery.submit(self.spool.append(self.table, encoded, schema_id=self.schema_id))

    def stats(self):
        return self.delivery.stats()

    def wait_for(self, kind, state):
        """Wait until it is in this state after such a failure, and return how it is then."""
        seen = []

        def is_so():
            seen.append(self.stats())
            return seen[-1].state is state and kind in seen[-1].failures_by_kind

        wait_until(is_so, what=f"{kind} {state}")
        return seen[-1]

    def all_landed(self, *, once=False):
        assert self.delivery.drain(PATIENCE) == 0, self.stats()
        rows = DeltaTable(str(self.directory)).to_pyarrow_table(columns=["arrival_number"])
        numbers = rows["arrival_number"].to_pylist()
        assert sorted(set(numbers)) == list(range(self.number))
        assert not once or len(numbers) == self.number
        dead = "SELECT count(*) FROM dead_letters"
        assert read_from(self.spool, lambda db: db.execute(dead).fetchone()) == (0,)


@pytest.fixture
def way_for(tmp_path, server):
    with contextlib.ExitStack() as stack:
        stack.callback(server.faults.clear)

        def make(options=QUICK):
            way = Way(tmp_path, server, options)
            stack.callback(way.spool.close)
            stack.callback(way.delivery.stop, PATIENCE)
            return way

        yield make


@pytest.fixture
def way(way_for):
    return way_for()


class TestEveryStatus:
    @pytest.mark.parametrize(("code", "kind", "state"), EVERY_CODE)
    def test_at_creation(self, server, way, code, kind, state):
        server.faults.fail_creation(code, "the reason in words", times=None)
        way.add()
        way.delivery.start()
        stats = way.wait_for(kind, state)
        assert stats.cause_kind is kind
        assert "the reason in words" in stats.cause
        assert stats.rows_sent == 0
        server.faults.clear()
        way.all_landed(once=True)
        assert way.stats().state is StreamState.OPENED
        assert way.stats().cause is None

    @pytest.mark.parametrize(("code", "kind", "state"), EVERY_CODE)
    def test_in_mid_stream(self, server, way, code, kind, state):
        way.delivery.start()
        way.add()
        wait_until(lambda: way.stats().rows_acked == 100)
        server.faults.fail_stream(code, "the reason in words", times=None)
        way.add(120)
        stats = way.wait_for(kind, state)
        assert stats.cause_kind is kind
        assert "the reason in words" in stats.cause
        assert way.spool.pending_rows(way.table) == 120
        server.faults.clear()
        way.all_landed()
        assert way.stats().state is StreamState.OPENED
        assert way.stats().cause is None

    @pytest.mark.parametrize("abrupt", [False, True])
    @pytest.mark.parametrize("code", [*RETRIABLE, *PERMANENT, *REFUSED_TOKEN, "INVALID_ARGUMENT"])
    def test_once_in_mid_stream_costs_no_row(self, server, way, code, abrupt):
        server.faults.fail_stream(code, "just once", at_offset=1, abrupt=abrupt)
        way.delivery.start()
        for _ in range(3):
            way.add()
        way.all_landed(once=not abrupt)

    def test_internal_error_1521_blocks_and_says_what_to_look_at(self, server, way):
        text = "Internal error. Error Code: 1521, Error State: 0."
        server.faults.fail_stream("INTERNAL", text, times=None)
        way.delivery.start()
        way.add()
        stats = way.wait_for(FailureKind.PERMANENT, StreamState.BLOCKED)
        assert "1521" in stats.cause
        assert "liquid clustering" in stats.mend
        assert "another workspace" in stats.mend

    def test_too_many_token_requests_are_told_in_words_and_pass(self, server, way):
        server.faults.fail_oauth(429, times=None)
        way.add()
        way.delivery.start()
        stats = way.wait_for(FailureKind.RETRIABLE, StreamState.BACKING_OFF)
        assert "429" in stats.cause
        assert "limits token requests" in stats.mend
        server.faults.clear()
        way.all_landed(once=True)


class TestTokens:
    def test_one_refused_in_mid_stream_is_cured_by_a_new_one_without_being_blocked(
        self, server, way, caplog
    ):
        caplog.set_level(logging.INFO)
        way.delivery.start()
        way.add()
        wait_until(lambda: way.stats().rows_acked == 100)
        issued = server.counters().tokens_issued
        server.faults.fail_stream("UNAUTHENTICATED", "token expired")
        way.add()
        way.all_landed(once=True)
        assert server.counters().tokens_issued == issued + 1
        assert not [each for each in caplog.records if each.stream_state == "BLOCKED"]

    def test_cached_ones_that_have_expired_at_creation_are_replaced(self, server, way):
        way.sink.open_stream(way.table, DESCRIPTOR, way.schema_id, queue.SimpleQueue()).close()
        server.faults.expire_tokens()
        way.add()
        way.delivery.start()
        way.all_landed(once=True)
        assert way.stats().failures <= 1

    def test_a_second_refusal_in_a_row_blocks(self, server, way):
        server.faults.fail_stream("UNAUTHENTICATED", "not yours", times=2)
        way.add()
        way.delivery.start()
        stats = way.wait_for(FailureKind.AUTHENTICATION, StreamState.BLOCKED)
        assert "SELECT and MODIFY" in stats.mend
        way.all_landed(once=True)


class TestProbe:
    """After something had to be mended, a handful goes first."""

    @pytest.mark.parametrize("code", ["NOT_FOUND", "PERMISSION_DENIED"])
    def test_while_blocked_each_attempt_is_one_stream_with_one_small_call(
        self, server, way_for, code
    ):
        way = way_for()
        for _ in range(5):
            way.add(1000)
        server.faults.fail_stream(code, "no", times=None)
        way.delivery.start()
        way.wait_for(
            FailureKind.PERMANENT if code == "NOT_FOUND" else FailureKind.AUTHENTICATION,
            StreamState.BLOCKED,
        )
        # One attempt may be under way at the beginning, and one at the end.
        failures, before = way.stats().failures, server.counters()
        wait_until(lambda: way.stats().failures >= failures + 3)
        after, attempts = server.counters(), way.stats().failures - failures + 1
        assert after.streams_opened - before.streams_opened <= attempts
        requests = after.requests_received - before.requests_received
        assert requests <= attempts
        assert after.records_received - before.records_received <= 10 * requests
        server.faults.clear()
        way.all_landed()

    def test_nothing_follows_before_the_handful_is_acknowledged(self, server, way):
        for _ in range(5):
            way.add(1000)
        server.faults.fail_creation("NOT_FOUND", "no such table")
        server.faults.delay_acks(30)
        way.delivery.start()
        wait_until(lambda: way.stats().inflight_rows)
        assert way.stats().state is StreamState.PROBING
        assert not way.delivery.is_open
        quiet = way.stats()
        assert (quiet.inflight_rows, quiet.calls_sent) == (10, 1)
        server.faults.clear()
        way.all_landed(once=True)
        assert way.stats().state is StreamState.OPENED

    def test_with_nothing_to_send_the_open_stream_is_proof_enough(self, server, way):
        server.faults.fail_creation("NOT_FOUND", "no such table")
        way.delivery.start()
        wait_until(lambda: way.delivery.is_open)
        way.add(100)
        way.all_landed(once=True)

    def test_a_refusing_table_is_tried_with_few_records_and_few_streams(self, server, way_for):
        way = way_for()
        way.add(1000)
        text = "Record decoder/encoder error: bad. Error Code: 4044, Error State: 3."
        server.faults.fail_stream("INVALID_ARGUMENT", text, times=None)
        way.delivery.start()
        way.wait_for(FailureKind.CONTRACT, StreamState.BLOCKED)
        failures, before = way.stats().failures, server.counters()
        wait_until(lambda: way.stats().failures >= failures + 2)
        after, attempts = server.counters(), way.stats().failures - failures + 1
        assert after.streams_opened - before.streams_opened <= 7 * attempts
        assert after.records_received - before.records_received <= 17 * attempts
        assert way.spool.pending_rows(way.table) == 1000
        server.faults.clear()
        way.all_landed()


class TestMismatch:
    TEXT = "Record decoder/encoder error: unrecognized field name 'seq' at line 1 column 285."

    def test_the_alarm_names_the_column_in_the_services_words(self, server, way, caplog):
        way.add(120)
        server.faults.fail_stream("INVALID_ARGUMENT", self.TEXT, times=None)
        way.delivery.start()
        stats = way.wait_for(FailureKind.CONTRACT, StreamState.BLOCKED)
        assert "it is about column seq" in stats.cause
        assert "sparkplug-zerobus ddl" in stats.mend
        [alarm] = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert "column seq" in alarm.getMessage()

    def test_without_such_words_the_alarm_says_what_all_refused_records_carry(self, server, way):
        way.add(120)
        server.faults.fail_stream("INVALID_ARGUMENT", "no", times=None)
        way.delivery.start()
        stats = way.wait_for(FailureKind.CONTRACT, StreamState.BLOCKED)
        assert "the service names no column" in stats.cause
        assert "numeric_value" in stats.cause
        assert "integer_value" not in stats.cause

    def test_few_rows_that_are_all_refused_are_not_given_up(self, server, way):
        server.faults.fail_stream("INVALID_ARGUMENT", self.TEXT, times=None)
        way.add(20)
        way.delivery.start()
        way.wait_for(FailureKind.CONTRACT, StreamState.BLOCKED)
        way.add(20)
        server.faults.clear()
        way.all_landed(once=True)

    def test_a_dropped_column_stops_sending_until_it_is_back(self, tmp_path):
        narrow = pa.schema([each for each in TAG_EVENTS_SCHEMA if each.name != "seq"])
        table = "main.plant.tag_events"
        ports = Ports(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
        dropped = LocalZerobus(tmp_path / "narrow", commit_interval=0.02, ports=ports)
        dropped.create_table(table, narrow)
        restored = LocalZerobus(tmp_path / "whole", commit_interval=0.02, ports=ports)
        restored.create_table(table, TAG_EVENTS_SCHEMA)
        spool = Spool.open(tmp_path / "spool.db", sync="off")
        schema_id = spool.schemas.register(DESCRIPTOR)
        with contextlib.closing(spool):
            with dropped:
                delivery = TableDelivery(spool, sink_for(dropped), table, schema_id, QUICK)
                delivery.submit(spool.append(table, events(0, 100), schema_id=schema_id))
                delivery.start()
                wait_until(lambda: delivery.stats().state is StreamState.BLOCKED)
                assert "it is about column seq" in delivery.stats().cause
                delivery.submit(spool.append(table, events(100, 200), schema_id=schema_id))
                assert spool.pending_rows(table) == 200
                assert dropped.counters().records_received == 0
            with restored:
                assert delivery.drain(PATIENCE) == 0, delivery.stats()
                assert delivery.stats().state is StreamState.OPENED
                assert landed(tmp_path / "whole") == list(range(200))
                assert delivery.stop(PATIENCE)


class TestShown:
    def test_each_transition_is_logged_once_with_its_reason(self, server, way_for, caplog):
        caplog.set_level(logging.INFO)
        way = way_for()
        server.faults.fail_creation("UNAVAILABLE", "the reason in words", times=5)
        way.add()
        way.delivery.start()
        way.all_landed(once=True)
        texts = [each.getMessage() for each in caplog.records if each.name == "consumer.delivery"]
        down = [text for text in texts if "CONNECTING -> BACKING_OFF" in text]
        assert len(down) == 1
        assert "retriable" in down[0]
        assert "the reason in words" in down[0]
        assert len([text for text in texts if "works again" in text]) == 1

    def test_the_same_is_in_metrics_and_status(self, server, way_for, tmp_path_factory):
        way = way_for(PATIENT)
        server.faults.fail_creation("UNIMPLEMENTED", "no such kind of table", times=None)
        way.delivery.start()
        way.wait_for(FailureKind.PERMANENT, StreamState.BLOCKED)
        with unconnected(tmp_path_factory.mktemp("shown")) as consumer:
            consumer.main_delivery, consumer.deliveries = way.delivery, [way.delivery]
            add_metrics(consumer)
            lines = generate_latest(consumer.telemetry.registry).decode().splitlines()
            [status] = status_of(consumer)["streams"]
        place = f'stream="1",table="{way.table}"'
        prefix = "sparkplug_zerobus_stream"
        assert f'{prefix}_state{{state="BLOCKED",{place}}} 1.0' in lines
        assert f'{prefix}_state{{state="OPENED",{place}}} 0.0' in lines
        assert f'{prefix}_failures_total{{kind="permanent",{place}}} 1.0' in lines
        assert f'{prefix}_failures_total{{kind="retriable",{place}}} 0.0' in lines
        assert status["state"] == "BLOCKED"
        assert status["failures"] == {"permanent": 1}
        assert "no such kind of table" in status["failure"]
        assert status["failure_kind"] == "permanent"
        assert "managed Delta table" in status["mend"]

    @pytest.mark.parametrize("rotate", ["close_streams", "time_out_streams"])
    def test_rotation_is_no_failure(self, server, way, rotate):
        way.delivery.start()
        way.add()
        wait_until(lambda: way.stats().rows_acked == 100)
        getattr(server.faults, rotate)(0.05)
        wait_until(lambda: way.add(10) or way.stats().rotations == 1)
        way.all_landed()
        assert way.stats().failures == 0


class TestRotationByTime:
    def test_what_was_not_acknowledged_when_a_stream_timed_out_is_sent_again(self, server, way):
        way.delivery.start()
        way.add()
        wait_until(lambda: way.stats().rows_acked == 100)
        server.faults.acks.drop()
        server.faults.time_out_streams(0.05)
        way.add()
        wait_until(lambda: way.stats().rotations == 1)
        server.faults.clear()
        way.all_landed()
        assert way.stats().failures == 0
        assert way.stats().cause is None

    def test_streams_that_time_out_before_they_ever_acknowledge_are_failures(self, server, way):
        # An end in order is followed by the next stream at once: this would have no pause.
        server.faults.acks.drop()
        server.faults.time_out_streams(times=None)
        way.delivery.start()
        way.add()
        wait_until(lambda: way.stats().failures >= 3)
        assert way.stats().rotations == 0
        assert way.stats().cause_kind is FailureKind.ENDED
