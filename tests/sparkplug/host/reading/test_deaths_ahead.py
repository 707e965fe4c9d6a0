"""NDEATHs of later sessions than the one that is known (docs/decoding.md)."""

import pytest
from support.columnar import deaths, message, tag
from support.host_side import Server
from support.listener import (
    LATER,
    birth,
    data,
    death,
    listening,
    numbers,
    reasons,
    remembered,
    told,
)

from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX

OTHER = {"death_of_other_session": 1}


@pytest.mark.parametrize(
    ("session", "died"),
    [(3, 4), (3, 130), (255, 0), (254, 125), (256, 257), (1_700_000_000, 1_700_000_900)],
)
def test_a_death_ahead_of_the_session_ends_it(session, died):
    heard = listening(birth(bd=session))
    rows = heard.feed(death(bd=died))
    assert deaths(rows) == ["Ramp"]
    assert not heard.counts


@pytest.mark.parametrize(
    ("session", "died"),
    [
        *((3, 2), (0, 255), (0, 128), (125, 254), (3, 131)),
        *((257, 256), (1_700_000_900, 1_700_000_000)),
        *((255, 256), (3, 1_700_000_000), (300, 4)),
    ],
)
def test_any_other_death_is_of_another_session(session, died):
    heard = listening(birth(bd=session))
    assert not heard.feed(death(bd=died))
    assert heard.counts == OTHER
    assert numbers(heard.feed(data(1))) == [1]


def test_devices_end_with_it_and_data_is_held_until_the_birth():
    heard = listening(birth(), message("DBIRTH", tag("Level", 1), seq=1))
    assert deaths(heard.feed(death(bd=2))) == ["Boiler/Level", "Ramp"]
    assert not heard.feed(data(2))
    assert heard.rebirths == ["data_before_birth"]


def test_a_node_that_always_says_the_same_dies_as_ever():
    heard = listening(birth(bd=0))
    assert deaths(heard.feed(death(bd=0))) == ["Ramp"]
    assert not heard.feed(death(bd=0))
    assert heard.counts == OTHER


def test_a_second_death_of_a_session_before_ends_nothing():
    heard = listening(birth(bd=5), death(bd=5), birth(bd=6))
    assert not heard.feed(death(bd=5))
    assert numbers(heard.feed(data(1))) == [1]


# Nodes that begin anew at 0


@pytest.mark.parametrize(
    "before",
    [
        [birth(bd=3)],
        [birth(bd=3), death(bd=3)],
        [birth(bd=2), death(bd=3)],
        [birth(bd=2), death(bd=2), death(bd=3)],
    ],
    ids=["its death comes late", "twice", "ahead, and twice", "of an unseen session, and twice"],
)
def test_the_death_of_the_session_before_is_not_ahead_of_one_that_begins_anew(before):
    heard = listening(*before, birth(bd=0), birth(bd=0))
    assert not heard.feed(death(bd=3))
    assert numbers(heard.feed(data(1))) == [1]
    assert deaths(heard.feed(death(bd=0))) == ["Ramp"]


def test_two_sessions_later_that_death_is_ahead_again():
    heard = listening(birth(bd=3), birth(bd=0), birth(bd=1))
    assert deaths(heard.feed(death(bd=3))) == ["Ramp"]


# Births around it


def test_the_birth_that_the_death_has_overtaken_is_late():
    heard = listening(birth(bd=1), death(bd=2))
    assert not heard.feed(birth(bd=2), now=1.0)
    assert heard.counts == {"late_birth": 1}
    assert told(heard.feed(data(1), now=1.5)) == {("NBIRTH", "Ramp", 0.0), ("NDATA", "Ramp", 1.0)}


def test_the_birth_that_the_death_has_overtaken_is_read_after_two_seconds():
    heard = listening(birth(bd=1), death(bd=2), birth(bd=2))
    assert told(heard.tick(2.0)) == {("NBIRTH", "Ramp", 0.0)}
    assert heard.rebirths == ["late_birth"]


def test_the_next_birth_begins_a_session_at_once():
    heard = listening(birth(bd=1), death(bd=2))
    assert told(heard.feed(birth(bd=3))) == {("NBIRTH", "Ramp", 0.0)}
    assert numbers(heard.feed(data(1))) == [1]


def test_the_session_whose_birth_never_came_is_a_session_that_was_missed():
    server = Server(reorder_timeout=2.0)
    server.at(0.0, birth(bd=1), death(bd=2))
    found = [change.gap for change in server.fleet.feed([birth(bd=3)], 1.0).gaps]
    assert sum(gap.sessions for gap in found) == 1


def test_what_waits_in_the_window_is_read_before_it():
    heard = listening(birth(), data(2))
    assert numbers(heard.feed(death(bd=2))) == [2]


def test_what_is_held_is_given_up_with_the_session():
    heard = listening(birth(), message("DDATA", tag("Level", 1), seq=1))
    heard.feed(death(bd=2))
    assert reasons(heard) == ["session_ended"]


# Over a restart, from kept births, on two servers


def test_a_remembered_session_is_ended_by_a_death_ahead():
    heard = listening(birth(bd=7))
    later = heard.restarted(remembered(heard))
    assert deaths(later.feed(death(bd=9))) == ["Ramp"]
    assert later.memories[0].bd_seq == 9


def test_a_remembered_session_is_not_ended_by_a_death_of_before():
    heard = listening(birth(bd=7))
    later = heard.restarted(remembered(heard))
    assert not later.feed(death(bd=6))
    assert numbers(later.feed(data(1))) == [1]


def test_a_death_ahead_is_what_the_next_start_hears_of():
    heard = listening(birth(bd=7), death(bd=8))
    later = heard.restarted(remembered(heard))
    assert not later.feed(birth(bd=8), now=1.0)
    assert later.counts == {"late_birth": 1}


def test_a_kept_birth_is_ended_by_a_death_ahead():
    heard = listening()
    kept = birth(bd=7, timestamp=LATER)
    heard.fleet.memory.warm_start([kept._replace(topic=CERTIFICATE_PREFIX + kept.topic)], 0.0)
    assert deaths(heard.feed(death(bd=8))) == ["Ramp"]


def test_a_death_ahead_on_one_server_of_a_site_gives_no_rows_while_the_node_lives_on_another():
    one, other = Server("North", reorder_timeout=2.0), Server("North", reorder_timeout=2.0)
    one.fleet.liveness.join([other.fleet.liveness])
    other.fleet.liveness.join([one.fleet.liveness])
    one.at(0.0, birth(bd=3))
    other.at(1.0, birth(bd=5))
    assert not one.at(2.0, death(bd=4))
    assert not one.fleet.alive("Plant", "Edge")
    assert other.fleet.alive("Plant", "Edge")
