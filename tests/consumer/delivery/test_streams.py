"""Several streams into one table: everything lands, in the order of each edge node."""

import contextlib
import json
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.generated import examples
from support.mixed_nodes import mixed, node_event
from support.read_spool import read_from
from support.services import PATIENCE, wait_until
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, TABLE, ServerProcess, sink_for

from consumer.delivery.calls import CallLimits
from consumer.delivery.options import Backoff, DeliveryOptions
from consumer.delivery.partitions import NodeColumns, TableBatches
from consumer.delivery.stats import StreamState
from consumer.delivery.table import TableDelivery
from consumer.errors import SpoolError
from consumer.pb.sparkplug_event_pb2 import SparkplugEvent
from consumer.rows.descriptors import descriptor_bytes
from consumer.rows.encoded import EncodedRows
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.zerobus import StreamOptions
from consumer.spool import Spool
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.usefixtures("few_authorities")

QUICK_STREAM = StreamOptions(open_timeout=PATIENCE, ack_timeout=30.0, flush_timeout=0.3)
QUICK = DeliveryOptions(
    limits=CallLimits(max_records=50),
    retry=Backoff(0.02, 0.2),
    blocked_retry=Backoff(0.1, 0.3),
    trim_interval=0.02,
    lone_refusal=0.2,
)
KNOWN_HASH = 0x3CDDD2523B12A528  # of Plant/Edge7


def commits(data_dir):
    """Node and arrival number of the rows of every commit to the table, in order.

    A commit's own rows come in no order: Delta's writer mixes large ones.
    """
    table = data_dir / "main" / "plant" / "tag_events"
    for version in sorted((table / "_delta_log").glob("*.json")):
        rows = []
        for line in version.read_text().splitlines():
            if "add" in (action := json.loads(line)):
                path = table / action["add"]["path"]
                columns = pq.read_table(path, columns=["edge_node_id", "arrival_number"])
                rows += zip(*(column.to_pylist() for column in columns.columns), strict=True)
        yield rows


def assert_in_order(data_dir, numbers, *, once=True):
    """Each of the numbers landed, and the first time behind all earlier ones of its node.

    Returns how many landed again.
    """
    seen, highest, again = set(), {}, 0
    for rows in commits(data_dir):
        news = {(node, number) for node, number in rows if number not in seen}
        again += len(rows) - len(news)
        assert all(number > highest.get(node, -1) for node, number in news)
        for node, number in sorted(news):
            highest[node] = number
            seen.add(number)
    assert sorted(seen) == sorted(numbers)
    assert not once or again == 0
    return again


def table_batches(spool, streams, keep_bytes=1 << 20):
    return TableBatches(spool, TABLE, streams, newest_bytes=0, keep_bytes=keep_bytes)


@pytest.fixture
def server(tmp_path):
    server = LocalZerobus(
        tmp_path / "tables",
        credentials={CLIENT_ID: SECRET},
        commit_interval=0.02,
        compact_every=100_000,  # the order of landing is read from the files
    )
    server.create_table(TABLE, TAG_EVENTS_SCHEMA)
    with server:
        yield server


class Plant:
    def __init__(self, tmp_path, server, streams, options=QUICK, *, spool=None):
        self.data_dir = tmp_path / "tables"
        self.spool = spool or Spool.open(tmp_path / "spool.db", sync="off")
        self.schema_id = self.spool.schemas.register(DESCRIPTOR)
        sink = sink_for(server, options=QUICK_STREAM)
        self.delivery = TableDelivery(
            self.spool, sink, TABLE, self.schema_id, options, streams=streams
        )
        self.number = 0

    def add(self, rows=100, batches=1):
        for _ in range(batches):
            encoded = mixed(self.number, self.number + rows)
            self.number += rows
            self.delivery.submit(self.spool.append(TABLE, encoded, schema_id=self.schema_id))

    def states(self):
        return [stream.stats().state for stream in self.delivery.streams]


