"""What waits for a birth: what is held, read later, or given up (docs/decoding.md)."""

import pytest
from oracle.messages import ARRIVED, MEASURED_MS, SENT_MS
from support.columnar import change, deaths, message, metric, tag
from support.listener import (
    BIRTH,
    DEVICE_BIRTH,
    EARLIER,
    LATER,
    Listener,
    birth,
    data,
    death,
    level,
    level_named,
    listening,
    named,
    numbers,
    reasons,
    remembered,
    told,
)

from sparkplug.host.nodes.holding import HoldLimits
from sparkplug.pb.sparkplug_b_pb2 import Payload

TEN_MINUTES = 600.0


def content(held):
    """Seq and metrics of a message that was held in vain."""
    payload = Payload.FromString(held.payload)
    return payload.seq, [metric.name or metric.alias for metric in payload.metrics]


# A node without birth


@pytest.mark.parametrize("sent_ms", [EARLIER, SENT_MS, LATER, None])
def test_data_before_the_birth_is_read_when_the_birth_comes(sent_ms):
    heard = Listener()
    assert not heard.feed(named(1, timestamp=sent_ms, received_us=ARRIVED - 7))
    assert heard.counts == {"data_before_birth": 1}
    assert heard.rebirths == ["data_before_birth"]
    rows = heard.feed(BIRTH, now=TEN_MINUTES - 1)
    assert told(rows) == {("NBIRTH", "Ramp", 0.0), ("NDATA", "Ramp", 1.0)}
    (row,) = [row for row in rows if row["message_type"] == "NDATA"]
    assert (row["event_time"], row["ingestion_timestamp"]) == (MEASURED_MS * 1000, ARRIVED - 7)
    assert not heard.dead_letters


def test_what_was_sent_after_the_birth_takes_part_in_seq():
    heard = listening(data(2, timestamp=LATER), data(1))
    heard.feed(BIRTH)
    assert numbers(heard.feed(data(3, timestamp=LATER))) == [3]
    assert heard.counts == {"data_before_birth": 2}
    assert not heard.gaps


def test_what_was_sent_before_the_birth_takes_no_part_in_seq():
    heard = listening(named(77, timestamp=EARLIER), named(9, timestamp=None))
    assert numbers(heard.feed(BIRTH)) == [9, 77]
    assert numbers(heard.feed(data(1))) == [1]
    assert heard.counts == {"data_before_birth": 2}


def test_a_device_is_born_by_a_birth_that_was_sent_after_that_of_its_node():
    heard = listening(level(2, timestamp=LATER), message("DBIRTH", tag("Level", 1), seq=1))
    assert numbers(heard.feed(BIRTH)) == [2]
    assert heard.counts == {"data_before_birth": 2}


@pytest.mark.parametrize("verb", ["DBIRTH", "DDATA"])
def test_what_a_device_sent_before_the_birth_of_its_node_waits_for_its_own(verb):
    heard = listening(message(verb, tag("Level", value=5.0), seq=9, timestamp=EARLIER))
    assert told(heard.feed(BIRTH)) == {("NBIRTH", "Ramp", 0.0)}
    rows = heard.feed(DEVICE_BIRTH)
    assert told(rows) == {("DBIRTH", "Boiler/Level", 0.0), (verb, "Boiler/Level", 5.0)}
    assert heard.counts == {"data_before_birth": 1}
    assert heard.rebirths == ["data_before_birth"]


def test_aliases_of_an_old_birth_of_a_device_mean_nothing():
    heard = listening(message("DBIRTH", tag("Level", 1), seq=9, timestamp=EARLIER))
    heard.feed(BIRTH, message("DBIRTH", tag("Flow", 1), tag("Level", 2), seq=1))
    assert told(heard.feed(level(2))) == {("DDATA", "Boiler/Flow", 2.0)}


