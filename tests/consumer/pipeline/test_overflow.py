"""While the spool has no room: values are dropped and counted, births and deaths are not."""

from __future__ import annotations

import contextlib
import os

import pytest
from support.columnar import change, message, tag
from support.read_spool import read_from
from support.spooled_rows import random_rows
from support.unconnected import configuration, unconnected

from consumer.broker.inbox import InboxBatch
from consumer.errors import SpoolFull
from consumer.pb.tag_event_pb2 import TagEvent
from consumer.pipeline import make_consumer
from sparkplug.messages import MessageBatch

MAIN = "main.ot.tag_events"
BALLAST = "main.ot.ballast"
MIB = 1 << 20
MINUTE_MS = 60_000
SENT = 1_795_443_214_000


@pytest.fixture
def started(tmp_path):
    """Makes consumers of one spool, one at a time; none is connected to anything."""
    whole = configuration(tmp_path, spool={"max_bytes": "16MiB"})
    with contextlib.ExitStack() as stack:

        def start():
            consumer = make_consumer(whole)
            stack.callback(consumer.spool.close)
            return consumer

        yield start


@pytest.fixture
def consumer(started):
    return started()


def take(consumer, *messages):
    consumer.overflow.look(consumer.sources)
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))


def fill(consumer):
    """Leave no room in the spool; returns the batches that take it."""
    schema_id = consumer.spool.schemas.register(b"ballast")
    batches = []
    before = -1
    while before < len(batches):
        # What is only in the log takes room once, not twice, at a restart.
        consumer.spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = len(batches)
        for size in (MIB, 16 << 10, 64):
            with contextlib.suppress(SpoolFull):
                while True:
                    rows = random_rows(1, size, len(batches))
                    batches.append(
                        consumer.spool.append(BALLAST, rows, schema_id=schema_id).batch_id
                    )
    return batches


def make_room(consumer, batches):
    consumer.spool.trim(batches)


def spooled(consumer):
    """The rows that are spooled, in their order."""
    return [
        TagEvent.FromString(row)
        for batch in consumer.spool.batches_after(0, 1 << 30, table=MAIN)
        for row in batch.rows.slice(0, len(batch.rows))
    ]


def values(consumer):
    return [
        (row.edge_node_id, "STALE" if row.quality == "STALE" else row.numeric_value)
        for row in spooled(consumer)
    ]


def asked(consumer):
    """Whom the governor would ask now, and why."""
    source = consumer.sources[0]
    return {(node, str(reason)) for _, node, reason in source.governor.due(0.0)}


def born(node, value, seq=0, *, alias=1, timestamp=SENT):
    return message("NBIRTH", tag("Ramp", alias, value), seq=seq, node=node, timestamp=timestamp)


def data(node, value, seq, *, alias=1):
    return message("NDATA", change(alias, value), seq=seq, node=node, timestamp=SENT + seq)


def test_whole_messages_are_dropped_and_counted_per_node(consumer):
    take(consumer, born("A", 1.0), born("B", 2.0))
    fill(consumer)
    take(consumer, data("A", 1.1, 1), data("A", 1.2, 2), data("B", 2.1, 1))
    take(consumer, data("A", 1.3, 3))
    assert values(consumer) == [("A", 1.0), ("B", 2.0)]
    assert consumer.telemetry.reasons["spool_full"] == 4
    assert consumer.telemetry.totals["rows_dropped"] == 4
    status = consumer.overflow.status()
    assert status["full"]
    assert status["messages_discarded"] == 4
    assert status["most_discarded"] == [
        {"messages": 3, "server": "plant", "group_id": "Plant", "edge_node_id": "A"},
        {"messages": 1, "server": "plant", "group_id": "Plant", "edge_node_id": "B"},
    ]


def test_with_room_again_only_those_that_lost_something_and_live_are_asked(consumer):
    take(consumer, born("A", 1.0), born("B", 2.0), born("C", 3.0))
    batches = fill(consumer)
    take(consumer, data("A", 1.1, 1), data("B", 2.1, 1))
    take(consumer, message("NDEATH", node="B"))
    assert asked(consumer) == set()
    make_room(consumer, batches)
    take(consumer, data("A", 1.2, 2), data("C", 3.1, 1))
    assert asked(consumer) == {("A", "spool_full")}
    # seq went on: what we dropped ourselves is no gap, and nobody is asked for another reason.
    assert "sequence_gap" not in consumer.telemetry.reasons
    assert values(consumer)[3:] == [("B", "STALE"), ("A", 1.2), ("C", 3.1)]
    take(consumer, data("A", 1.3, 3))
    assert asked(consumer) == set()