@pytest.fixture
def plant_for(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(server, streams, **options):
            plant = Plant(tmp_path, server, streams, **options)
            stack.callback(plant.spool.close)
            stack.callback(plant.delivery.stop, PATIENCE)
            return plant

        yield make


class TestDivision:
    """Which stream a row belongs to."""

    @given(
        st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=60),
        st.integers(1, 16),
    )
    @examples(30)
    def test_parts_are_all_of_a_batch_each_node_in_one_of_them_in_order(
        self, tmp_path_factory, rows, streams
    ):
        """Records that are no messages are in one of them as well."""
        directory = tmp_path_factory.mktemp("spool")
        messages = [
            node_event(number, node) if whole else b"\xff\xff" + bytes([number])
            for number, (node, whole) in enumerate(rows)
        ]
        file = directory / "spool.db"
        with contextlib.closing(Spool.open(file, sync="off", reserve_bytes=0)) as spool:
            schema_id = spool.schemas.register(DESCRIPTOR)
            batch = spool.append(TABLE, EncodedRows.from_messages(messages), schema_id=schema_id)
            batches = table_batches(spool, streams)
            parts = [batches.part(batch, stream) for stream in range(streams)]
        placed = {}
        for stream, part in enumerate(parts):
            positions = [part.position(row) for row in range(len(part.rows))]
            assert positions == sorted(positions)
            assert part.rows.slice(0, len(positions)) == [messages[each] for each in positions]
            placed |= dict.fromkeys(positions, stream)
        assert sorted(placed) == list(range(len(messages)))
        assert sum(len(part.rows) for part in parts) == len(messages)
        for node in {node for node, whole in rows if whole}:
            mine = {placed[n] for n, row in enumerate(rows) if row == (node, True)}
            assert len(mine) == 1

    def test_nodes_are_spread_over_all_streams(self):
        hashes = NodeColumns(DESCRIPTOR).hashes(
            EncodedRows.from_messages([node_event(0, node) for node in range(600)])
        )
        counts = np.bincount((hashes >> np.uint64(32)) % np.uint64(3))
        assert counts.min() > 150

    def test_the_same_node_has_the_same_hash_in_every_process(self):
        rows = EncodedRows.from_messages([node_event(0, 7)])
        assert NodeColumns(DESCRIPTOR).hashes(rows).tolist() == [KNOWN_HASH]

    def test_rows_of_another_table_with_other_field_numbers_are_divided_by_its_descriptor(self):
        rows = EncodedRows.from_messages(
            [
                SparkplugEvent(group_id="Plant", edge_node_id=f"Edge{n}").SerializePartialToString()
                for n in (7, 8, 7)
            ]
        )
        descriptor = descriptor_bytes(SparkplugEvent.DESCRIPTOR)
        one, other, again = NodeColumns(descriptor).hashes(rows).tolist()
        assert one == again == KNOWN_HASH
        assert one != other

    def test_with_one_stream_batches_stay_what_they_are(self, tmp_path):
        with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
            schema_id = spool.schemas.register(b"not looked at")
            batch = spool.append(TABLE, mixed(0, 10), schema_id=schema_id)
            assert table_batches(spool, 1).part(batch, 0) is batch

    def test_each_stream_takes_its_rows_of_each_batch_once(self, tmp_path):
        with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
            schema_id = spool.schemas.register(DESCRIPTOR)
            batches = table_batches(spool, 2)
            for start in (0, 100, 200):
                spool.append(TABLE, mixed(start, start + 100), schema_id=schema_id)
            for stream in (0, 1):
                parts = batches.next_parts(stream, 1 << 20)
                assert [part.batch_id for part in parts] == [1, 2, 3]
                assert batches.next_parts(stream, 1 << 20) == []
                assert not batches.is_lagging(stream)

    def test_what_cannot_be_divided_stays_where_it_is(self, tmp_path):
        with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
            batches = table_batches(spool, 2)
            schema_id = spool.schemas.register(DESCRIPTOR)
            spool.append(TABLE, mixed(0, 10), schema_id=schema_id)
            other = spool.schemas.register(DESCRIPTOR + b"\x1a\x00")
            spool.append(TABLE, mixed(10, 20), schema_id=other)
            with sqlite3.connect(tmp_path / "spool.db") as db:
                db.execute("UPDATE schemas SET schema_id = 'gone' WHERE schema_id = ?", (other,))
            [part] = batches.next_parts(0, 1 << 20)
            assert part.batch_id == 1
            for _ in range(2):
                with pytest.raises(SpoolError, match=other):
                    batches.next_parts(0, 1 << 20)
            with sqlite3.connect(tmp_path / "spool.db") as db:
                db.execute("UPDATE schemas SET schema_id = ? WHERE schema_id = 'gone'", (other,))
            [part] = batches.next_parts(0, 1 << 20)
            assert part.batch_id == 2

    def test_a_batch_whose_division_fails_once_is_not_skipped(self, tmp_path, monkeypatch):
        with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
            schema_id = spool.schemas.register(DESCRIPTOR)
            batches = table_batches(spool, 2)
            for start in (0, 100, 200):
                spool.append(TABLE, mixed(start, start + 100), schema_id=schema_id)
            part = batches.part

            def fails_at_the_second(batch, stream):
                if batch.batch_id == 2:
                    raise MemoryError
                return part(batch, stream)

            with monkeypatch.context() as patched:
                patched.setattr(batches, "part", fails_at_the_second)
                assert [each.batch_id for each in batches.next_parts(0, 1 << 20)] == [1]
                with pytest.raises(MemoryError):
                    batches.next_parts(0, 1 << 20)
            assert [each.batch_id for each in batches.next_parts(0, 1 << 20)] == [2, 3]


