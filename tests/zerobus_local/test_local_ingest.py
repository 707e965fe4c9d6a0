"""The way of a record: from the real SDK to a Delta table, then the acknowledgement."""

import datetime as dt
import json
import math
import threading
import time

import duckdb
import grpc
import pytest
from deltalake import DeltaTable
from support.local_rig import (
    READING,
    TABLE,
    create_request,
    hold_open,
    raw_call,
    record_request,
    until,
)
from support.services import PATIENCE, PROMPT
from zerobus.sdk.sync import ZerobusException

from zerobus_local import Ports
from zerobus_local.landing import ENOUGH_RECORDS


def test_single_and_batch_records_land_in_order(client, rows):
    stream = client.stream()
    assert stream.ingest_record_offset(READING("a", value=1.5)) == 0
    assert stream.ingest_records_offset([READING("b", count=-7), READING("c", note="é")]) == 1
    stream.flush()
    at = dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    assert rows() == [
        {"id": "a", "at": at, "value": 1.5, "count": None, "note": None},
        {"id": "b", "at": at, "value": None, "count": -7, "note": None},
        {"id": "c", "at": at, "value": None, "count": None, "note": "é"},
    ]


def test_json_records_land_like_protobuf_ones(client, rows):
    stream = client.stream(None)
    stream.ingest_record_offset({"id": "a", "at": 1_700_000_000_000_000, "value": 2})
    stream.ingest_records_offset(
        [json.dumps({"id": "b", "at": "1700000000000001", "count": None}), {"id": "c", "at": 0}]
    )
    stream.flush()
    landed = rows()
    assert [row["id"] for row in landed] == ["a", "b", "c"]
    assert landed[0]["value"] == 2.0
    assert landed[1]["at"].microsecond == 1
    assert landed[2]["at"].timestamp() == 0  # explicit, so not null


def test_nothing_is_acknowledged_before_its_commit(server, client, rows):
    server.faults.delay_commits(math.inf)
    stream = client.stream()
    offset = stream.ingest_records_offset([READING(n) for n in range(100)])
    acknowledged = threading.Event()

    def wait():
        stream.wait_for_offset(offset)
        acknowledged.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert until(lambda: server.counters().records_received == 100)
    assert not acknowledged.wait(0.3)
    assert rows() == []
    server.faults.clear()
    waiter.join(PATIENCE)
    assert acknowledged.is_set()
    assert len(rows()) == 100


def test_the_acknowledgement_log_says_when_the_rows_of_which_commit_were_acknowledged(
    make_server, make_client, rows, tmp_path
):
    log = tmp_path / "acknowledgements"
    server = make_server(acknowledgement_log=log)
    server.faults.delay_acks(math.inf)
    stream = make_client(server).stream()
    offset = stream.ingest_record_offset(READING("a"))
    assert until(rows)
    assert log.read_text() == ""  # committed, and not acknowledged

    server.faults.clear()
    stream.wait_for_offset(offset)
    stream.wait_for_offset(stream.ingest_record_offset(READING("b")))
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["table"] for entry in entries] == [TABLE, TABLE]
    committed = {}
    for file in sorted((tmp_path / "data").rglob("_delta_log/*.json")):
        actions = [json.loads(line) for line in file.read_text().splitlines()]
        for number in (each["txn"]["version"] for each in actions if "txn" in each):
            committed[number] = file.stat().st_mtime_ns // 1_000
    assert [entry["commit"] for entry in entries] == list(committed)
    assert all(entry["acknowledged_us"] >= committed[entry["commit"]] for entry in entries)


def test_closing_a_stream_lands_what_it_has_sent(server, client, rows):
    stream = client.stream()
    for n in range(50):
        stream.ingest_record_offset(READING(n))
    stream.close()
    assert [row["id"] for row in rows()] == [str(n) for n in range(50)]
    assert until(lambda: server.counters().streams_open == 0)