def test_a_birth_while_full_is_believed_and_its_values_come_with_the_next(consumer):
    take(consumer, born("A", 1.0))
    batches = fill(consumer)
    take(consumer, data("A", 1.1, 1))
    take(consumer, born("A", 1.2, alias=7))
    make_room(consumer, batches)
    take(consumer, data("A", 1.3, 1, alias=7))
    assert values(consumer) == [("A", 1.0), ("A", 1.3)]
    take(consumer, born("A", 1.2, alias=7))  # the very birth that was dropped, as an answer
    assert values(consumer)[2:] == [("A", 1.2)]


def test_a_spool_that_is_nearly_full_again_at_once_does_not_flutter(consumer):
    take(consumer, born("A", 1.0))
    batches = fill(consumer)
    take(consumer, data("A", 1.1, 1))
    make_room(consumer, batches[:1])  # a megabyte
    take(consumer, data("A", 1.2, 2))
    assert consumer.overflow.active
    make_room(consumer, batches[1:6])
    take(consumer, data("A", 1.3, 3))
    assert not consumer.overflow.active
    assert values(consumer) == [("A", 1.0), ("A", 1.3)]


def test_deaths_are_told_even_then_and_taken_back_by_the_birth_that_lands(consumer):
    take(consumer, born("A", 1.0))
    batches = fill(consumer)
    take(consumer, data("A", 1.1, 1))
    take(consumer, message("NDEATH", node="A"))
    take(consumer, born("A", 1.0, timestamp=SENT + MINUTE_MS))
    make_room(consumer, batches)
    answer = born("A", 1.0, timestamp=SENT + 10 * MINUTE_MS)
    take(consumer, answer)
    first, stale, again = spooled(consumer)
    assert (first.quality, stale.quality, again.quality) == ("GOOD", "STALE", "GOOD")
    # The value is older than the death; it holds again because its row is behind.
    assert again.event_time == first.event_time < stale.event_time
    assert again.event_id == first.event_id
    assert first.arrival_number < stale.arrival_number < again.arrival_number


def test_births_while_full_survive_a_restart(started):
    first = started()
    take(first, born("A", 1.0))
    fill(first)
    take(first, data("A", 1.1, 1))
    take(first, born("A", 1.2, alias=7), data("A", 1.3, 1, alias=7))
    first.spool.close()
    second = started()
    take(second)
    assert second.overflow.active  # as the first one left it
    assert asked(second) == set()
    make_room(
        second, [batch.batch_id for batch in second.spool.batches_after(0, 1 << 30, table=BALLAST)]
    )
    take(second, data("A", 1.4, 2, alias=7))
    assert values(second) == [("A", 1.0), ("A", 1.4)]
    assert asked(second) == {("A", "spool_full")}
    second.spool.close()
    third = started()
    take(third)
    assert not third.overflow.active
    assert asked(third) == set()


def test_what_cannot_be_written_at_all_is_written_with_the_next_commit(started):
    first = started()
    take(first, born("A", 1.0))
    batches = fill(first)
    db = first.spool._db
    [(pages,)] = db.execute("PRAGMA page_count")
    db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite: no room on disk
    huge = [tag(f"Ramp {number}", number, 0.0) for number in range(3_000)]
    take(first, message("NBIRTH", *huge, node="A"))
    assert first.overflow.active
    assert first.sources[0].unwritten
    db.execute("PRAGMA max_page_count = 1000000")
    make_room(first, batches)
    take(first, data("A", 5.0, 1, alias=2_999))
    assert not first.sources[0].unwritten
    first.spool.close()
    second = started()
    take(second, data("A", 6.0, 2, alias=2_999))
    assert values(second)[-2:] == [("A", 5.0), ("A", 6.0)]


# ---------------------------------------------------------------------- births and rows


def deliver(consumer):
    """Zerobus acknowledges everything."""
    make_room(consumer, [b.batch_id for b in consumer.spool.batches_after(0, 1 << 30, table=MAIN)])


def large_birth(node):
    """Names of 1.7 MB that compress to half of that: more than births of a node may take."""
    tags = [tag(os.urandom(850).hex(), number) for number in range(1_000)]
    return message("NBIRTH", *tags, node=node, timestamp=SENT)


