"""The columnar decoder and the row-by-row oracle side by side, step by step."""

from __future__ import annotations

import sqlite3
from collections import Counter
from functools import partial
from itertools import chain, groupby

import pyarrow as pa
from support.tag_rows import as_record_batch

from consumer.rows import SourceNames, TagColumns, normalize
from consumer.spool import layout
from consumer.spool.fleet import FleetStore
from consumer.spool.gaps import GapStore
from oracle import COLUMNS, Oracle, to_tag_event
from oracle.forms import COMPRESSED, inflated, parse_payload, read_payload
from oracle.network import Batch
from oracle.values import LAST_MILLISECOND
from sparkplug.events import EventKind, Healing
from sparkplug.filters import sight_of
from sparkplug.host.fleet import Fleet
from sparkplug.host.fleet_options import FleetOptions
from sparkplug.messages import Message
from sparkplug.payload.columns import decode

GIB = 1 << 30
TIMES = ("event_time", "payload_timestamp", "ingestion_timestamp")
DEATHS = ("NDEATH", "DDEATH")
REORDER_TIMEOUT = 2.0
TOLD = (Healing.OPEN, Healing.LATE_ARRIVAL)
"""Ends of gaps that the oracle tells as well; it knows nothing of history, which may come first."""


class Columnar:
    """The product's path for one server, step by step, with the oracle's interface."""

    def __init__(
        self, server: str, reorder_timeout: float, filters: tuple[str, ...] = ("spBv1.0/#",)
    ) -> None:
        self.server = server
        self.sight = partial(sight_of, filters)
        self.reorder_timeout = reorder_timeout
        self._start()
        self.disk = sqlite3.connect(":memory:")
        for statement in (*layout.TABLES, *chain(*layout.ADDED.values())):
            self.disk.execute(statement)
        self.rows: list[dict[str, object]] = []
        self.encoded: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.repeated = 0
        self.rebirth_requests: set[tuple[str, str, str]] = set()
        self.dead_letters: list[tuple[Message, str]] = []
        self.gaps: list[tuple[object, ...]] = []
        self.received: Counter[tuple[str, str]] = Counter()
        self.sent: dict[tuple[str, str], int] = {}

    def _start(self) -> None:
        self.fleet = Fleet(
            options=FleetOptions(reorder_timeout=self.reorder_timeout, sight=self.sight)
        )
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
        self.take_received(leaving=True)
        sequence_state = self.fleet.memory.sequence_state()
        FleetStore(self.server, GIB).write_held(self.disk, self.fleet.memory.held(), GIB)
        self._start()
        births = list(FleetStore(self.server, GIB).births.read(self.disk))
        held = FleetStore(self.server, GIB).take_held(self.disk)
        gaps = GapStore(self.server, GIB).read_healable(self.disk)
        slots = self.fleet.memory.restore(births, sequence_state, held, now)
        self.fleet.memory.restore_gaps(gaps, self.sent)
        FleetStore(self.server, GIB).births.write_slots(self.disk, slots, GIB)

    def _decoded(self, decoded) -> None:
        FleetStore(self.server, GIB).births.write(self.disk, decoded.memories, GIB)
        self.counts.update({str(reason): n for reason, n in decoded.counts.items()})
        self.rebirth_requests.update(
            (r.group_id, r.edge_node_id, str(r.reason)) for r in decoded.rebirths
        )
        self.dead_letters += [(message, str(reason)) for message, reason in decoded.expired]
        self.gaps += [
            (e.group_id, e.edge_node_id, e.seq, e.missing, str(e.healing))
            for e in decoded.events
            if e.kind is EventKind.GAP and e.healing in TOLD
        ]
        self._account(decoded.gaps)
        for observations in decoded.observations:
            events = normalize(observations, self.tags, len(self.rows) + 1)
            self.repeated += len(observations) - len(events)
            self.rows += self._as_dictionaries(as_record_batch(events))
            self.encoded += [raw for part in events.encode() for raw in part.to_pylist()]

    def _account(self, changes) -> None:
        """Keep gaps and counts as the consumer does."""
        newest = GapStore(self.server, GIB).newest_number(self.disk)
        for change in changes:
            if change.before is None:
                newest += 1
                change.gap.number = newest
        GapStore(self.server, GIB).write_gaps(self.disk, {c.gap for c in changes}, newest)
        self.take_received()

    def take_received(self, *, leaving: bool = False) -> None:
        """Add to the accounts what came of each node."""
        for group_id, edge_node_id, messages, sent_us in self.fleet.take_received(
            never_born=leaving
        ):
            self.received[group_id, edge_node_id] += messages
            self.sent[group_id, edge_node_id] = sent_us

    def found(self) -> Counter[tuple[object, ...]]:
        """All gaps as they are on disk, but for what history did for them."""
        columns = (
            "group_id, edge_node_id, reason, first_seq, missing, sessions_missed, closed, late"
        )
        return Counter(self.disk.execute(f"SELECT {columns} FROM gaps").fetchall())

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