def test_concurrent_streams_share_commits_and_keep_their_order(make_server, make_client, rows):
    server = make_server()
    server.faults.delay_commits(math.inf)
    client = make_client(server)

    def produce(name):
        stream = client.stream()
        for n in range(30):
            stream.ingest_records_offset([READING(f"{name}-{n}-{k}") for k in range(20)])
        stream.close()

    threads = [threading.Thread(target=produce, args=(name,)) for name in "wxyz"]
    for thread in threads:
        thread.start()
    assert until(lambda: server.counters().requests_received == 120)
    server.faults.clear()
    for thread in threads:
        thread.join(PATIENCE)
    landed = [row["id"] for row in rows()]
    assert len(landed) == 4 * 30 * 20
    for name in "wxyz":
        own = [id_ for id_ in landed if id_.startswith(name)]
        assert own == [f"{name}-{n}-{k}" for n in range(30) for k in range(20)]
    counters = server.counters()
    assert counters.records_committed == 2400
    # What came before the first commit is in that, or in the next one.
    assert counters.commits <= 3


def test_one_acknowledgement_covers_all_offsets_of_a_commit(make_server, make_client):
    server = make_server()
    server.faults.delay_commits(math.inf)
    stream = make_client(server).stream()
    for n in range(100):
        stream.ingest_record_offset(READING(n))
    assert until(lambda: server.counters().requests_received == 100)
    server.faults.clear()
    stream.flush()
    assert server.counters().acks_sent <= 3


def test_a_server_without_room_reads_no_further(make_server, make_client, rows):
    server = make_server(max_uncommitted_bytes=100_000)
    server.faults.delay_commits(math.inf)
    client = make_client(server)
    stream = client.stream()
    note = "x" * 10_000
    for n in range(200):
        stream.ingest_record_offset(READING(n, note=note))
    assert until(lambda: server.counters().bytes_received > 80_000)
    assert not until(lambda: server.counters().bytes_received > 130_000, 0.3)
    server.faults.clear()
    stream.flush()
    assert [row["id"] for row in rows()] == [str(n) for n in range(200)]


def test_stopping_lands_and_acknowledges_what_was_received(make_server, make_client, rows):
    server = make_server(commit_interval=60)
    stream = make_client(server).stream(recovery=False)
    first = stream.ingest_record_offset(READING("first"))  # starts the interval
    stream.wait_for_offset(first)
    stream.ingest_records_offset([READING(n) for n in range(10)])
    assert until(lambda: server.counters().records_received == 11)
    start = time.monotonic()
    server.stop(grace=PROMPT)
    assert time.monotonic() - start < PROMPT
    assert len(rows()) == 11
    assert server.counters().acks_sent == 2