@pytest.mark.parametrize(
    ("sent_ms", "reason"),
    [(EARLIER, "death_of_other_session"), (SENT_MS, "device_data_before_birth")],
)
def test_a_death_of_a_device_before_the_birth_of_its_node_ends_nothing(sent_ms, reason):
    heard = listening(message("DDEATH", seq=1, timestamp=sent_ms))
    assert not deaths(heard.feed(BIRTH, message("DBIRTH", tag("Level"), seq=2)))
    assert heard.counts[reason] == 1
    assert not heard.dead_letters


# A device without birth


def test_data_of_a_device_waits_for_the_birth_of_the_device():
    heard = listening(BIRTH)
    assert not heard.feed(level_named(1), level_named(2))
    assert heard.counts == {"device_data_before_birth": 2}
    assert set(heard.rebirths) == {"device_data_before_birth"}
    rows = heard.feed(message("DBIRTH", tag("Level", 1), seq=3), level(4))
    assert numbers(rows) == [1, 2, 4]
    assert not heard.gaps


def test_data_of_a_device_waits_for_its_birth_over_a_birth_of_its_node():
    heard = listening(BIRTH, level_named(1))
    assert not numbers(heard.feed(BIRTH))
    assert numbers(heard.feed(DEVICE_BIRTH)) == [1]


def test_data_of_a_device_does_not_wait_for_the_birth_of_another():
    heard = listening(BIRTH, level_named(1))
    rows = heard.feed(message("DBIRTH", tag("Level", 1), seq=2, device="Fan"))
    assert not numbers(rows)
    assert numbers(heard.feed(message("DBIRTH", tag("Level", 1), seq=3))) == [1]


def test_a_death_of_a_device_without_birth_is_not_held():
    heard = listening(BIRTH, message("DDEATH", seq=1))
    assert heard.counts == {"device_data_before_birth": 1}
    assert heard.rebirths == ["device_data_before_birth"]
    heard.feed(message("DBIRTH", tag("Level", 1), seq=2))
    assert numbers(heard.feed(level(3))) == [3]
    assert not heard.dead_letters


def test_what_the_birth_of_the_device_does_not_declare_either_is_given_up():
    heard = listening(
        BIRTH, message("DDATA", metric("Level", double_value=1.0), change(8, 8.0), seq=1)
    )
    assert numbers(heard.feed(message("DBIRTH", tag("Level", 1), seq=2))) == [1]
    assert heard.counts == {"device_data_before_birth": 1}
    [(letter, reason)] = heard.dead_letters
    assert (content(letter), reason) == ((1, [8]), "alias_of_unseen_birth")


# Metrics that no birth declares


def test_a_metric_that_no_birth_declares_waits_for_the_next_one():
    heard = listening(BIRTH)
    rows = heard.feed(message("NDATA", change(0, 1.0), metric("Sine", double_value=7.0), seq=1))
    assert numbers(rows) == [1]
    assert heard.counts == {"unknown_metric": 1}
    assert heard.rebirths == ["unknown_metric"]
    rows = heard.feed(message("NBIRTH", tag("Ramp", 0), tag("Sine", 7)))
    assert ("NDATA", "Sine", 7.0) in told(rows)
    assert numbers(rows) == [7]
    assert heard.counts == {"unknown_metric": 1}


def test_a_metric_of_a_device_waits_for_the_next_birth_of_the_device():
    heard = listening(
        BIRTH, DEVICE_BIRTH, message("DDATA", metric("Flow", double_value=7.0), seq=2)
    )
    assert not numbers(heard.feed(message("NBIRTH", tag("Ramp", 0), tag("Sine", 7))))
    rows = heard.feed(message("DBIRTH", tag("Flow", 7), seq=1))
    assert ("DDATA", "Boiler/Flow", 7.0) in told(rows)


