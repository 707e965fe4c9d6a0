"""A start with damaged bytes in the spool's file: what they are of is lost, and nothing else."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
from collections import Counter

import pytest
from support.columnar import change, message, tag
from support.generated import seeds
from support.hand_fed import Courier, Shelf, consuming
from support.local_rig import until
from support.unconnected import configuration, unconnected

from consumer.broker.inbox import InboxBatch
from consumer.monitor.birth_facts import KnownUnits, birth_facts
from consumer.spool.dead_letters import DeadLetters
from sparkplug.messages import MessageBatch

SIDE = {"metadata_table": "main.ot.tag_metadata", "events_table": "main.ot.events"}
TABLE = "main.ot.tag_events"
NODES = ("Edge-0", "Edge-1", "Edge-2")
BLOBS = {
    "births": ("births", "payload", "1"),
    "held messages": ("held", "payload", "1"),
    "bitmaps of gaps": ("gaps", "missing_seqs", "missing_seqs IS NOT NULL"),
    "sequence": ("state", "value", "key LIKE 'next_seq/%'"),
    "conduct": ("state", "value", "key LIKE 'conduct/%'"),
    "versions": ("state", "value", "key LIKE 'tag_metadata/%'"),
    "nodes to ask": ("state", "value", "key LIKE 'spool_full_nodes/%'"),
    "dead messages": ("dead_messages", "payload", "1"),
    "dead letters": ("dead_letters", "rows", "1"),
    "batches": ("batches", "rows", "1"),
}

TEXTS = [
    *(("births", column) for column in ("group_id", "edge_node_id", "device_id", "topic")),
    *(("held", column) for column in ("topic", "reason")),
    *(("gaps", column) for column in ("group_id", "edge_node_id", "reason", "closed")),
    *(("dead_letters", column) for column in ("table_name", "schema_id", "reason", "error")),
    *(("dead_messages", column) for column in ("topic", "reason")),
    *(("edge_nodes", column) for column in ("group_id", "edge_node_id")),
    ("state", "value"),
]


def feed(consumer, *messages, now=None):
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}), now)


def births(seq=0):
    for node in NODES:
        yield message("NBIRTH", tag("Ramp", 1), tag("Sine", 2), seq=seq, node=node)
        yield message("DBIRTH", tag("Level", 3), seq=seq + 1, node=node)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The file of a spool with all that a start reads."""
    directory = tmp_path_factory.mktemp("filled")
    with unconnected(directory, zerobus=SIDE) as consumer:
        feed(consumer, *births())
        feed(consumer, message("NDATA", change(1, 5.0), seq=2, node="Edge-0"))
        feed(consumer, message("NDATA", change(1, 5.0), seq=9, node="Edge-1"), now=1e9)
        feed(consumer, now=2e9)  # what is missing does not come
        feed(consumer, message("NDATA", change(1, 5.0), seq=3, node="Stranger"))
        feed(consumer, message("NDATA", seq=3)._replace(payload=b"\xff"))
        [batch, *_] = consumer.spool.batches_after(0, 1, table=TABLE)
        consumer.spool.letters.set_aside(batch, 0, 1, reason="poison", error="no")
        consumer.spool.write(
            lambda db: (
                db.execute("UPDATE dead_letters SET retry = 1"),
                db.execute("UPDATE dead_messages SET retry = 1, reason = 'unknown_alias'"),
            )
        )
        consumer.spool.state.set("spool_full_nodes/plant", json.dumps([["Plant", "Edge-0"]]))
        consumer.decoding._take_leave()
    return consumer.spool.path


@pytest.fixture
def path(filled, tmp_path):
    return shutil.copy(filled, tmp_path / filled.name)


def turn(path, kind, seed):
    """Turn some bits of a blob of a kind, or cut it off."""
    draw = random.Random(seed)
    table, column, which = BLOBS[kind]
    with contextlib.closing(sqlite3.connect(path)) as db:
        key = "key" if table == "state" else "number" if table == "gaps" else "rowid"
        found = db.execute(f"SELECT {key}, {column} FROM {table} WHERE {which}").fetchall()
        assert found, f"there are no {kind}"
        number, value = draw.choice(found)
        blob = bytearray(value.encode() if isinstance(value, str) else value)
        if seed % 4 == 0:
            del blob[draw.randrange(len(blob)) :]
        else:
            blob[draw.randrange(len(blob))] ^= 1 << draw.randrange(8)
        # Another byte of a text makes it another text: SQLite knows nothing of that.
        changed = blob.decode("utf-8", "replace") if isinstance(value, str) else bytes(blob)
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (changed, number))
        db.commit()