class TestTrimming:
    @pytest.fixture
    def spool(self, tmp_path):
        with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
            yield spool

    def test_a_batch_leaves_the_spool_when_all_streams_have_settled_it(self, spool):
        schema_id = spool.schemas.register(DESCRIPTOR)
        first, second = (
            spool.append(TABLE, mixed(n, n + 10), schema_id=schema_id).batch_id for n in (0, 10)
        )
        batches = table_batches(spool, 3)
        batches.settled([first, second])
        batches.settled([first])
        batches.trim()
        assert spool.pending_rows(TABLE) == 20
        batches.settled([first])
        batches.trim()
        assert [each.batch_id for each in spool.batches_after(0, 1 << 20, table=TABLE)] == [second]

    def test_a_batch_is_read_once_for_all_streams(self, spool):
        schema_id = spool.schemas.register(DESCRIPTOR)
        for start in range(0, 50, 10):
            spool.append(TABLE, mixed(start, start + 10), schema_id=schema_id)
        batches = table_batches(spool, 2)
        first = batches.newest.batches_after(0, 1 << 20)
        second = batches.newest.batches_after(first[1].batch_id, 1 << 20)
        assert len(first) == 5
        assert all(one is other for one, other in zip(first[2:], second, strict=True))

    def test_what_is_kept_for_other_streams_is_bounded(self, spool):
        schema_id = spool.schemas.register(DESCRIPTOR)
        for start in range(0, 200, 10):
            spool.append(TABLE, mixed(start, start + 10), schema_id=schema_id)
        batches = table_batches(spool, 2, keep_bytes=5_000)
        last = 0
        while found := batches.newest.batches_after(last, 3_000):
            last = found[-1].batch_id
            assert sum(each.rows.nbytes for each in batches._kept.values()) <= 5_000
        assert last == 20


class TestSending:
    def test_three_streams_land_everything_once_and_each_node_in_order(
        self, server, plant_for, tmp_path
    ):
        plant = plant_for(server, 3)
        plant.add(100, batches=10)  # an earlier run's
        plant.delivery.start()
        plant.add(100, batches=20)
        wait_until(lambda: plant.states() == [StreamState.OPENED] * 3)
        assert server.counters().streams_open == 3
        assert plant.delivery.is_open
        assert plant.delivery.drain(PATIENCE) == 0
        assert server.counters().streams_opened == 3
        assert_in_order(tmp_path / "tables", range(3000))
        each = [stream.stats().rows_acked for stream in plant.delivery.streams]
        assert min(each) > 300
        assert sum(each) == plant.delivery.stats().rows_acked == 3000
        assert plant.delivery.stats().failures == 0

    def test_what_memory_cannot_hold_is_read_back_in_order(self, server, plant_for, tmp_path):
        options = DeliveryOptions(
            limits=CallLimits(max_records=50),
            handover_bytes=20_000,
            read_bytes=50_000,
            max_inflight_bytes=30_000,
            trim_interval=0.02,
        )
        server.faults.delay_acks(math.inf)
        plant = plant_for(server, 3, options=options)
        plant.delivery.start()
        wait_until(lambda: plant.delivery.is_open)
        plant.add(100, batches=40)
        assert plant.delivery.stats().lagging
        server.faults.clear()
        assert plant.delivery.drain(PATIENCE) == 0
        assert_in_order(tmp_path / "tables", range(4000))

    def test_more_streams_than_nodes_leave_some_idle_and_nothing_behind(self, server, plant_for):
        plant = plant_for(server, 16)
        rows = EncodedRows.from_messages([node_event(number, 1) for number in range(100)])
        for _ in range(3):
            plant.spool.append(TABLE, rows, schema_id=plant.schema_id)
        plant.delivery.start()
        assert plant.delivery.drain(PATIENCE) == 0
        busy = [stream for stream in plant.delivery.streams if stream.stats().rows_acked]
        assert len(busy) == 1

    def test_poison_holds_up_its_own_stream_only_and_is_kept_with_its_place(
        self, server, plant_for, tmp_path
    ):
        plant = plant_for(server, 3)
        plant.delivery.start()
        plant.add(200)
        messages = mixed(200, 400).slice(0, 200)
        messages[77] = b"\xff\xff"
        batch = plant.spool.append(
            TABLE, EncodedRows.from_messages(messages), schema_id=plant.schema_id
        )
        plant.delivery.submit(batch)
        plant.number = 400
        plant.add(200)
        assert plant.delivery.drain(PATIENCE) == 0
        assert_in_order(tmp_path / "tables", [each for each in range(600) if each != 277])
        query = "SELECT batch_id, first_row, row_count, reason FROM dead_letters"
        letters = read_from(plant.spool, lambda db: db.execute(query).fetchall())
        assert letters == [(batch.batch_id, 77, 1, "poison")]
        searched = [stream.stats().poison_probes > 0 for stream in plant.delivery.streams]
        assert sorted(searched) == [False, False, True]

    def test_one_streams_trouble_keeps_its_batches_spooled_and_stops_no_other(
        self, server, plant_for, tmp_path
    ):
        options = DeliveryOptions(
            limits=CallLimits(max_records=50), retry=Backoff(600, 600), trim_interval=0.02
        )
        plant = plant_for(server, 3, options=options)
        server.faults.fail_creation("UNAVAILABLE", "one of them", times=1)
        plant.delivery.start()
        plant.add(100, batches=10)
        wait_until(lambda: StreamState.BACKING_OFF in plant.states())
        ill = plant.states().index(StreamState.BACKING_OFF)
        others = [stream for n, stream in enumerate(plant.delivery.streams) if n != ill]
        missing = sum(
            int((hashes >> np.uint64(32)) % np.uint64(3) == ill)
            for start in range(0, 1000, 100)
            for hashes in NodeColumns(DESCRIPTOR).hashes(mixed(start, start + 100))
        )
        wait_until(lambda: sum(each.stats().rows_acked for each in others) == 1000 - missing)
        assert missing > 0
        assert plant.spool.pending_rows(TABLE) == 1000
        stats = plant.delivery.stats()
        assert stats.state is StreamState.BACKING_OFF
        assert "one of them" in stats.cause
        assert not plant.delivery.is_open
        # The next run sends them all, over another number of streams.
        assert plant.delivery.stop(PATIENCE)
        again = Plant(tmp_path, server, 2, spool=plant.spool)
        again.delivery.start()
        assert again.delivery.drain(PATIENCE) == 0
        assert again.delivery.stop(PATIENCE)
        assert assert_in_order(tmp_path / "tables", range(1000), once=False) <= 1000 - missing

    def test_streams_that_break_lose_nothing(self, server, plant_for, tmp_path):
        plant = plant_for(server, 3)
        server.faults.fail_stream("UNAVAILABLE", "gone", times=8, at_offset=1, abrupt=True)
        plant.delivery.start()
        plant.add(100, batches=30)
        assert plant.delivery.drain(PATIENCE) == 0
        assert_in_order(tmp_path / "tables", range(3000), once=False)