def test_a_metric_that_the_next_birth_does_not_declare_either_is_given_up_alone():
    heard = listening(
        BIRTH, message("NDATA", change(0, 1.0), metric("Sine", double_value=7.0), seq=1)
    )
    heard.feed(BIRTH)
    [(letter, reason)] = heard.dead_letters
    assert (letter.topic, reason) == ("spBv1.0/Plant/NDATA/Edge", "unknown_metric")
    assert letter.received_us == ARRIVED
    assert content(letter) == (1, ["Sine"])
    assert heard.counts == {"unknown_metric": 1}


def test_each_unknown_metric_is_counted_and_one_rebirth_is_wanted():
    heard = listening(BIRTH, message("NDATA", change(7, 7.0), change(8, 8.0), seq=1))
    assert heard.counts == {"unknown_alias": 2}
    assert heard.rebirths == ["unknown_alias"]


# Given up


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ([data(1)], "data_before_birth"),
        ([BIRTH, level(1)], "device_data_before_birth"),
        ([BIRTH, message("NDATA", change(7, 7.0), seq=1)], "unknown_alias"),
        ([BIRTH, message("NDATA", tag("Sine"), seq=1)], "unknown_metric"),
    ],
)
def test_what_is_held_for_ten_minutes_becomes_a_dead_letter_for_its_reason(held, reason):
    heard = Listener()
    heard.feed(*held, now=5.0)
    heard.tick(5.0 + TEN_MINUTES - 1)
    assert not heard.dead_letters
    heard.tick(5.0 + TEN_MINUTES + 1)
    assert reasons(heard) == [reason]
    heard.feed(BIRTH, DEVICE_BIRTH, now=1000.0)
    assert not numbers(heard.rows)
    assert len(heard.dead_letters) == 1


def test_a_message_that_becomes_a_dead_letter_is_whole():
    heard = listening(data(1))
    heard.tick(TEN_MINUTES + 1)
    assert heard.dead_letters == [(data(1), "data_before_birth")]


def test_what_is_held_is_given_up_when_the_session_ends():
    heard = listening(birth(), message("NDATA", change(7, 7.0), seq=1), level(2))
    heard.feed(death())
    assert reasons(heard) == ["session_ended"] * 2


def test_what_is_held_is_given_up_when_a_death_finds_no_birth():
    heard = listening(data(1), level(2))
    heard.feed(death())
    assert reasons(heard) == ["session_ended"] * 2
    assert heard.counts["death_of_other_session"] == 1


def test_what_is_held_stays_when_another_session_dies():
    heard = listening(birth(bd=2), level_named(1))
    heard.feed(death(bd=1))
    assert not heard.dead_letters
    assert numbers(heard.feed(message("DBIRTH", tag("Level", 1), seq=2))) == [1]


def test_the_death_of_another_node_ends_nothing():
    heard = listening(data(1))
    heard.feed(death(node="Other"))
    assert not heard.dead_letters


@pytest.mark.parametrize(
    "limits",
    [HoldLimits(node_messages=2), HoldLimits(node_bytes=3000), HoldLimits(total_bytes=3000)],
)
def test_the_oldest_of_a_node_that_holds_too_much_are_given_up(limits):
    heard = Listener(hold_limits=limits)
    heard.feed(*(named(seq, timestamp=EARLIER) for seq in (1, 2, 3)))
    assert [(content(letter)[0], reason) for letter, reason in heard.dead_letters] == [
        (1, "hold_full")
    ]
    assert numbers(heard.feed(BIRTH)) == [2, 3]


def test_a_node_that_holds_much_costs_another_nothing():
    heard = Listener(hold_limits=HoldLimits(node_messages=2))
    heard.feed(named(1, node="Other"), data(1), data(2), data(3))
    rows = heard.feed(message("NBIRTH", tag("Ramp", 0), node="Other"))
    assert numbers(rows) == [1]


# Over a restart, and after the connection was lost


def restarted(*messages, held=()):
    before = listening(*messages)
    return before.restarted(remembered(before), held)