def rows(consumer):
    """How many rows of each table can be sent."""
    tables = (TABLE, *SIDE.values())
    return Counter(
        {
            table: sum(
                len(batch.rows) for batch in consumer.spool.batches_after(0, 1 << 30, table=table)
            )
            for table in tables
        }
    )


@pytest.mark.parametrize("seed", seeds(8))
@pytest.mark.parametrize("kind", BLOBS)
def test_whatever_bytes_are_damaged_the_start_comes_up_and_all_rows_go_on(
    tmp_path, path, kind, seed
):
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        queued = rows(consumer)
    turn(path, kind, seed)
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        if kind != "batches":
            assert rows(consumer) == queued
        go_on(consumer)
        assert consumer.balance().balanced, consumer.balance().lines()
        consumer.decoding._take_leave()
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        assert "birth_damaged" not in consumer.telemetry.reasons  # the first start put it right


@pytest.mark.parametrize("bit", [0x80, 1], ids=["no UTF-8", "another text"])
@pytest.mark.parametrize(("table", "column"), TEXTS)
def test_whatever_text_is_damaged_the_start_comes_up_and_all_rows_go_on(
    tmp_path, path, table, column, bit
):
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        queued = rows(consumer)
    turn_text(path, table, column, bit)
    with contextlib.closing(DeadLetters(path)) as letters:
        assert [letters.show(each.name) for each in letters.list()]
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        assert ("birth_damaged" in consumer.telemetry.reasons) is (table == "births")
        assert rows(consumer) == queued
        go_on(consumer)
        consumer.decoding._take_leave()
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        assert "birth_damaged" not in consumer.telemetry.reasons


def go_on(consumer):
    """Do what the decoding thread does after a start; whatever was known, births heal it."""
    consumer.overflow.look(consumer.sources)
    consumer.decoding._take_dead_letters(0.0)
    feed(consumer, *(message("NDATA", change(1, 6.0), seq=3, node=node) for node in NODES))
    feed(consumer, *births())
    before = rows(consumer)
    feed(consumer, *(message("NDATA", change(1, 7.0), seq=2, node=node) for node in NODES))
    assert rows(consumer)[TABLE] == before[TABLE] + len(NODES)
    path = consumer.spool.path
    while KnownUnits(path).look():
        pass
    for node in NODES:
        assert birth_facts(path, ("plant", "Plant", node, ""), "Ramp")


def turn_text(path, table, column, bit):
    """Turn a bit in the middle of the first text of a column."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        key = "key" if table == "state" else "number" if table == "gaps" else "rowid"
        number, text = db.execute(
            f"SELECT {key}, CAST({column} AS BLOB) FROM {table} "
            f"WHERE typeof({column}) = 'text' AND {column} != '' ORDER BY {key}"
        ).fetchone()
        middle = len(text) // 2
        text = text[:middle] + bytes([text[middle] ^ bit]) + text[middle + 1 :]
        db.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {key} = ?", (text, number))
        db.commit()


def test_a_node_with_a_damaged_birth_is_asked_for_it_when_it_speaks(tmp_path, path, caplog):
    with contextlib.closing(sqlite3.connect(path)) as db:
        which = "edge_node_id = 'Edge-2' AND device_id = 'Boiler'"
        db.execute(f"UPDATE births SET payload = substr(payload, 1, 20) WHERE {which}")
        db.commit()
    with unconnected(tmp_path, zerobus=SIDE) as consumer:
        [source] = consumer.sources
        assert list(source.store.births.damaged) == [("plant", "Plant", "Edge-2")]
        assert consumer.telemetry.reasons["birth_damaged"] == 1
        assert caplog.text.count("births of 1 edge nodes are damaged") == 1
        assert "Plant/Edge-2" in caplog.text
        before = rows(consumer)
        feed(consumer, *(message("NDATA", change(1, 6.0), seq=2, node=n) for n in NODES[1:]))
        assert rows(consumer) == before  # a hole in seq, and a stranger
        assert ("Plant", "Edge-2") in {each[:2] for each in source.governor.due(1e9)}


def test_a_damaged_letter_that_is_asked_for_ends_no_consumer(tmp_path, path):
    turn(path, "dead letters", 1)
    settings = configuration(tmp_path, zerobus=SIDE, shutdown_timeout="0s")
    shelf = Shelf()
    with consuming(settings, shelf, Courier(settings.servers[0])) as consumer:
        shelf.put(message("NBIRTH", tag("Ramp", 1), node="New"))
        until(lambda: not consumer.alive or not asked(path))
        assert consumer.alive
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT reason, retry FROM dead_letters").fetchall() == [("damaged", 0)]


def asked(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT count(*) FROM dead_letters WHERE retry").fetchone()[0]
