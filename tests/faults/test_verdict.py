"""The account itself: it notices what is missing, and tells what is known from what is not."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from faults.notebook import Key, Sent
from faults.verdict import check_numbers, examine
from sparkplug.topics import MessageType

START_MS = 1_795_443_214_123


def message(number, seq, verb=MessageType.NDATA):
    """A message with two values; ids are named after the message's number."""
    ids = tuple((f"{number}/{value}",) for value in "ab")
    return Sent(Key("Plant", "Edge", None, verb.value, seq, START_MS + number), verb, ids)


def rows_of(sent, first_number=1):
    """The rows that a message becomes."""
    at = dt.datetime.fromtimestamp(sent.key.payload_ms / 1000, dt.UTC)
    return [
        {
            "event_id": ids[0],
            "event_time": at,
            "tag_path": "[MQTT Engine]Plant/Edge/a",
            "quality": "GOOD",
            "data_type": "Double",
            "source_system_id": "Plant/Edge",
            "group_id": "Plant",
            "edge_node_id": "Edge",
            "metric_name": "a",
            "message_type": sent.key.message_type,
            "is_historical": False,
            "seq": sent.seq,
            "payload_timestamp": at,
            "ingestion_timestamp": at,
            "arrival_number": first_number + place,
        }
        for place, ids in enumerate(sent.values)
    ]


def table_of(rows):
    return pa.Table.from_pylist(rows, schema=TAG_EVENTS_SCHEMA)


def landed(*sent):
    """The table when these messages arrived, in this order."""
    rows = []
    for each in sent:
        rows += rows_of(each, len(rows) + 1)
    return table_of(rows)


BIRTH = message(0, 0, MessageType.NBIRTH)
DATA = [message(number, number) for number in range(1, 6)]


def test_nothing_is_missing_when_everything_landed():
    verdict = examine({"Plant/Edge": [BIRTH, *DATA]}, landed(BIRTH, *DATA))
    assert (verdict.published, verdict.landed, verdict.lost, verdict.doubled) == (12, 12, 0, 0)
    assert verdict.kept


def test_a_message_between_two_others_is_known_to_be_missing_by_its_seq():
    verdict = examine({"Plant/Edge": [BIRTH, *DATA]}, landed(BIRTH, *DATA[:2], *DATA[3:]))
    assert (verdict.lost, verdict.known) == (2, 2)


def test_a_message_behind_which_nothing_came_is_not_known_to_be_missing():
    verdict = examine({"Plant/Edge": [BIRTH, *DATA]}, landed(BIRTH, *DATA[:-1]))
    assert (verdict.lost, verdict.known) == (2, 0)


def test_256_messages_are_not_known_to_be_missing():
    sent = [message(number, number % 256) for number in range(1, 300)]
    verdict = examine({"Plant/Edge": [BIRTH, *sent]}, landed(BIRTH, *sent[:5], *sent[261:]))
    assert (verdict.lost, verdict.known) == (512, 0)


def test_what_lies_before_another_birth_is_known_to_be_missing():
    again = message(9, 0, MessageType.NBIRTH)
    verdict = examine({"Plant/Edge": [BIRTH, *DATA, again]}, landed(BIRTH, *DATA[:2], again))
    assert (verdict.lost, verdict.known) == (6, 6)


def test_a_value_that_a_later_birth_repeats_is_not_lost():
    again = message(9, 0, MessageType.NBIRTH)._replace(values=DATA[4].values)
    verdict = examine({"Plant/Edge": [BIRTH, *DATA, again]}, landed(BIRTH, *DATA[:4], again))
    assert (verdict.lost, verdict.kept) == (0, True)


def test_dead_letters_are_neither_landed_nor_lost():
    table = table_of([*rows_of(BIRTH), *rows_of(DATA[0], 3)[:1]])
    verdict = examine({"Plant/Edge": [BIRTH, DATA[0]]}, table, {"1/b"})
    assert (verdict.landed, verdict.set_aside, verdict.lost) == (3, 1, 0)
    assert verdict.kept


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (rows_of(BIRTH)[:1], "1 messages arrived in part"),
        ([*rows_of(BIRTH), *rows_of(DATA[0], 3)], "2 rows landed that nobody published"),
        (
            [*rows_of(BIRTH), rows_of(BIRTH)[0] | {"quality": "BAD"}],
            "1 rows have the arrival_number of a different one",
        ),
    ],
)
def test_a_promise_that_is_not_kept_is_a_problem(rows, problem):
    assert examine({"Plant/Edge": [BIRTH]}, table_of(rows)).problems == [problem]


def test_a_row_that_lands_twice_is_doubled():
    verdict = examine({"Plant/Edge": [BIRTH]}, table_of([*rows_of(BIRTH), *rows_of(BIRTH)[:1]]))
    assert (verdict.doubled, verdict.kept) == (1, True)


@pytest.mark.parametrize(("dropped", "dead", "kept"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_a_numbered_row_that_did_not_land_must_be_counted(dropped, dead, kept):
    table = landed(BIRTH)
    verdict = examine({"Plant/Edge": [BIRTH]}, table)
    check_numbers(verdict, table, range(1, 4), may_lack=dropped, dead=dead)
    assert verdict.kept is kept


def test_what_was_destroyed_may_have_had_the_event_id_of_a_later_birth():
    lost = BIRTH._replace(values=(("0/a", "0/a when it was STALE before"), ("0/b",)))
    rows = {"0/a when it was STALE before", "0/b"}
    verdict = examine({"Plant/Edge": [lost, *DATA]}, landed(*DATA), destroyed=rows)
    assert verdict.lost == verdict.known == 2
    assert verdict.lost_no_more_than(rows)
    assert not verdict.lost_no_more_than({"0/b"})
    assert verdict.lost_beyond(rows) == 0
    assert verdict.lost_beyond(set()) == len(verdict.lost_ids)
