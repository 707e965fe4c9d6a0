"""Births with the bdSeq of a death that came just before (docs/decoding.md)."""

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import deaths, message, tag
from support.listener import (
    LATER,
    bd_seq,
    birth,
    data,
    death,
    listening,
    numbers,
    reasons,
    remembered,
    told,
)

from sparkplug.host.screening import FleetLimits

LATE = 2.0
"""Seconds after a death for which a birth with its bdSeq may be of the session that ended."""

DIED_US = (SENT_MS + 500) * 1000
HOUR_MS = 3_600_000

CLOCKS = pytest.mark.parametrize(
    "sent_ms",
    [
        pytest.param(SENT_MS - HOUR_MS, id="an hour behind"),
        pytest.param(SENT_MS + 450, id="made 50 ms before the death came"),
        pytest.param(SENT_MS + 501, id="made after the death came"),
        pytest.param(SENT_MS + HOUR_MS, id="an hour ahead"),
        pytest.param(None, id="no time"),
    ],
)


def after_its_death(*messages, **options):
    return listening(birth(), death(received_us=DIED_US), *messages, **options)


def ramp(number, **fields):
    """A birth of the same bdSeq in which Ramp has this number."""
    return message("NBIRTH", bd_seq(1), tag("Ramp", 0, number), **fields)


def ramps(rows):
    births = [row for row in rows if row["message_type"] == "NBIRTH"]
    return sorted(row["numeric_value"] for row in births if row["metric_name"] == "Ramp")


# It waits, in sight


@CLOCKS
def test_a_birth_that_comes_after_the_death_of_its_session_begins_none_at_once(sent_ms):
    heard = after_its_death()
    assert not heard.feed(birth(timestamp=sent_ms))
    assert not heard.tick(LATE - 0.1)
    assert not heard.rebirths


def test_a_birth_that_waits_is_counted_and_told_with_its_node():
    heard = after_its_death()
    decoded = heard.fleet.feed([birth()], 0.0)
    assert decoded.counts == {"late_birth": 1}
    assert decoded.examples == {"late_birth": "Plant/Edge"}
    assert heard.fleet.gauges.held_messages == heard.fleet.gauges.held_whole == 1
    heard.tick(LATE)
    assert heard.fleet.gauges.held_messages == heard.fleet.gauges.held_whole == 0


# For two seconds by our own clock


@CLOCKS
def test_a_birth_with_the_bd_seq_of_its_death_is_read_after_two_seconds(sent_ms):
    heard = after_its_death(birth(seq=5, timestamp=sent_ms))
    assert told(heard.tick(LATE)) == {("NBIRTH", "Ramp", 0.0)}
    assert heard.rebirths == ["late_birth"]
    assert numbers(heard.feed(data(6), now=700.0)) == [6]
    heard.tick(2000.0)
    assert heard.rebirths == ["late_birth"]
    assert heard.counts == {"late_birth": 1}
    assert not heard.dead_letters


@CLOCKS
def test_a_birth_two_seconds_after_a_death_is_a_birth_at_once(sent_ms):
    heard = after_its_death()
    assert told(heard.feed(birth(timestamp=sent_ms), now=LATE)) == {("NBIRTH", "Ramp", 0.0)}
    assert numbers(heard.feed(data(1), now=LATE)) == [1]
    assert not heard.counts
    assert not heard.rebirths


@pytest.mark.parametrize("jump_s", [-HOUR_MS, HOUR_MS])
def test_it_does_not_matter_if_the_hosts_clock_is_set_meanwhile(jump_s):
    heard = after_its_death(birth(received_us=DIED_US + jump_s * 1000))
    assert not heard.tick(LATE - 0.1)
    assert told(heard.tick(LATE)) == {("NBIRTH", "Ramp", 0.0)}
    heard.feed(death(received_us=DIED_US), now=10.0)
    rows = heard.feed(birth(received_us=DIED_US + jump_s * 1000), now=10.0 + LATE)
    assert told(rows) == {("NBIRTH", "Ramp", 0.0)}


def test_of_a_node_that_begins_with_one_bd_seq_and_says_little_nothing_is_lost():
    """Its clock is behind, and it reports every eleven minutes: what is held is given up before."""
    heard = listening()
    now, sent = 0.0, []
    for start in range(1, 5):
        heard.feed(birth(timestamp=SENT_MS - HOUR_MS), now=now + 0.05)
        for number in (1, 2):
            now += 660.0
            heard.feed(data(number, 10 * start + number), now=now)
            sent.append(10 * start + number)
        now += 660.0
        heard.feed(death(), now=now)
    assert numbers(heard.rows) == sent
    assert len(deaths(heard.rows)) == 4
    assert heard.counts == {"late_birth": 3}
    assert not heard.dead_letters