def test_many_records_do_not_wait_for_the_interval(make_server, make_client, rows):
    server = make_server(commit_interval=10 * PATIENCE)
    stream = make_client(server).stream()
    stream.wait_for_offset(stream.ingest_record_offset(READING("first")))  # starts the interval
    start = time.monotonic()
    for n in range(ENOUGH_RECORDS // 1000):
        last = stream.ingest_records_offset([READING(n)] * 1000)
    stream.wait_for_offset(last)
    assert time.monotonic() - start < PATIENCE
    assert len(rows()) == ENOUGH_RECORDS + 1
    server.stop(grace=PROMPT)


def test_a_restarted_server_serves_the_tables_it_finds(make_server, make_client, rows):
    first = make_server()
    stream = make_client(first).stream()
    stream.ingest_record_offset(READING("a"))
    stream.close()
    first.stop()
    second = make_server()
    stream = make_client(second).stream()
    stream.ingest_record_offset(READING("b"))
    stream.close()
    assert [row["id"] for row in rows()] == ["a", "b"]


def test_any_delta_reader_reads_the_table(client, tmp_path):
    stream = client.stream()
    stream.ingest_records_offset([READING(n, value=n / 2) for n in range(1000)])
    stream.close()
    table = DeltaTable(tmp_path / "data" / "plant" / "ot" / "readings")
    assert [field.nullable for field in table.schema().fields] == [False, False, True, True, True]
    database = duckdb.connect()
    readings = table.to_pyarrow_dataset()
    database.register("readings", readings)
    query = 'SELECT count(*), sum(value), min("at")::TIMESTAMP FROM '
    expected = (1000, 249_750.0, dt.datetime(2023, 11, 14, 22, 13, 20))  # noqa: DTZ001
    database.execute("SET TimeZone = 'UTC'")
    assert database.execute(query + "readings").fetchone() == expected
    files = table.file_uris()
    assert database.execute(query + "read_parquet(?)", [files]).fetchone() == expected


def test_compaction_bounds_the_number_of_files(make_server, make_client, tmp_path, rows):
    server = make_server(commit_interval=0.0, compact_every=50)
    stream = make_client(server).stream()
    path = tmp_path / "data" / "plant" / "ot" / "readings"
    most = 0
    for n in range(200):
        stream.wait_for_offset(stream.ingest_record_offset(READING(n)))
        if n % 10 == 9:
            most = max(most, len(DeltaTable(path).file_uris()))
    stream.close()
    assert server.counters().commits == 200
    assert most < 150
    assert until(lambda: len(DeltaTable(path).file_uris()) <= 60)
    assert server.counters().compactions >= 2
    assert sorted(int(row["id"]) for row in rows()) == list(range(200))


def test_a_table_that_cannot_be_written_is_tried_again(server, client, rows):
    server.faults.fail_commits(times=2)
    stream = client.stream()
    stream.ingest_record_offset(READING("a"))
    stream.flush()
    assert [row["id"] for row in rows()] == ["a"]
    assert server.counters().commit_failures == 2


def test_a_commit_that_landed_though_it_failed_is_not_repeated(server, client, rows):
    server.faults.fail_commits(times=1, landed=True)
    stream = client.stream()
    stream.ingest_record_offset(READING("a"))
    stream.flush()
    stream.ingest_record_offset(READING("b"))
    stream.flush()
    assert [row["id"] for row in rows()] == ["a", "b"]
    assert server.counters().commit_failures == 1


def test_a_commit_that_keeps_failing_ends_the_stream_unacknowledged(server, client, rows):
    stream = client.stream(recovery=False)
    server.faults.fail_commits(times=None)
    stream.ingest_record_offset(READING("a"))
    with pytest.raises(ZerobusException, match=r"Commit to table plant\.ot\.readings failed"):
        stream.flush()
    assert rows() == []
    assert list(stream.get_unacked_records()) == [READING("a")]


def test_two_tables_are_written_side_by_side(server, client, schema, tmp_path):
    server.create_table("plant.ot.others", schema)
    one, two = client.stream(), client.stream(table="plant.ot.others")
    one.ingest_record_offset(READING("one"))
    two.ingest_record_offset(READING("two"))
    one.close()
    two.close()
    others = DeltaTable(tmp_path / "data" / "plant" / "ot" / "others").to_pyarrow_table()
    assert others.column("id").to_pylist() == ["two"]


def test_a_client_that_vanishes_frees_its_stream(server):
    with hold_open(server):
        assert until(lambda: server.counters().streams_open == 1)
    assert until(lambda: server.counters().streams_open == 0)


def test_a_client_that_vanishes_after_its_last_record_is_not_waited_for(server, rows):
    server.faults.delay_commits(math.inf)
    with hold_open(server, [record_request(0, READING("a"))], half_close=True):
        assert until(lambda: server.counters().requests_received == 1)
    assert until(lambda: server.counters().streams_open == 0)
    server.faults.clear()
    assert until(rows)  # received, so it lands


def test_streams_beyond_the_limit_are_refused_for_now(make_server):
    server = make_server(ports=Ports(max_streams=1))
    with hold_open(server):
        _, error = raw_call(server, [create_request()])
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert until(lambda: raw_call(server, [create_request()])[1] is None)
