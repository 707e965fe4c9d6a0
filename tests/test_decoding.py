"""The columnar decoder and the row-by-row oracle read every batch alike."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from oracle import COLUMNS, Oracle, to_tag_event
from oracle.features import ALL_FEATURES, WELL_MEANT
from oracle.forms import COMPRESSED, inflated, parse_payload, read_payload
from oracle.network import Batch
from oracle.strategies import fleets, random_fleet, some_of
from oracle.values import LAST_MILLISECOND

from consumer.normalize import SourceNames, TagColumns, normalize
from sparkplug.columns import decode
from sparkplug.events import EventKind
from sparkplug.fleet import Fleet
from sparkplug.memory import BirthMemory, EndMemory, RememberedBirth
from sparkplug.messages import Message

TIMES = ("event_time", "payload_timestamp", "ingestion_timestamp")
REORDER_TIMEOUT = 2.0


class Columnar:
    """The product's path for one server, step by step, with the oracle's interface."""

    def __init__(self, server: str, reorder_timeout: float) -> None:
        self.server = server
        self.reorder_timeout = reorder_timeout
        self._start()
        self.remembered: dict[tuple[str, str, str | None], RememberedBirth] = {}
        self.rows: list[dict[str, object]] = []
        self.encoded: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.repeated = 0
        self.rebirth_requests: set[tuple[str, str, str]] = set()
        self.dead_letters: list[tuple[Message, str]] = []
        self.gaps: list[tuple[object, ...]] = []

    def _start(self) -> None:
        self.fleet = Fleet(reorder_timeout=self.reorder_timeout)
        self.tags = TagColumns(self.fleet.catalogue, SourceNames(self.server))

    def feed(self, arrivals, now: float) -> None:
        messages = [Message(a.topic, a.payload, a.received_at_us, a.retained) for a in arrivals]
        self._decoded(self.fleet.feed(messages, now))

    def tick(self, now: float) -> None:
        self._decoded(self.fleet.tick(now))

    def connection_lost(self, now: float) -> None:
        self._decoded(self.fleet.connection_lost(now))

    def restart(self, now: float) -> None:
        """Stop and start, with what is kept on disk."""
        self._decoded(self.fleet.flush(now))
        sequence_state, held = self.fleet.sequence_state(), self.fleet.held()
        births = list(self.remembered.values())
        self._start()
        slots = self.fleet.restore(births, sequence_state, held, now)
        for key, each in self.remembered.items():
            birth = each.birth._replace(slot=slots[key[:2]])
            self.remembered[key] = each._replace(birth=birth)

    def _remember(self, memory) -> None:
        """What a table of births does, with a row for each node and device."""
        key = (memory.group_id, memory.edge_node_id, memory.device_id)
        of_node = [other for other in self.remembered if other[:2] == key[:2]]
        concerned = [other for other in of_node if key[2] is None or other == key]
        if isinstance(memory, EndMemory):
            for other in concerned:
                if self.remembered[other].alive:
                    self.remembered[other] = self.remembered[other]._replace(
                        alive=False, stale=memory.stale
                    )
            if key[2] is None:
                self.remembered[key] = self.remembered[key]._replace(
                    dead_bd_seq=memory.bd_seq, died_us=memory.time_us
                )
        else:
            for other in concerned:
                self.remembered[other] = self.remembered[other]._replace(alive=False)
            self.remembered.pop(key, None)  # the order is that of the births
            self.remembered[key] = RememberedBirth(memory, alive=True, stale=False)

    def _decoded(self, decoded) -> None:
        for memory in decoded.memories:
            self._remember(memory)
        self.counts.update({str(reason): n for reason, n in decoded.counts.items()})
        self.rebirth_requests.update(
            (r.group_id, r.edge_node_id, str(r.reason)) for r in decoded.rebirths
        )
        self.dead_letters += [(message, str(reason)) for message, reason in decoded.expired]
        self.gaps += [
            (e.group_id, e.edge_node_id, e.seq, e.missing, str(e.healing))
            for e in decoded.events
            if e.kind is EventKind.GAP
        ]
        for observations in decoded.observations:
            events = normalize(observations, self.tags, len(self.rows) + 1)
            self.repeated += len(observations) - len(events)
            self.rows += self._as_dictionaries(events.to_record_batch())
            self.encoded += [raw for part in events.encode() for raw in part.to_pylist()]

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


def letters(dead_letters):
    """What became a dead letter, without regard to order or to how bytes are written."""
    return Counter((letter.topic, said(letter.payload), reason) for letter, reason in dead_letters)


def said(content):
    """What a payload says of itself, and its metrics."""
    payload, _ = read_payload(content)
    known = payload.HasField("timestamp") and payload.timestamp <= LAST_MILLISECOND
    for metric in payload.metrics:  # of JSON false is left out, or not
        for flag in ("is_historical", "is_transient", "is_null"):
            if not getattr(metric, flag):
                metric.ClearField(flag)
    metrics = tuple(metric.SerializeToString() for metric in payload.metrics)
    return payload.seq % 256, payload.timestamp if known else None, metrics


def assert_alike(columnar: Columnar, oracle: Oracle) -> None:
    assert len(columnar.rows) == len(oracle.rows)
    for ours, theirs in zip(in_order(columnar.rows), in_order(oracle.rows), strict=True):
        assert [repr(ours[name]) for name in COLUMNS] == [repr(theirs[name]) for name in COLUMNS]
    assert columnar.counts == oracle.counts
    assert columnar.repeated == oracle.repeated
    assert columnar.rebirth_requests == set(oracle.rebirth_requests)
    assert letters(columnar.dead_letters) == letters(oracle.dead_letters)
    assert Counter(columnar.gaps) == Counter(oracle.gaps)
    assert columnar.encoded == [to_tag_event(row) for row in columnar.rows]


def assert_read_alike(batches, reorder_timeout: float = REORDER_TIMEOUT) -> None:
    """Let both read what each server has sent, step by step."""
    batches = [batch if isinstance(batch, Batch) else Batch(batch) for batch in batches]
    for server in sorted({arrival.server for batch in batches for arrival in batch}):
        oracle = Oracle(reorder_timeout=reorder_timeout)
        columnar = Columnar(server, reorder_timeout)
        for batch in batches:
            arrivals = [a for a in batch if a.server == server and judged_alike(a.payload)]
            for reader in (oracle, columnar):
                for what, when in batch.before:
                    getattr(reader, what)(when)
                reader.feed(arrivals, batch.now)
        assert_alike(columnar, oracle)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_every_generated_fleet_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fleets(WELL_MEANT, max_batches=12, max_messages=12))
def test_every_fleet_with_trouble_on_the_way_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@pytest.mark.parametrize("seed", range(20))
def test_thousands_of_hostile_messages_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(random_fleet(seed, batches=6, messages=150), seed % 2 * REORDER_TIMEOUT)


@pytest.mark.parametrize("seed", range(300))
def test_trouble_on_the_way_is_read_as_the_oracle_reads_it(seed):
    features = some_of(WELL_MEANT if seed % 3 else ALL_FEATURES, seed)
    batches = random_fleet(seed, batches=25, messages=10, features=features)
    assert_read_alike(batches, seed % 10 and REORDER_TIMEOUT)


@pytest.mark.parametrize("seed", range(6))
def test_births_that_are_sent_twice_are_read_as_the_oracle_reads_them(seed):
    batches = random_fleet(seed, batches=4, messages=120)
    assert_read_alike(
        [[each for a in batch for each in [a] * (1 + ("BIRTH/" in a.topic))] for batch in batches]
    )
