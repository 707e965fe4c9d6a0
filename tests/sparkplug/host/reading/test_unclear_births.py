"""Births of sessions that ended, and births that say nothing clear (docs/decoding.md)."""

import pytest
from oracle.messages import SENT_MS
from support.columnar import change, message, metric, tag
from support.listener import (
    BIRTH,
    DEVICE_BIRTH,
    LATER,
    bd_seq,
    birth,
    data,
    death,
    level,
    listening,
    numbers,
    reasons,
    told,
)

# Births of sessions that ended

DIED_US = (SENT_MS + 500) * 1000


def after_its_death(*messages, **options):
    return listening(birth(), death(received_us=DIED_US), *messages, **options)


@pytest.mark.parametrize("sent_ms", [SENT_MS, SENT_MS + 500, None])
def test_a_birth_that_comes_after_the_death_of_its_session_begins_none(sent_ms):
    heard = after_its_death()
    assert not heard.feed(birth(timestamp=sent_ms))
    assert not heard.counts
    assert not heard.rebirths


@pytest.mark.parametrize("late", [{"timestamp": SENT_MS + 501}, {"bd": 2}])
def test_a_birth_that_was_sent_after_the_death_or_is_of_another_session_is_a_birth(late):
    heard = after_its_death()
    assert heard.feed(birth(**late))
    assert numbers(heard.feed(data(1))) == [1]


def test_a_late_birth_is_one_after_all_if_a_message_follows_it():
    heard = after_its_death(birth(seq=5, timestamp=SENT_MS - 3))
    rows = heard.feed(data(6, timestamp=LATER))
    assert told(rows) >= {("NDATA", "Ramp", 6.0)}
    assert numbers(heard.feed(data(7, timestamp=LATER))) == [7]
    assert not heard.counts


def test_a_message_that_does_not_follow_a_late_birth_waits_with_it():
    heard = after_its_death(birth(seq=5))
    assert not heard.feed(data(8))
    assert heard.counts == {"data_before_birth": 1}


def test_another_birth_takes_the_place_of_a_late_one_whose_values_are_read_as_data():
    late = message("NBIRTH", bd_seq(1), tag("Ramp", 0, 44.0), seq=5, timestamp=SENT_MS)
    heard = after_its_death(late)
    rows = heard.feed(birth(bd=2, timestamp=SENT_MS + 900))
    assert sorted(row["numeric_value"] for row in rows if row["metric_name"] == "Ramp") == [0, 44]
    assert numbers(heard.feed(data(1))) == [1]
    assert not heard.dead_letters


def test_a_late_birth_is_given_up_when_its_node_dies_again():
    heard = after_its_death(birth())
    heard.feed(death(received_us=DIED_US + 1))
    assert reasons(heard) == ["session_ended"]


# Births that say nothing clear


def test_an_alias_of_two_metrics_stands_for_none():
    ambiguous = [tag("First", 4), tag("Second", 4), tag("Third", 4), tag("Ramp", 0)]
    heard = listening(message("NBIRTH", *ambiguous))
    assert heard.counts == {"duplicate_alias": 1}
    rows = heard.feed(message("NDATA", change(4, 1.0), change(0, 2.0), seq=1))
    assert told(rows) == {("NDATA", "Ramp", 2.0)}
    assert heard.counts == {"duplicate_alias": 1, "unknown_alias": 1}


def test_metrics_of_an_ambiguous_alias_are_known_by_name():
    heard = listening(message("NBIRTH", tag("First", 4), tag("Second", 4)))
    rows = heard.feed(message("NDATA", metric("Second", double_value=1.0), seq=1))
    assert told(rows) == {("NDATA", "Second", 1.0)}


def test_one_metric_twice_with_one_alias_is_clear():
    heard = listening(message("NBIRTH", tag("Ramp", 4), tag("Ramp", 4)))
    assert numbers(heard.feed(message("NDATA", change(4, 1.0), seq=1))) == [1]
    assert not heard.counts


def test_a_birth_without_names_ends_the_session_of_the_node():
    nameless = message("NBIRTH", tag(None, 0), tag("", 1))
    heard = listening(BIRTH)
    assert not heard.feed(nameless, data(1))
    assert heard.counts == {"nameless_birth": 1, "data_before_birth": 1}
    assert heard.quarantined == [(nameless, "nameless_birth")]
    assert numbers(heard.feed(BIRTH)) == [1]


def test_a_birth_without_names_ends_the_session_of_its_device_and_keeps_its_seq():
    heard = listening(BIRTH, DEVICE_BIRTH)
    rows = heard.feed(message("DBIRTH", tag(None, 1), seq=2), level(3), data(4))
    assert numbers(rows) == [4]
    assert heard.counts == {"nameless_birth": 1, "device_data_before_birth": 1}


def test_a_birth_without_metrics_is_a_birth():
    heard = listening(message("NBIRTH"), message("DBIRTH", seq=1))
    assert not heard.counts
    assert not heard.quarantined