class TestChanges:
    def test_killed_and_started_with_other_numbers_of_streams_loses_nothing(self, tmp_path):
        chance = random.Random(11)
        with ServerProcess.running(tmp_path / "tables") as server:
            for streams in (3, 1, 2, 3):
                with subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        _CONSUMER,
                        str(tmp_path / "spool.db"),
                        server.endpoint,
                        server.workspace_url,
                        str(streams),
                    ],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                ) as consumer:
                    for _ in range(chance.randint(20, 60)):
                        assert consumer.stdout.readline()
                    consumer.send_signal(signal.SIGKILL)
                    consumer.stdout.read()
            with contextlib.closing(Spool.open(tmp_path / "spool.db")) as spool:
                last = spool.state.get("arrival_number")
                assert spool.pending_rows(TABLE) > 0
                delivery = TableDelivery(
                    spool, sink_for(server), TABLE, spool.schemas.register(DESCRIPTOR), streams=2
                )
                delivery.start()
                assert delivery.drain(PATIENCE) == 0
                assert delivery.stop(PATIENCE)
        assert_in_order(tmp_path / "tables", range(last), once=False)


_CONSUMER = """if True:
    import sys
    from consumer.delivery.table import TableDelivery
    from consumer.spool import Spool
    from support.tag_events import DESCRIPTOR, TABLE
    from support.mixed_nodes import mixed
    from consumer.sinks.login import Login
    from consumer.sinks.zerobus import ZerobusSink
    spool = Spool.open(sys.argv[1])
    schema_id = spool.schemas.register(DESCRIPTOR)
    sink = ZerobusSink(sys.argv[2], sys.argv[3], login=Login("any", lambda: "any"))
    delivery = TableDelivery(spool, sink, TABLE, schema_id, streams=int(sys.argv[4]))
    delivery.start()
    number = spool.state.get("arrival_number") or 0
    while True:
        rows = mixed(number, number + 300)
        number += 300
        state = {"arrival_number": number}
        delivery.submit(spool.append(TABLE, rows, schema_id=schema_id, state=state))
        print(number, flush=True)
"""