def test_after_a_restart_a_node_that_continues_its_seq_is_trusted():
    heard = restarted(birth(), DEVICE_BIRTH, level(2))
    assert numbers(heard.feed(level(3), data(4))) == [3, 4]
    assert not heard.counts
    assert not heard.rebirths


@pytest.mark.parametrize("seq", [0, 2, 4, 200])
def test_after_a_restart_a_node_that_does_not_continue_its_seq_is_held_whole(seq):
    heard = restarted(birth(), DEVICE_BIRTH, level(2))
    assert not heard.feed(data(seq), data(3), level((seq + 1) % 256))
    assert heard.counts == {"data_before_birth": 3}
    assert heard.rebirths == ["data_before_birth"]
    assert numbers(heard.feed(birth(timestamp=LATER))) == sorted([seq, 3])
    assert numbers(heard.feed(message("DBIRTH", tag("Level", 1), seq=1))) == [(seq + 1) % 256]


def test_after_a_restart_a_death_of_the_remembered_birth_ends_its_session():
    heard = restarted(birth(), DEVICE_BIRTH)
    assert deaths(heard.feed(death())) == ["Boiler/Level", "Ramp"]
    assert not heard.counts


def test_after_a_restart_a_death_of_another_session_ends_nothing():
    heard = restarted(birth())
    assert not heard.feed(death(bd=0))
    assert numbers(heard.feed(data(1))) == [1]
    assert heard.counts == {"death_of_other_session": 1}


def test_nodes_that_hold_much_cost_another_nothing_when_all_together_hold_too_much():
    heard = Listener(hold_limits=HoldLimits(total_bytes=20_000))
    invented = [data(seq, node=f"Invented {node}") for node in range(5) for seq in range(1, 12)]
    heard.feed(*invented)
    assert heard.dead_letters
    heard.feed(data(1), *invented)
    assert data(1).topic not in {letter.topic for letter, _ in heard.dead_letters}
    assert numbers(heard.feed(BIRTH)) == [1]


def test_remembered_births_give_no_rows():
    heard = restarted(birth(), DEVICE_BIRTH)
    assert not heard.rows
    assert not heard.tick(100.0)


def test_nothing_that_was_held_is_lost_over_a_restart_also_where_no_more_may_be():
    limits = HoldLimits(node_messages=2)
    before = Listener(hold_limits=limits)
    died_us = (SENT_MS + 500) * 1000
    before.feed(birth(), death(received_us=died_us), data(7), data(8), birth(seq=2))  # late
    assert before.fleet.gauges.held_whole == 3
    heard = before.restarted(remembered(before), before.fleet.memory.held(), hold_limits=limits)
    assert heard.fleet.gauges.held_whole == 3
    heard.feed(data(9))
    assert [content(letter)[0] for letter, _ in heard.dead_letters] == [7, 8]
    assert reasons(heard) == ["hold_full"] * 2
    assert heard.fleet.gauges.held_whole == 2


def test_what_was_held_before_a_restart_is_read_after_it():
    before = Listener()
    before.feed(named(4, timestamp=EARLIER))
    heard = before.restarted(remembered(before), before.fleet.memory.held())
    assert numbers(heard.feed(birth())) == [4]


def test_after_the_connection_was_lost_a_node_that_continues_its_seq_is_trusted():
    heard = listening(birth(), data(1))
    heard.connection_lost()
    assert numbers(heard.feed(data(2), data(3))) == [2, 3]
    assert not heard.counts


def test_after_the_connection_was_lost_a_node_that_does_not_continue_its_seq_is_held_whole():
    heard = listening(birth(), data(1))
    heard.connection_lost()
    assert not heard.feed(data(3), data(4))
    assert heard.counts == {"data_before_birth": 2}
    assert heard.rebirths == ["data_before_birth"]
    assert heard.gaps == [(2, 1, "open")]
    assert numbers(heard.feed(birth(timestamp=LATER))) == [3, 4]
