"""Payloads of no bytes: most clear what is retained, some are wills (docs/decoding.md)."""

import pytest
from oracle.messages import ARRIVED
from support.columnar import deaths, message, tag
from support.listener import (
    BIRTH,
    DEVICE_BIRTH,
    Listener,
    birth,
    data,
    death,
    level,
    listening,
    numbers,
    reasons,
    told,
)

from sparkplug.host.nodes.waiting import HeldMessage
from sparkplug.messages import Message, Reason


def empty(verb, device="Boiler", **fields):
    topic = f"spBv1.0/Plant/{verb}/Edge"
    topic += f"/{device}" if verb.startswith("D") else ""
    return Message(topic, b"", ARRIVED, **fields)


@pytest.mark.parametrize("verb", ["NBIRTH", "DBIRTH", "NDATA", "DDATA"])
def test_no_birth_and_no_data_has_no_bytes(verb):
    heard = listening(BIRTH, DEVICE_BIRTH)
    assert not heard.feed(empty(verb))
    assert numbers(heard.feed(data(2), level(3))) == [2, 3]
    assert (heard.counts, heard.rebirths, heard.gaps) == ({"empty_payload": 1}, [], [])


@pytest.mark.parametrize("verb", ["NBIRTH", "DBIRTH", "NDATA", "DDATA"])
def test_of_a_stranger_it_is_as_little(verb):
    heard = listening(empty(verb))
    assert (heard.counts, heard.rebirths) == ({"empty_payload": 1}, [])
    assert heard.fleet.gauges.node_count == heard.fleet.gauges.held_messages == 0
    assert not heard.fleet.take_received(never_born=True)


def test_it_is_told_as_discarded_and_kept_nowhere():
    decoded = Listener().fleet.feed([empty("NDATA")])
    assert decoded.discarded == {Reason.EMPTY_PAYLOAD: 1}
    assert not decoded.quarantined


def test_what_an_earlier_version_held_without_bytes_is_read_as_it_was():
    heard = Listener()
    held = HeldMessage(empty("NDATA"), None, Reason.DATA_BEFORE_BIRTH, kept=1)
    heard.fleet.memory.restore([], b"", [held])
    assert told(heard.feed(BIRTH)) == {("NBIRTH", "Ramp", 0.0)}
    assert heard.fleet.memory.no_longer_held() == {1}
    assert not heard.counts


# Deaths


def test_a_node_dies_without_payload_and_is_asked_once():
    heard = listening(BIRTH, DEVICE_BIRTH)
    assert deaths(heard.feed(empty("NDEATH"))) == ["Boiler/Level", "Ramp"]
    assert heard.counts == {"empty_death": 1}
    heard.feed(empty("NDEATH"), now=1.0)
    heard.tick(700.0)
    assert heard.rebirths == ["empty_death"]
    assert heard.counts == {"empty_death": 1, "death_of_other_session": 1}


def test_a_node_that_lives_answers_and_is_born_again():
    heard = listening(birth(), empty("NDEATH"))
    assert told(heard.feed(birth(), data(1), now=0.1)) == {
        ("NBIRTH", "Ramp", 0.0),
        ("NDATA", "Ramp", 1.0),
    }


def test_a_death_with_bytes_asks_nobody():
    heard = listening(birth(), death())
    assert heard.rebirths == []


def test_where_no_session_is_to_end_nothing_that_is_held_is_given_up():
    heard = listening(data(1), empty("NDEATH"))
    assert not reasons(heard)
    assert heard.rebirths == ["data_before_birth"]
    assert heard.fleet.gauges.held_messages == 1


def test_a_late_birth_waits_on():
    heard = listening(birth(), death(), birth(), empty("NDEATH"))
    assert told(heard.tick(2.0)) == {("NBIRTH", "Ramp", 0.0)}


@pytest.mark.parametrize("seq", [2, 3])
def test_a_device_dies_without_payload_and_without_seq(seq):
    others = [data(n) for n in range(2, seq)]
    heard = listening(BIRTH, DEVICE_BIRTH, *others)
    rows = heard.feed(empty("DDEATH"))
    assert deaths(rows) == ["Boiler/Level"]
    assert rows[0]["event_time"] == ARRIVED
    assert heard.rebirths == ["empty_death"]
    assert numbers(heard.feed(data(seq))) == [seq]
    assert not heard.gaps
    assert heard.counts == {"empty_death": 1}


@pytest.mark.parametrize(
    "before",
    [[], [BIRTH], [BIRTH, DEVICE_BIRTH, empty("DDEATH")], [birth(), DEVICE_BIRTH, death()]],
    ids=["no node", "no device", "a dead device", "a dead node"],
)
def test_a_device_that_is_not_alive_cannot_die(before):
    heard = listening(*before)
    asked = len(heard.rebirths)
    assert not heard.feed(empty("DDEATH"))
    assert heard.counts["death_of_other_session"] == 1
    assert len(heard.rebirths) == asked


def test_a_device_of_a_node_in_doubt_waits_for_the_birth_of_the_node():
    heard = listening(BIRTH, DEVICE_BIRTH)
    heard.connection_lost()
    heard.feed(data(77))
    assert not heard.feed(empty("DDEATH"))
    assert heard.counts["death_of_other_session"] == 1


def test_a_retained_one_is_history():
    heard = listening(BIRTH, empty("NDEATH", retained=True), empty("NBIRTH", retained=True))
    assert heard.counts == {"retained": 2}
    assert numbers(heard.feed(data(1))) == [1]


def test_a_birth_without_metrics_but_with_a_time_is_a_birth():
    heard = listening(message("NBIRTH", tag("Ramp", 0)), message("NBIRTH"), data(1))
    assert heard.counts == {"unknown_alias": 1}