def test_rows_find_room_whatever_births_of_invented_nodes_there_were(consumer):
    take(consumer, born("Honest", 1.0))
    deliver(consumer)
    for number in range(24):
        take(consumer, large_birth(f"N{number}"), born(f"Small{number}", 1.0))
        deliver(consumer)
        take(consumer, message("NDEATH", node=f"N{number}"))
        deliver(consumer)
        take(consumer, data("Honest", number, number + 1))
        assert values(consumer)[-1] == ("Honest", number)
        deliver(consumer)
        assert consumer.spool.stats().fill <= 1
    assert "spool_full" not in consumer.telemetry.reasons
    assert consumer.telemetry.totals["rows_dropped"] == 0
    assert not consumer.overflow.active
    assert consumer.telemetry.reasons["birth_not_kept"] > 0


def test_a_node_whose_birth_left_is_asked_by_the_next_run_when_it_speaks(started):
    first = started()
    take(first, large_birth("Large"), born("Small", 1.0))
    first.spool.close()
    second = started()
    take(second, data("Small", 2.0, 1), data("Large", 2.0, 1, alias=0))
    assert [node for (node, _) in asked(second)] == ["Large"]
    assert values(second)[-1] == ("Small", 2.0)


def test_where_it_is_full_to_and_fro_few_lines_say_so(consumer, caplog):
    now = [100.0]
    consumer.overflow._clock = lambda: now[0]
    take(consumer, born("A", 1.0))
    for number in range(50):
        consumer.overflow.begin(SpoolFull("full"))
        now[0] += 0.05
        take(consumer, data("A", number, number + 1))
        now[0] += 0.05
    assert [each.levelname for each in caplog.records if "overflow" in each.name] == [
        "ERROR",
        "WARNING",
    ]
    now[0] += 30.0
    consumer.overflow.begin(SpoolFull("full"))
    assert "meanwhile it was full 49 times more" in caplog.text


def test_that_it_is_full_is_told_late_rather_than_never(consumer, caplog):
    now = [100.0]
    consumer.overflow._clock = lambda: now[0]
    consumer.overflow.begin(SpoolFull("full"))
    take(consumer, born("A", 1.0))
    batches = fill(consumer)
    take(consumer, data("A", 1.1, 1))
    assert caplog.text.count("are read and dropped") == 1
    now[0] += 30.0
    take(consumer, data("A", 1.2, 2))
    assert caplog.text.count("are read and dropped") == 2
    make_room(consumer, batches)
    take(consumer, data("A", 1.3, 3))
    assert caplog.text.count("has room again") == 2


def test_metadata_of_invented_nodes_leaves_room_for_the_rows_of_others(tmp_path):
    sections = {"metadata_table": "main.ot.tag_metadata"}
    with unconnected(tmp_path, zerobus=sections, spool={"max_bytes": "16MiB"}) as consumer:
        for number in range(40):
            tags = [tag(f"R{each}", each, 1.0) for each in range(10)]
            for each in tags:
                said = {"type": 12, "string_value": os.urandom(16_000).hex()}
                each["properties"] = {"keys": ["documentation"], "values": [said]}
            invented = message("NBIRTH", *tags, node=f"N{number}", timestamp=SENT)
            take(consumer, invented)
            batches = read_from(
                consumer.spool, lambda db: db.execute("SELECT batch_id FROM batches").fetchall()
            )
            consumer.spool.trim(batch_id for (batch_id,) in batches)  # Zerobus is healthy
        assert consumer.spool.stats().fill < 0.5
        take(consumer, born("Honest", 1.0))
        assert ("Honest", 1.0) in values(consumer)


def test_names_of_nodes_that_lost_messages_take_little_of_a_full_spool(consumer, started):
    fill(consumer)
    full = consumer.spool.stats().used_bytes
    for batch in range(2):
        invented = [f"{'€' * 1_900}{batch}-{number}" for number in range(500)]
        for source in consumer.sources:
            source.gaps._due = 0.0  # their accounts are written with these
        take(consumer, *(born(node, 1.0) for node in [*invented, f"Honest{batch}"]))
    assert consumer.overflow.active
    assert consumer.spool.stats().used_bytes < full + 2 * MIB
    consumer.spool.close()
    again = started()
    assert {("Plant", "Honest0"), ("Plant", "Honest1")} <= again.overflow._to_ask["plant"]