def test_the_birth_of_another_session_is_a_birth_at_once():
    heard = after_its_death()
    assert heard.feed(birth(bd=2))
    assert numbers(heard.feed(data(1))) == [1]
    assert not heard.counts


# What comes while it waits


def test_a_late_birth_is_one_after_all_if_a_message_follows_it():
    heard = after_its_death(birth(seq=5, timestamp=SENT_MS - 3))
    rows = heard.feed(data(6, timestamp=LATER))
    assert told(rows) >= {("NDATA", "Ramp", 6.0)}
    assert numbers(heard.feed(data(7, timestamp=LATER))) == [7]
    assert heard.counts == {"late_birth": 1}
    assert not heard.rebirths
    assert not heard.tick(LATE)


def test_a_message_that_does_not_follow_a_late_birth_waits_with_it():
    heard = after_its_death(birth(seq=5))
    assert not heard.feed(data(8, timestamp=LATER))
    assert heard.counts == {"late_birth": 1, "data_before_birth": 1}
    assert heard.fleet.gauges.held_messages == 2
    assert numbers(heard.tick(LATE)) == []
    assert numbers(heard.tick(2 * LATE)) == [8]
    assert heard.counts["sequence_gap"] == 1


@pytest.mark.parametrize("bd", [1, 2])
def test_another_birth_takes_the_place_of_a_late_one_whose_values_are_read_as_data(bd):
    heard = after_its_death(ramp(44.0, seq=5))
    rows = heard.feed(birth(bd=bd, timestamp=SENT_MS + 900))
    assert ramps(rows) == [0, 44]
    assert numbers(heard.feed(data(1))) == [1]
    assert not heard.tick(LATE)
    assert not heard.dead_letters


def test_of_two_births_that_come_after_a_death_in_one_batch_both_are_read():
    heard = after_its_death(ramp(44.0, seq=5), ramp(45.0, seq=9))
    heard.tick(LATE)
    assert ramps(heard.rows) == [0, 44, 45]
    assert numbers(heard.feed(data(10), now=LATE)) == [10]
    assert not heard.dead_letters
    assert heard.fleet.gauges.held_messages == 0


def test_a_late_birth_that_comes_twice_is_one():
    heard = after_its_death(birth(seq=5), birth(seq=5))
    assert heard.counts == {"late_birth": 1, "duplicate": 1}
    assert ramps(heard.tick(LATE)) == [0]
    assert heard.rebirths == ["late_birth"]


def test_a_late_birth_is_given_up_when_its_node_dies_again():
    heard = after_its_death(birth())
    heard.feed(death(received_us=DIED_US + 1))
    assert reasons(heard) == ["session_ended"]
    assert not heard.tick(LATE)


def test_a_death_that_is_told_after_the_next_birth_of_one_bd_seq_is_not_believed_for_ever():
    """The server publishes the will of a connection late, when the node is back already."""
    heard = listening(birth(), data(1))
    heard.feed(birth(timestamp=SENT_MS - HOUR_MS), now=10.0)
    assert deaths(heard.feed(death(), now=11.0)) == ["Ramp"]
    heard.feed(data(1, 5.0, timestamp=SENT_MS - HOUR_MS), now=11.5)
    assert heard.rebirths == ["data_before_birth"]
    heard.feed(birth(seq=2, timestamp=SENT_MS - HOUR_MS + 9), now=11.6)
    assert numbers(heard.tick(11.0 + LATE)) == [5]
    assert numbers(heard.feed(data(3), now=700.0)) == [3]
    assert not heard.dead_letters


def test_a_late_birth_that_there_is_no_room_for_is_set_aside_when_it_has_waited():
    large = message("NBIRTH", bd_seq(1), *(tag(f"Tag {n}", n) for n in range(9)))
    heard = after_its_death(large, limits=FleetLimits(max_tags=10))
    assert not heard.tick(LATE)
    assert heard.quarantined == [(large, "too_many_tags")]
    assert heard.fleet.gauges.held_messages == 0


