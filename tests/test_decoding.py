"""The columnar decoder and the row-by-row oracle read every batch alike."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from oracle import COLUMNS, Oracle, to_tag_event
from oracle.forms import COMPRESSED, inflated, parse_payload
from oracle.strategies import fleets, random_fleet

from consumer.normalize import SourceNames, TagColumns, normalize
from sparkplug.columns import decode
from sparkplug.fleet import Fleet
from sparkplug.messages import Message

TIMES = ("event_time", "payload_timestamp", "ingestion_timestamp")


class Columnar:
    """The product's path, batch by batch, with the oracle's interface.

    One decoder per server, as in the pipeline; arrival numbers run over all of them.
    """

    def __init__(self) -> None:
        self.servers: dict[str, tuple[Fleet, TagColumns]] = {}
        self.rows: list[dict[str, object]] = []
        self.encoded: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.repeated = 0
        self.rebirths: set[tuple[str, str, str]] = set()

    def feed(self, arrivals) -> None:
        for server, messages in self._by_server(arrivals):
            if server not in self.servers:
                fleet = Fleet()
                self.servers[server] = fleet, TagColumns(fleet.catalogue, SourceNames(server))
            fleet, tags = self.servers[server]
            decoded = fleet.feed(messages)
            self.counts.update({str(reason): n for reason, n in decoded.counts.items()})
            self.rebirths.update(
                (r.group_id, r.edge_node_id, str(r.reason)) for r in decoded.rebirths
            )
            for observations in decoded.observations:
                events = normalize(observations, tags, len(self.rows) + 1)
                self.repeated += len(observations) - len(events)
                self.rows += self._as_dictionaries(events.to_record_batch())
                self.encoded += [raw for part in events.encode() for raw in part.to_pylist()]

    @staticmethod
    def _by_server(arrivals):
        """Runs of messages of one server, in order of arrival."""
        runs: list[tuple[str, list[Message]]] = []
        for a in arrivals:
            if not runs or runs[-1][0] != a.server:
                runs.append((a.server, []))
            runs[-1][1].append(Message(a.topic, a.payload, a.received_at_us, a.retained))
        return runs

    @staticmethod
    def _as_dictionaries(batch: pa.RecordBatch) -> list[dict[str, object]]:
        for name in TIMES:
            index = batch.schema.get_field_index(name)
            batch = batch.set_column(index, name, batch.column(name).cast(pa.int64()))
        return batch.to_pylist()


def judged_alike(payload: bytes) -> bool:
    """Whether ptars and upb agree that damaged bytes are, or are not, a payload.

    They do not where an unknown field has a number beyond protobuf's range.
    """
    _, bad = decode([payload])
    parsed = parse_payload(payload)
    if parsed is not None and parsed.uuid == COMPRESSED:
        inner = inflated(parsed.body)
        return not bad and (inner is None or judged_alike(inner))
    return (parsed is None) == bool(bad)


def in_order(rows):
    """Rows as they are, but those of one death by tag: they all say the same at once."""
    deaths = ("NDEATH", "DDEATH")
    ordered = []
    for (is_death, *_), group in groupby(
        rows,
        key=lambda r: (
            r["message_type"] in deaths,
            r["event_time"] if r["message_type"] in deaths else 0,
        ),
    ):
        same = list(group)
        if is_death:
            numbers = [row["arrival_number"] for row in same]
            same = sorted(same, key=lambda r: (r["tag_path"], r["data_type"], r["event_id"]))
            same = [{**r, "arrival_number": n} for r, n in zip(same, numbers, strict=True)]
        ordered += same
    return ordered


def assert_read_alike(batches) -> None:
    oracle, columnar = Oracle(), Columnar()
    for whole in batches:
        batch = [arrival for arrival in whole if judged_alike(arrival.payload)]
        oracle.feed(batch)
        columnar.feed(batch)
    assert len(columnar.rows) == len(oracle.rows)
    for ours, theirs in zip(in_order(columnar.rows), in_order(oracle.rows), strict=True):
        assert [repr(ours[name]) for name in COLUMNS] == [repr(theirs[name]) for name in COLUMNS]
    assert columnar.counts == oracle.counts
    assert columnar.repeated == oracle.repeated
    assert columnar.rebirths == set(oracle.rebirth_requests)
    assert columnar.encoded == [to_tag_event(row) for row in columnar.rows]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_every_generated_fleet_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@pytest.mark.parametrize("seed", range(20))
def test_thousands_of_hostile_messages_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(random_fleet(seed, batches=6, messages=150))


@pytest.mark.parametrize("seed", range(6))
def test_births_that_are_sent_twice_are_read_as_the_oracle_reads_them(seed):
    batches = random_fleet(seed, batches=4, messages=120)
    assert_read_alike(
        [[each for a in batch for each in [a] * (1 + ("BIRTH/" in a.topic))] for batch in batches]
    )
