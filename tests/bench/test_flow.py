"""The benchmark from end to end publishes what it says, and finds what is missing."""

import dataclasses

import fleet
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from flow import measurement
from flow.commit_log import CommitLog
from flow.generator import Window
from flow.measurement import Case, ages_ms, measure, require_all
from flow.messages import ROUNDS, DataMessages, encoded_time, publish
from support.tag_rows import as_record_batch

from consumer.rows import SourceNames, TagColumns, normalize
from sparkplug import Fleet, Message
from sparkplug.pb.sparkplug_b_pb2 import Payload

NODES = 3
AT_MS = 1_790_000_000_000


def published(packets):
    """Topic and payload of each MQTT PUBLISH; nothing is left over."""
    found = []
    while packets:
        assert packets[0] == 0x30, "PUBLISH with QoS 0"
        length = shift = 0
        for position in range(1, 5):
            length |= (packets[position] & 0x7F) << shift
            shift += 7
            if packets[position] < 0x80:
                break
        body, packets = packets[position + 1 :][:length], packets[position + 1 + length :]
        assert len(body) == length
        stop = 2 + int.from_bytes(body[:2], "big")
        found.append((body[2:stop].decode(), body[stop:]))
    return found


def rows_of(batches):
    """The rows that the consumer makes of batches of topics and payloads, and its remarks."""
    known = Fleet()
    tags = TagColumns(known.catalogue, SourceNames())
    rows, remarks = [], {}
    for batch in batches:
        decoded = known.feed([Message(topic, payload, AT_MS * 1000) for topic, payload in batch])
        remarks |= decoded.counts
        rows += [as_record_batch(normalize(each, tags, 1)) for each in decoded.observations]
    return pa.Table.from_batches(rows), remarks


def births():
    return [published(publish(*each[:2]))[0] for each in fleet.births(NODES, AT_MS)]


@pytest.mark.parametrize("metrics", [1, 10, 100])
def test_every_message_is_read_without_a_remark_over_more_than_one_turn_of_seq(metrics):
    data = DataMessages(NODES, metrics)
    count = NODES * (ROUNDS + 40)
    found, sent = [], 0
    while sent < count:
        size = min(100, data.most_at_once, count - sent)
        found.append(published(data.packets(sent, size, AT_MS + sent)))
        assert found[-1] == data.messages(sent, size, AT_MS + sent)
        sent += size
    rows, remarks = rows_of([births(), *found])
    assert remarks == {}
    rows = rows.slice(NODES * fleet.TAGS_PER_NODE)
    assert len(rows) == count * metrics
    assert rows["message_type"].unique().to_pylist() == ["NDATA"]
    assert rows["quality"].unique().to_pylist() == ["GOOD"]
    assert set(rows["data_type"].to_pylist()) == {"Double", "Int32", "Boolean", "String"}
    assert len(rows["event_id"].unique()) == len(rows)
    assert rows["event_time"] == rows["payload_timestamp"]
    payloads = [payload for batch in found for _, payload in batch][::NODES]  # of one node
    seqs = [Payload.FromString(payload).seq for payload in payloads]
    assert seqs == [(1 + number) % 256 for number in range(len(seqs))]


def test_messages_have_the_time_they_are_given_and_differ_in_nothing_else():
    data = DataMessages(NODES, 10)
    for later in (0, 1, 2**34):
        (_, payload) = published(data.packets(7, 1, AT_MS + later))[0]
        payload = Payload.FromString(payload)
        assert payload.timestamp == AT_MS + later
        assert {metric.timestamp for metric in payload.metrics} == {AT_MS + later}
        assert payload.seq == 1 + 7 // NODES


@pytest.mark.parametrize("metrics", [1, 10, 100])
def test_no_tag_comes_twice_in_as_many_messages_as_may_have_one_time(metrics):
    data = DataMessages(NODES, metrics)
    for first in (0, 1, NODES * (ROUNDS - 1)):
        tags = [
            (topic, metric.alias)
            for topic, payload in data.messages(first, data.most_at_once, AT_MS)
            for metric in Payload.FromString(payload).metrics
        ]
        assert len(set(tags)) == len(tags)


def test_a_time_is_the_varint_that_protobuf_writes():
    for at_ms in (1 << 35, AT_MS, (1 << 42) - 1):
        assert Payload(timestamp=at_ms).SerializeToString() == b"\x08" + encoded_time(at_ms)
    for at_ms in ((1 << 35) - 1, 1 << 42):
        with pytest.raises(ValueError, match="six bytes"):
            encoded_time(at_ms)


def test_the_commit_log_counts_appended_rows_and_not_those_of_merged_files(tmp_path):
    log = CommitLog(tmp_path)
    assert log.rows() == 0
    for number in range(1, 4):
        write_deltalake(
            tmp_path,
            pa.table({"value": list(range(number))}),
            mode="append",
            commit_properties=CommitProperties(app_transactions=[Transaction("test", number)]),
        )
        assert log.rows() == number * (number + 1) // 2
    DeltaTable(tmp_path).optimize.compact()
    assert log.rows() == 6
    assert [(each.number, each.rows) for each in log.commits] == [(1, 1), (2, 2), (3, 3)]
    assert all((tmp_path / file).is_file() for each in log.commits for file in each.files)


def test_quantiles_of_the_histogram_are_of_what_was_observed_in_between():
    def bucket(le):
        return f'acknowledgement_seconds_bucket{{le="{le}"}}'

    before = {bucket("0.1"): 7, bucket("0.2"): 7, bucket("1.0"): 9, bucket("+Inf"): 9}
    after = {bucket("0.1"): 7, bucket("0.2"): 107, bucket("1.0"): 109, bucket("+Inf"): 109}
    assert ages_ms(before, after) == [150.0, 195.0, 199.0]


def test_a_flood_has_on_its_way_what_landed_in_the_last_second_and_a_half():
    window = Window(least=100)
    assert window.rows(0, 10.0) == 100
    assert window.rows(80, 10.5) == 100  # the least
    assert window.rows(300, 11.0) == 300
    assert window.rows(300, 11.5) == 300
    assert window.rows(900, 12.0) == 820  # 80 had landed one and a half seconds before
    assert window.rows(900, 13.5) == 100  # nothing since


def test_a_run_that_lost_rows_or_landed_others_gives_no_figures():
    require_all(100, 100, "nothing was dropped")
    for landed in (99, 101):
        with pytest.raises(SystemExit, match=f"100 rows were published, {landed} different"):
            require_all(100, landed, "the server dropped 1")


def test_a_second_of_a_flood_lands_to_the_last_row(monkeypatch):
    monkeypatch.setattr(measurement, "LEAST_ROWS", 10_000)
    case = Case(metrics=10, seconds=1.0)
    found = measure(case)
    assert found["rows_missing"] == 0
    assert found["messages_dropped_by_server"] == 0
    assert found["rows"] > 0
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert found.items() >= dataclasses.asdict(case).items()
    for each in ("cpu_percent_of_a_core", "peak_memory_mib"):
        assert set(found[each]) == {"generator", "mosquitto", "consumer", "zerobus"}
        assert all(value > 0 for value in found[each].values())