def test_a_late_birth_does_not_wait_where_too_much_waits_already():
    heard = after_its_death(birth(seq=5), limits=FleetLimits(max_waiting_bytes=1_000))
    assert heard.fleet.gauges.held_messages == 0
    assert heard.rebirths == ["late_birth"]
    assert numbers(heard.feed(data(6), now=1.0)) == [6]


def test_late_births_that_wait_no_longer_leave_their_room_to_others():
    heard = after_its_death(birth(seq=5))
    assert heard.fleet.gauges.waiting_bytes > 1_000
    heard.tick(LATE)
    assert heard.fleet.gauges.waiting_bytes == 0


# The connection, and a restart


def test_a_late_birth_is_a_birth_when_the_connection_is_lost():
    heard = after_its_death(birth(seq=5))
    assert told(heard.connection_lost(1.0)) == {("NBIRTH", "Ramp", 0.0)}
    assert heard.rebirths == ["late_birth"]
    assert heard.fleet.gauges.held_messages == 0
    assert not heard.feed(data(7), now=1.5)
    assert heard.counts == {"late_birth": 1, "data_before_birth": 1}


def test_what_follows_a_late_birth_waits_no_longer_either_when_the_connection_is_lost():
    heard = after_its_death(birth(seq=5), data(7, timestamp=LATER))
    assert numbers(heard.connection_lost(1.0)) == [7]
    assert heard.gaps[-1] == (6, 1, "open")
    assert heard.fleet.gauges.held_messages == 0


def stopped(heard, now=0.0):
    """The next run, which takes over what this one remembers and holds."""
    heard.flush(now)
    return heard.restarted(remembered(heard), heard.fleet.memory.held(), now=1000.0)


def test_a_late_birth_waits_over_a_restart_and_is_a_birth_two_seconds_after_it():
    heard = stopped(after_its_death(birth(seq=5)))
    assert heard.fleet.gauges.held_messages == heard.fleet.gauges.held_whole == 1
    assert not heard.tick(1000.0 + LATE - 0.1)
    assert told(heard.tick(1000.0 + LATE)) == {("NBIRTH", "Ramp", 0.0)}
    assert heard.rebirths == ["late_birth"]
    assert heard.fleet.gauges.held_messages == 0
    assert not heard.dead_letters


@pytest.mark.parametrize(("seq", "trusted"), [(6, True), (7, False)])
def test_a_node_whose_late_birth_came_before_a_restart_is_unconfirmed(seq, trusted):
    heard = stopped(after_its_death(birth(seq=5)))
    heard.tick(1000.0 + LATE)
    assert bool(numbers(heard.feed(data(seq), now=1010.0))) is trusted
    assert heard.counts == ({} if trusted else {"data_before_birth": 1})


def test_another_birth_after_a_restart_takes_the_place_of_a_late_one_from_before():
    heard = stopped(after_its_death(ramp(44.0, seq=5)))
    rows = heard.feed(birth(bd=2), now=1001.0)
    assert ramps(rows) == [0, 44]
    assert not heard.tick(1000.0 + LATE)
    assert not heard.rebirths
    assert not heard.dead_letters


def test_a_late_birth_that_was_held_is_on_disk_no_longer_when_it_was_read():
    before = after_its_death(birth(seq=5))
    held = [each._replace(kept=7) for each in before.fleet.memory.held()]
    heard = before.restarted(remembered(before), held, now=1000.0)
    heard.tick(1000.0)
    assert not heard.fleet.memory.no_longer_held()
    heard.tick(1000.0 + LATE)
    assert heard.fleet.memory.no_longer_held() == {7}


@pytest.mark.parametrize(("after", "is_late"), [(LATE - 0.1, True), (LATE, False)])
@CLOCKS
def test_a_death_from_before_a_restart_counts_as_heard_at_the_start(after, is_late, sent_ms):
    heard = stopped(after_its_death())
    rows = heard.feed(birth(timestamp=sent_ms), now=1000.0 + after)
    assert bool(rows) is not is_late
    assert bool(heard.tick(1000.0 + LATE)) is is_late
    assert numbers(heard.feed(data(1), now=1700.0)) == [1]


def test_a_restart_does_not_ask_the_wall_clock_how_long_ago_a_death_was():
    before = listening(birth(), death(received_us=ARRIVED + HOUR_MS * 1000))
    heard = stopped(before)
    assert heard.feed(birth(received_us=ARRIVED), now=1000.0 + LATE)