def key(row):
    """A row without its place among the others."""
    return tuple(repr(row[name]) for name in COLUMNS if name != "arrival_number")


def in_order(rows):
    """Rows as they are, but those of one death by tag: they all say the same at once.

    And those that the host says at once, of one node after the other.
    """
    ordered = []
    for _, group in groupby(
        enumerate(rows),
        key=lambda pair: (
            {
                "NDEATH": pair[1]["ingestion_timestamp"],
                "DDEATH": pair[1]["ingestion_timestamp"],
                "HOST": 0,
            }.get(pair[1]["message_type"], pair[0]),
            pair[1]["message_type"],
        ),
    ):
        ordered += sorted(key(row) for _, row in group)
    return ordered


def assert_same_rows(columnar, oracle, before) -> None:
    """The rows since `before`, numbers of rows: the same ones, those of each node in one order.

    Of different nodes what waited is read in one order here and in another there.
    """
    ours, theirs = columnar.rows[before[0] :], oracle.rows[before[1] :]
    if all(number == latest for number, latest in oracle.order[before[1] :]):
        assert in_order(ours) == in_order(theirs)
    else:
        assert by_node(ours) == by_node(theirs)
    assert columnar.repeated == oracle.repeated


def by_node(rows):
    """Rows in order, those of each edge node for themselves."""
    nodes = {}
    for row in rows:
        nodes.setdefault((row["group_id"], row["edge_node_id"]), []).append(row)
    return {node: in_order(rows) for node, rows in nodes.items()}


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
    assert columnar.counts == oracle.counts
    assert columnar.rebirth_requests == set(oracle.rebirth_requests)
    assert letters(columnar.dead_letters) == letters(oracle.dead_letters)
    assert Counter(columnar.gaps) == Counter(each for each in oracle.gaps if each[-1] in TOLD)
    assert columnar.found() == Counter(
        (group, name, gap.reason, gap.first, gap.number, gap.sessions, gap.healing, gap.late)
        for group, name, gap in oracle.found
    )
    assert_received_alike(columnar, oracle)
    assert columnar.encoded == [to_tag_event(row) for row in columnar.rows]
    assert [row["arrival_number"] for row in columnar.rows] == [*range(1, len(columnar.rows) + 1)]


def assert_received_alike(columnar: Columnar, oracle: Oracle) -> None:
    """As many messages came of each node, also of those that were never born."""
    columnar.take_received(leaving=True)
    expected = {(node.group, node.name): node.received for node in oracle.nodes.values()}
    assert columnar.received == Counter(expected)


def assert_read_alike(
    batches, reorder_timeout: float = REORDER_TIMEOUT, filters: tuple[str, ...] = ("spBv1.0/#",)
) -> None:
    """Let both read what each server has sent, step by step.

    `filters` say what may be expected of what was sent; nothing else is left out for them.
    """
    batches = [batch if isinstance(batch, Batch) else Batch(batch) for batch in batches]
    for server in sorted({arrival.server for batch in batches for arrival in batch}):
        oracle = Oracle(reorder_timeout=reorder_timeout, filters=filters)
        columnar = Columnar(server, reorder_timeout, filters)
        for batch in batches:
            arrivals = [a for a in batch if a.server == server and judged_alike(a.payload)]
            for step, arguments in (
                *((what, (when,)) for what, when in batch.before),
                ("feed", (arrivals, batch.now)),
            ):
                before = len(columnar.rows), len(oracle.rows)
                getattr(oracle, step)(*arguments)
                getattr(columnar, step)(*arguments)
                assert_same_rows(columnar, oracle, before)
        assert_alike(columnar, oracle)
