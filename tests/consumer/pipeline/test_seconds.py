"""Which part of a batch's time `decode_seconds` has, and which part `spool_commit_seconds`."""

from __future__ import annotations

import time

import pytest
from support.columnar import message, tag
from support.spooled_by import after_each_commit
from support.unconnected import unconnected

from consumer.broker.inbox import InboxBatch
from consumer.pipeline import Outcome, Post, commits
from consumer.rows import TagEvents, read_body
from sparkplug.messages import MessageBatch

SENT = 1_795_443_214_000


class Clock:
    """Stands still but for what it is told to let pass."""

    def __init__(self):
        self.now = 0.0

    def pass_by(self, seconds):
        self.now += seconds


@pytest.fixture
def consumer(tmp_path, monkeypatch):
    """Encoding takes 10 seconds for each piece, a commit 1, and all else no time."""
    clock, encode = Clock(), TagEvents.encode

    def slowly(events, *args):
        for part in encode(events, *args):
            clock.pass_by(10.0)
            yield part

    monkeypatch.setattr(TagEvents, "encode", slowly)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    with (
        unconnected(tmp_path) as made,
        after_each_commit(made, lambda _: clock.pass_by(1.0)),
    ):
        yield made


def seconds(consumer, name):
    """How many were observed, and their sum."""
    get = consumer.telemetry.registry.get_sample_value
    return [get(f"sparkplug_zerobus_{name}_seconds_{what}") for what in ("count", "sum")]


def test_rows_that_came_over_mqtt_are_encoded_in_the_time_of_the_commit(consumer):
    consumer.decoding._take(InboxBatch({0: MessageBatch([message("NBIRTH", tag("Ramp", 0, 1.0))])}))
    assert seconds(consumer, "decode") == [1, 0.0]
    assert seconds(consumer, "spool_commit") == [1, 11.0]


def test_and_so_are_rows_that_were_posted(consumer):
    answers = []
    body = read_body(b'[{"tagPath": "Posted", "value": 1}]', SENT * 1000)
    consumer.posts.offer(Post("http", body, 100, answers.append))
    consumer.decoding._ingest.take_in()
    assert answers == [Outcome.COMMITTED]
    assert seconds(consumer, "decode") == [1, 0.0]
    assert seconds(consumer, "spool_commit") == [1, 11.0]


def test_each_piece_of_a_giant_is_a_commit(consumer, monkeypatch):
    monkeypatch.setattr(commits, "_PIECE_BYTES", 20_000)
    monkeypatch.setattr("consumer.rows.tag_events._PIECE_BYTES", 10_000)
    names = [f"{number:04}{'x' * 1000}" for number in range(60)]
    metrics = [tag(name, alias, 1.0) for alias, name in enumerate(names)]
    taken = consumer.decoding._read(
        InboxBatch({0: MessageBatch([message("NBIRTH", *metrics, timestamp=SENT)])}), 0.0
    )
    pieces = list(consumer.commits.commit_but_last_piece(taken))
    assert len(pieces) > 2
    assert seconds(consumer, "spool_commit")[0] == len(pieces) - 1
