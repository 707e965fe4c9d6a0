"""In which order the messages of a batch, and metrics of them that were held, are read."""

import numpy as np
from oracle.messages import metric, payload

from sparkplug.datatypes import DataType
from sparkplug.host.turns import Turns
from sparkplug.payload import read_payloads


def columns(*counts):
    """Of a batch whose messages have so many metrics."""
    value = metric("Ramp", DataType.Int32, int_value=1)
    payloads = [payload(*[value] * count) for count in counts]
    limits = {"max_inflated_bytes": 100, "max_opened_memory": 100, "max_metrics": 100}
    return read_payloads(payloads, [], **limits).columns


def order(turns, *counts):
    """Indices of the metrics of a batch as they are read."""
    return np.argsort(turns.per_metric(columns(*counts)), kind="stable").tolist()


def test_messages_are_read_in_the_order_of_arrival():
    turns = Turns(3)
    for position in range(3):
        turns.come_to(position)
        turns.give(position)
    assert not turns.reordered
    assert turns.of(0) < turns.of(1) < turns.of(2)
    assert order(turns, 2, 0, 1) == [0, 1, 2]


def test_what_has_waited_is_read_at_the_place_of_the_message_that_lets_it():
    turns = Turns(4)
    turns.come_to(2)
    for position in (2, 0, 1):
        turns.give(position)
    assert turns.reordered
    assert order(turns, 1, 1, 1, 1) == [2, 0, 1, 3]
    assert turns.of(1) < turns.of(3)


def test_metrics_that_were_held_have_a_turn_apart_from_their_message():
    turns = Turns(2)
    turns.come_to(1)
    turns.give(1)
    assert not turns.reordered
    turns.give_rows(np.array([1]), ignition=True)
    assert turns.reordered
    assert order(turns, 3, 1) == [0, 2, 3, 1]
    assert order(Turns(2), 3, 1) == [0, 1, 2, 3]


def test_of_metrics_that_were_held_it_is_known_in_which_session_they_are_read():
    turns = Turns(1)
    turns.give(0)
    turns.give_rows(np.array([0]), ignition=True)
    turns.give_rows(np.array([1]), ignition=False)
    assert [(rows.tolist(), ignition) for rows, ignition, _ in turns.later] == [
        ([0], True),
        ([1], False),
    ]


def test_messages_keep_their_turns_when_metrics_of_one_each_get_their_own():
    turns = Turns(2)  # the turns of metrics are those of messages then, without a copy
    turns.come_to(1)
    turns.give_rows(np.array([0]), ignition=False)
    before = [turns.of(0), turns.of(1)]
    turns.per_metric(columns(1, 1))
    assert [turns.of(0), turns.of(1)] == before


def test_a_batch_without_messages_has_no_turns():
    assert order(Turns(0)) == []
