"""Births that say nothing clear (docs/decoding.md)."""

from support.columnar import change, message, metric, tag
from support.listener import BIRTH, DEVICE_BIRTH, data, level, listening, numbers, told


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
