"""One batch that cannot be decoded costs no more than itself."""

from __future__ import annotations

import contextlib
import logging
import time

import pytest
from support.columnar import message, tag
from support.participants import Writes
from support.read_spool import read_from
from support.unconnected import unconnected

from consumer.broker.inbox import InboxBatch
from consumer.errors import SpoolDiskFull
from consumer.monitor import status_of
from consumer.pipeline.composition import queue_counter, refusal_counter
from consumer.pipeline.noisiest import Noisiest
from consumer.spool.balance import MessageBalance, RowBalance
from consumer.spool.dead_letters import DeadLetters
from consumer.spool.fleet import FleetStore
from sparkplug.messages import MessageBatch, Quarantined, Reason

GIB = 1 << 30


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path) as consumer:
        yield consumer


def messages(consumer):
    """What the ledger says of the messages of the one server."""
    balance = consumer.balance()
    assert balance.balanced, balance.lines()
    return balance.messages["plant"]


def batch():
    return InboxBatch({0: MessageBatch([message("NBIRTH", tag("Ramp", 0))])})


def test_a_batch_that_exhausts_the_memory_is_counted_and_the_next_one_lands(consumer, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(consumer.sources[0].fleet, "feed", lambda *_: bytearray(1 << 62))
        consumer.decoding._take_whatever_it_is(batch())
    assert consumer.telemetry.reasons == {"decoding_failed": 1}
    assert messages(consumer) == MessageBalance(received=1, discarded={"decoding_failed": 1})
    consumer.decoding._take_whatever_it_is(batch())
    assert consumer.spooled_rows == 1
    assert messages(consumer) == MessageBalance(2, 1, discarded={"decoding_failed": 1})


def test_a_defect_that_hits_every_batch_ends_the_decoding(consumer, monkeypatch):
    monkeypatch.setattr(consumer.sources[0].fleet, "feed", lambda *_: 1 // 0)
    for _ in range(9):
        consumer.decoding._take_whatever_it_is(batch())
    with pytest.raises(ZeroDivisionError):
        consumer.decoding._take_whatever_it_is(batch())
    assert messages(consumer) == MessageBalance(received=10, discarded={"decoding_failed": 10})


def test_rows_whose_batch_cannot_be_committed_are_dropped_and_known(consumer, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(consumer.spool, "commit", lambda *_, **__: 1 // 0)
        consumer.decoding._take_whatever_it_is(batch())
    assert messages(consumer) == MessageBalance(received=1, discarded={"decoding_failed": 1})
    assert consumer.balance().rows == {
        "main.ot.tag_events": RowBalance(produced=1, dropped={"decoding_failed": 1})
    }


def test_a_birth_that_had_waited_and_is_not_committed_leaves_no_earlier_one_behind(
    consumer, monkeypatch
):
    births = [message("NBIRTH", tag("Ramp", 0)), message("DBIRTH", tag("Level", 1), seq=1)]
    consumer.decoding._take(InboxBatch({0: MessageBatch(births)}))
    behind_a_hole = message("DBIRTH", tag("Flow", 1), seq=3)  # the alias means something else now
    consumer.decoding._take(InboxBatch({0: MessageBatch([behind_a_hole])}))
    with monkeypatch.context() as patched:
        patched.setattr(consumer.spool, "commit", lambda *_, **__: 1 // 0)
        later = time.monotonic() + 60.0
        patched.setattr(time, "monotonic", lambda: later)
        consumer.decoding._take_whatever_it_is(InboxBatch())  # it waits no longer
    consumer.decoding._take(InboxBatch({0: MessageBatch([message("NBIRTH", node="Other")])}))
    births = read_from(consumer.spool, lambda db: list(FleetStore("plant", GIB).births.read(db)))
    assert [each.birth.edge_node_id for each in births] == ["Other"]


def test_what_is_refused_before_it_is_decoded_is_in_the_ledger(consumer):
    count = refusal_counter("plant", consumer.telemetry, consumer.ledger)
    count("bad_topic", 1)
    assert messages(consumer) == MessageBalance(received=1, discarded={"bad_topic": 1})


def test_what_the_queue_refuses_is_in_the_ledger_and_shown_by_edge_node(consumer, caplog):
    count = queue_counter(["plant"], consumer.telemetry, consumer.ledger)
    with caplog.at_level(logging.WARNING):
        count(0, {"Plant/Edge": 1, "Plant/Loud": 3, "": 2})
    assert "queue_full: 6 from plant, for example on Plant/Loud" in caplog.text
    count(0, {"Plant/Loud": 4})
    assert messages(consumer) == MessageBalance(received=10, discarded={"queue_full": 10})
    assert consumer.telemetry.reasons == {"queue_full": 10}
    shown = status_of(consumer)["queue"]
    assert shown["messages_refused"] == 10
    assert [
        (each["messages"], each["group_id"], each["edge_node_id"]) for each in shown["most_refused"]
    ] == [(7, "Plant", "Loud"), (2, "", ""), (1, "Plant", "Edge")]


def test_of_nodes_without_end_those_are_remembered_that_most_was_refused_of():
    noisiest = Noisiest()
    for number in range(20_000):
        noisiest.count("plant", {f"Plant/{number}": 1})
        if number % 100 == 0:
            noisiest.count("plant", {"Plant/Loud": 50})
    assert len(noisiest._nodes) <= 1_000
    shown = noisiest.status()
    assert shown["messages_refused"] == 30_000
    assert len(shown["most_refused"]) == 20
    assert shown["most_refused"][0] == {
        "messages": 10_000,
        "server": "plant",
        "group_id": "Plant",
        "edge_node_id": "Loud",
    }


def test_births_that_a_server_keeps_are_messages_too(consumer):
    certificate = message("NBIRTH", tag("Ramp", 0))
    certificate = certificate._replace(topic=f"$sparkplug/certificates/{certificate.topic}")
    consumer.decoding._take_whatever_it_is(InboxBatch(certificates={0: [certificate]}))
    assert messages(consumer) == MessageBalance(received=1, discarded={"certificate": 1})


def test_a_full_disk_only_delays_dead_letters_that_are_to_be_tried_again(
    consumer, monkeypatch, tmp_path
):
    dead = [Quarantined(message("NDATA", tag("Ramp", 1)), Reason.DATA_BEFORE_BIRTH)]
    consumer.spool.commit(
        [], [Writes(lambda db: FleetStore("plant", GIB).write_dead(db, dead, GIB))]
    )
    with contextlib.closing(DeadLetters(tmp_path / "spool.db")) as letters:
        letters.retry(["message-1"])

        def full(*_):
            raise SpoolDiskFull("no room on the disk")

        with monkeypatch.context() as patched:
            patched.setattr(consumer.spool, "write", full)
            consumer.decoding._retry_dead_letters()
        assert len(letters.list()) == 1
        consumer.decoding._retry_at = 0.0
        consumer.decoding._retry_dead_letters()
        assert letters.list() == []
