"""Aliases behind a gap, in which a birth may be missing (docs/decoding.md)."""

from support.columnar import change, message, metric, tag
from support.listener import (
    DEVICE_BIRTH,
    LATER,
    TIMEOUT,
    Listener,
    bd_seq,
    birth,
    data,
    death,
    level,
    level_named,
    named,
    numbers,
    reasons,
    remembered,
)

UNSEEN = ["alias_of_unseen_birth"]
AGAIN = birth(timestamp=LATER)
FORMER_BIRTH = message("NBIRTH", bd_seq(1), tag("Sine", 0))
OTHER_BIRTH = message("NBIRTH", tag("Sine", 0), tag("Ramp", 4), timestamp=LATER)


def ask(heard):
    heard.fleet.absence.asked("Plant", "Edge")


def answering(*messages, moves=True, **options):
    """A listener whose node has answered a rebirth request, and then sent these messages.

    `moves`: it has given aliases anew before.
    """
    heard = Listener(**options)
    if moves:
        heard.feed(FORMER_BIRTH)
    heard.feed(birth())
    ask(heard)
    heard.feed(birth(), *messages)
    return heard


def wait(heard, since, until):
    """Let seconds pass, one by one: what stands still hears nothing."""
    for now in range(since, until):
        heard.tick(float(now))


def behind_a_gap(*messages, **options):
    """The same, when nobody waits for the missing messages any more."""
    heard = answering(*messages, **options)
    heard.tick(TIMEOUT)
    return heard


def test_what_has_an_alias_alone_waits_for_the_birth_that_is_asked_for():
    heard = behind_a_gap(data(2))
    assert heard.rebirths == ["sequence_gap"]
    assert not numbers(heard.rows)
    heard.feed(data(3), named(4), now=3.0)
    assert numbers(heard.rows) == [4]
    assert numbers(heard.feed(AGAIN, now=4.0)) == [2, 3]
    assert numbers(heard.feed(data(1), now=5.0)) == [1]
    assert not reasons(heard)
    assert heard.counts == {"sequence_gap": 1}


def test_it_is_no_value_of_a_tag_that_it_may_never_have_been():
    heard = behind_a_gap(data(2))
    assert not numbers(heard.feed(OTHER_BIRTH, now=3.0))
    assert reasons(heard) == UNSEEN


def test_a_birth_of_a_device_that_was_lost_puts_nothing_under_its_former_tags():
    heard = behind_a_gap(DEVICE_BIRTH, level(3), level_named(4))
    assert numbers(heard.rows) == [4]
    flow = message("DBIRTH", tag("Flow", 1), tag("Level", 2), seq=1)
    assert not numbers(heard.feed(AGAIN, flow, now=3.0))
    assert reasons(heard) == UNSEEN


def test_a_birth_of_the_device_tells_of_the_device_and_of_nothing_else():
    heard = behind_a_gap(DEVICE_BIRTH, level(3), data(4), message("DBIRTH", tag("Level", 1), seq=5))
    assert numbers(heard.rows) == [3]
    heard.feed(level(6), data(7), now=3.0)
    assert numbers(heard.rows) == [3, 6]
    assert numbers(heard.feed(AGAIN, now=4.0)) == [4, 7]


def test_what_waited_when_the_next_birth_came_is_read_by_both():
    for follows, read in ((AGAIN, [2]), (OTHER_BIRTH, [])):
        heard = answering(data(2))
        assert numbers(heard.feed(follows)) == read
        assert reasons(heard) == ([] if read else UNSEEN)


def test_the_death_of_the_node_does_not_end_it():
    heard = answering(data(2))
    heard.feed(message("DDATA", change(1, 9.0), seq=3), death(), now=1.0)
    assert numbers(heard.feed(birth(bd=2, timestamp=LATER), now=20.0)) == [2]
    assert reasons(heard) == ["session_ended"]


def test_a_node_that_leaves_the_request_unanswered_is_waited_for_a_minute_only():
    heard = behind_a_gap(data(2))
    ask(heard)
    wait(heard, 2, 60)
    heard.feed(data(3), now=60.0)
    assert not numbers(heard.rows)
    ask(heard)
    wait(heard, 60, 63)
    assert numbers(heard.feed(data(4), now=63.0)) == [4]
    heard.feed(data(6), now=64.0)
    assert numbers(heard.tick(64.0 + TIMEOUT)) == [6]  # it is not known to answer any more
    heard.tick(700.0)
    assert reasons(heard) == UNSEEN * 2


def test_a_node_that_was_not_asked_yet_is_waited_for():
    heard = behind_a_gap(data(2))
    wait(heard, 2, 120)
    heard.feed(data(3), now=120.0)
    assert not numbers(heard.rows)
    ask(heard)
    assert numbers(heard.feed(AGAIN, now=121.0)) == [2, 3]


def test_what_comes_late_without_reason_waits_too_before_it_is_known_to_be_a_gap():
    """A birth that began to count anew was lost: that is what the next one tells."""
    for follows, read in ((birth(timestamp=LATER + 9), [0, 201]), (OTHER_BIRTH, [0])):
        heard = answering()
        heard.feed(named(0, timestamp=LATER), data(201, timestamp=LATER), now=1.0)
        assert numbers(heard.rows) == [0]
        heard.feed(follows, now=2.0)
        assert numbers(heard.rows) == read


def test_it_is_not_waited_for_a_node_that_never_answered():
    heard = Listener()
    heard.feed(FORMER_BIRTH, birth(), data(2))
    heard.tick(TIMEOUT)
    assert numbers(heard.rows) == [2]


def test_nor_of_a_node_whose_births_have_always_agreed():
    heard = answering(data(2), moves=False)
    assert numbers(heard.tick(TIMEOUT)) == [2]


def test_nor_by_a_passive_host():
    assert numbers(behind_a_gap(data(2), passive=True).rows) == [2]


def test_what_waits_is_kept_over_a_restart():
    before = behind_a_gap(data(2))
    later = before.restarted(remembered(before), before.fleet.memory.held())
    assert numbers(later.feed(AGAIN)) == [2]


def test_a_message_with_names_and_aliases_is_read_in_two_parts():
    both = message("NDATA", change(0, 1.0), metric("Ramp", double_value=2.0), seq=2)
    heard = behind_a_gap(both)
    assert numbers(heard.rows) == [2]
    assert numbers(heard.feed(AGAIN, now=3.0)) == [1]
