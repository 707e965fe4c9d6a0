"""Aliases of before a birth: what they stand for, and when nobody knows (docs/decoding.md)."""

import pytest
from oracle.messages import SENT_MS
from support.columnar import change, message, metric, tag
from support.listener import (
    BIRTH,
    DEVICE_BIRTH,
    EARLIER,
    LATER,
    TIMEOUT,
    Listener,
    birth,
    data,
    death,
    level,
    listening,
    named,
    numbers,
    reasons,
    remembered,
)

from sparkplug.datatypes import DataType
from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_pb2 import Payload

UNSEEN = ["alias_of_unseen_birth"]
OTHER_BIRTH = message("NBIRTH", tag("Sine", 0), tag("Ramp", 4), timestamp=LATER)
OTHER_TAGS = (tag("Flow", 1), tag("Level", 2))
OTHER_LEVEL = message("DBIRTH", *OTHER_TAGS, seq=1)


def again():
    return message("NBIRTH", tag("Ramp", 0), timestamp=LATER)


def aliases(letter):
    return [metric.alias for metric in Payload.FromString(letter.payload).metrics]


def cut_off(*messages):
    """A node in a session, and the connection to its server lost and made again."""
    heard = listening(*messages)
    heard.connection_lost()
    return heard


# Of a node


def test_data_of_a_stranger_is_read_by_name_and_never_by_a_number_of_the_birth_that_follows():
    heard = listening(data(1, timestamp=EARLIER), named(2, timestamp=EARLIER))
    assert numbers(heard.feed(BIRTH)) == [2]
    assert reasons(heard) == UNSEEN


def test_what_is_given_up_has_only_the_metrics_that_nobody_knows():
    mixed = message("NDATA", change(0, 1.0), metric("Ramp", double_value=2.0), timestamp=EARLIER)
    heard = listening(mixed)
    assert numbers(heard.feed(BIRTH)) == [2]
    [(letter, _)] = heard.dead_letters
    assert aliases(letter) == [0]


def test_an_alias_that_the_births_on_both_sides_give_to_one_metric_is_known():
    heard = cut_off(birth())
    heard.feed(data(7))
    assert numbers(heard.feed(birth(timestamp=LATER))) == [7]
    assert not reasons(heard)


def test_an_alias_that_they_give_to_two_metrics_is_not():
    heard = cut_off(BIRTH)
    heard.feed(data(7), named(8))
    assert numbers(heard.feed(OTHER_BIRTH)) == [8]
    assert reasons(heard) == UNSEEN


def test_nor_is_one_that_they_give_to_two_datatypes():
    heard = cut_off(BIRTH)
    heard.feed(data(7))
    integer = metric("Ramp", DataType.Int32, alias=0, int_value=1)
    assert not numbers(heard.feed(message("NBIRTH", integer, timestamp=LATER)))
    assert reasons(heard) == UNSEEN


def test_nor_is_one_that_only_one_of_them_has():
    heard = cut_off(message("NBIRTH", tag("Ramp", 0), tag("Sine", 5)))
    heard.feed(message("NDATA", change(5, 1.0), change(9, 1.0), change(0, 3.0), seq=7))
    both = message("NBIRTH", tag("Ramp", 0), tag("Cosine", 9), timestamp=LATER)
    assert numbers(heard.feed(both)) == [3]
    [(letter, _)] = heard.dead_letters
    assert aliases(letter) == [5, 9]


def test_the_next_births_of_the_node_are_not_asked():
    """Only the neighbours tell: three births later the number may be back."""
    heard = cut_off(BIRTH)
    heard.feed(data(7))
    heard.feed(OTHER_BIRTH, birth(timestamp=LATER), birth(timestamp=LATER))
    assert not numbers(heard.rows)
    assert reasons(heard) == UNSEEN


def test_an_alias_in_order_that_the_birth_lacks_is_not_found_in_the_next():
    heard = listening(BIRTH, message("NDATA", change(4, 1.0), seq=1))
    assert heard.rebirths == ["unknown_alias"]
    assert not numbers(heard.feed(OTHER_BIRTH))
    assert reasons(heard) == UNSEEN


def test_after_a_birth_that_could_not_be_read_the_one_before_it_counts():
    heard = listening(BIRTH)
    heard.feed(Message(BIRTH.topic, b"\xff", BIRTH.received_us), data(1), named(2))
    assert numbers(heard.feed(birth(timestamp=LATER))) == [1, 2]
    heard.feed(Message(BIRTH.topic, b"\xff", BIRTH.received_us), data(3), named(4))
    assert numbers(heard.feed(OTHER_BIRTH)) == [4]
    assert reasons(heard) == UNSEEN


def test_after_a_death_the_birth_before_it_counts():
    heard = listening(birth(bd=1), death(bd=1), data(5))
    assert numbers(heard.feed(birth(bd=2, timestamp=LATER), now=5.0)) == [5]


def test_what_was_sent_after_the_birth_is_read_by_it():
    heard = listening(data(1, timestamp=LATER))
    assert numbers(heard.feed(BIRTH)) == [1]


# Of a device


def test_data_of_a_device_is_not_read_by_a_birth_that_was_sent_after_it():
    heard = listening(BIRTH, level(1))
    assert not numbers(heard.feed(message("DBIRTH", tag("Level", 1), seq=2)))
    assert reasons(heard) == UNSEEN


@pytest.mark.parametrize(("follows", "read"), [(DEVICE_BIRTH, [3.0]), (OTHER_LEVEL, [])])
def test_after_the_death_of_the_device_both_births_must_agree(follows, read):
    heard = listening(BIRTH, DEVICE_BIRTH, message("DDEATH", seq=2), level(3))
    payload = Payload.FromString(follows.payload)
    payload.seq = 4
    rows = heard.feed(follows._replace(payload=payload.SerializeToString()))
    assert numbers(rows) == read
    assert reasons(heard) == ([] if read else UNSEEN)


@pytest.mark.parametrize(("follows", "read"), [(DEVICE_BIRTH, [2.0]), (OTHER_LEVEL, [])])
def test_after_a_birth_of_the_node_both_births_of_the_device_must_agree(follows, read):
    heard = listening(BIRTH, DEVICE_BIRTH, again(), level(2))
    heard.tick(TIMEOUT)  # its own birth was lost
    heard.feed(again())
    assert numbers(heard.feed(follows)) == read
    assert reasons(heard) == ([] if read else UNSEEN)


def test_another_device_and_the_node_itself_have_no_say():
    node = message("NBIRTH", tag("Ramp", 0), tag("Spare", 9))
    heard = listening(node, message("DDATA", change(9, 1.0), seq=1))
    heard.feed(message("DBIRTH", tag("Level", 1), seq=2))
    assert reasons(heard) == UNSEEN


# A birth of a device that comes late


def test_a_late_birth_that_is_next_before_the_data_explains_it():
    heard = listening(BIRTH, level(2), level(3))
    heard.tick(TIMEOUT)
    assert heard.gaps == [(1, 1, "open")]
    assert numbers(heard.feed(DEVICE_BIRTH, now=3.0)) == [2, 3]
    assert not reasons(heard)


def test_data_that_comes_late_itself_is_explained_by_a_birth_before_it():
    heard = listening(BIRTH, data(3))
    heard.tick(TIMEOUT)
    heard.feed(level(2), now=3.0)
    assert numbers(heard.feed(DEVICE_BIRTH, now=4.0)) == [2]


def test_a_birth_with_a_hole_behind_it_explains_nothing():
    heard = listening(BIRTH, level(3))
    heard.tick(TIMEOUT)
    assert not numbers(heard.feed(DEVICE_BIRTH, now=3.0))
    assert reasons(heard) == UNSEEN


def test_nor_does_one_explain_what_is_older_by_its_time():
    """Of a session before, whose seq happens to stand behind the birth."""
    heard = listening(BIRTH, level(2, timestamp=EARLIER))
    heard.tick(TIMEOUT)
    assert not numbers(heard.feed(DEVICE_BIRTH, now=3.0))
    assert reasons(heard) == UNSEEN


def test_a_hole_that_was_filled_meanwhile_is_none():
    heard = listening(BIRTH, level(3))
    heard.tick(TIMEOUT)
    heard.feed(data(2), now=3.0)
    assert numbers(heard.feed(DEVICE_BIRTH, now=4.0)) == [3]


def test_a_hole_before_the_birth_does_no_harm():
    heard = listening(BIRTH, level(3))
    heard.tick(TIMEOUT)
    late = message("DBIRTH", tag("Level", 1), seq=2)
    assert numbers(heard.feed(late, now=3.0)) == [3]


def test_a_later_gap_before_the_data_is_a_hole():
    heard = listening(BIRTH, data(2))
    heard.tick(TIMEOUT)
    heard.feed(level(4), now=3.0)
    heard.tick(3.0 + TIMEOUT)
    assert not numbers(heard.feed(DEVICE_BIRTH, now=6.0))
    assert reasons(heard) == UNSEEN


def test_a_late_birth_from_behind_the_data_explains_nothing():
    """Both waited in the window: the birth is later than the data by its seq."""
    heard = listening(BIRTH, level(2), data(4))
    heard.tick(TIMEOUT)
    assert not numbers(heard.feed(message("DBIRTH", tag("Level", 1), seq=3), now=3.0))
    assert reasons(heard) == UNSEEN


def test_data_of_the_session_before_is_not_explained_by_a_late_birth_of_this_one():
    heard = listening(BIRTH, level(1), again(), data(2))
    heard.tick(TIMEOUT)
    heard.feed(DEVICE_BIRTH, now=3.0)
    assert numbers(heard.rows) == [2]
    assert reasons(heard) == UNSEEN


# What comes late


def test_a_late_message_from_before_the_birth_is_not_read_by_the_numbers_of_the_birth():
    heard = listening(BIRTH, data(1, timestamp=EARLIER), OTHER_BIRTH)
    heard.feed(data(200), named(201))
    assert numbers(heard.rows) == [1, 201]
    assert reasons(heard) == UNSEEN


def test_nor_is_one_without_a_time_or_of_a_session_that_nobody_heard():
    heard = listening(BIRTH)
    heard.feed(data(200, timestamp=None), data(201, timestamp=EARLIER))
    assert not numbers(heard.rows)
    assert reasons(heard) == UNSEEN * 2


def test_it_is_read_if_the_last_two_births_agree():
    heard = listening(birth(), birth(timestamp=LATER))
    assert numbers(heard.feed(data(200))) == [200]
    assert not reasons(heard)


def test_or_if_it_was_sent_after_the_birth_by_its_time():
    heard = listening(BIRTH)
    assert numbers(heard.feed(data(200, timestamp=LATER))) == [200]


@pytest.mark.parametrize("timestamp", [None, SENT_MS, LATER])
def test_one_without_seq_is_not_late_unless_its_time_says_so(timestamp):
    heard = listening(BIRTH)

    def unnumbered(value, at_ms):
        return message("NDATA", change(0, value), seq=None, timestamp=at_ms)

    assert numbers(heard.feed(unnumbered(7.0, timestamp))) == [7]
    heard.feed(unnumbered(8.0, EARLIER))
    assert numbers(heard.rows) == [7]
    assert reasons(heard) == UNSEEN


def test_what_was_missing_before_a_birth_of_the_device_is_not_read_by_it():
    heard = listening(BIRTH, DEVICE_BIRTH, message("DBIRTH", *OTHER_TAGS, seq=3))
    heard.tick(TIMEOUT)
    heard.feed(level(2), now=3.0)
    assert not numbers(heard.rows)
    assert reasons(heard) == UNSEEN


def test_what_was_missing_behind_it_is():
    heard = listening(BIRTH, DEVICE_BIRTH, message("DBIRTH", *OTHER_TAGS, seq=2), level(4))
    heard.tick(TIMEOUT)
    heard.feed(level(3), now=3.0)
    assert numbers(heard.rows) == [3, 4]


def test_what_was_missing_in_a_gap_before_that_of_the_birth_is_not_read_by_it():
    heard = listening(BIRTH, DEVICE_BIRTH, data(3))
    heard.tick(TIMEOUT)
    heard.feed(message("DBIRTH", *OTHER_TAGS, seq=5), now=3.0)
    heard.tick(3.0 + TIMEOUT)
    heard.feed(level(2), now=6.0)
    assert numbers(heard.rows) == [3]
    assert reasons(heard) == UNSEEN


def test_a_birth_that_came_late_without_reason_tells_not_what_was_sent_after_it():
    heard = listening(BIRTH)
    heard.feed(message("DBIRTH", *OTHER_TAGS, seq=200), data(1), data(3))
    heard.tick(TIMEOUT)
    heard.feed(level(2), now=3.0)
    assert numbers(heard.rows) == [1, 3]
    assert reasons(heard) == UNSEEN


def test_after_a_restart_only_the_birth_of_the_node_is_known_to_be_before_its_gaps():
    before = listening(birth(timestamp=EARLIER), DEVICE_BIRTH, data(3))
    before.tick(TIMEOUT)
    gaps = [change.gap for change in before.changes]
    later = before.restarted(remembered(before))
    later.fleet.memory.restore_gaps(gaps, {})
    later.feed(data(4), level(2))
    assert numbers(later.rows) == [4]
    assert reasons(later) == UNSEEN


def test_a_birth_that_is_taken_in_twice_at_a_start_is_not_the_one_before_itself():
    """So are those of nodes whose devices come first on disk."""
    before = listening(BIRTH, DEVICE_BIRTH)
    later = before.restarted(remembered(before)[::-1])
    later.feed(named(2), data(200))
    assert numbers(later.rows) == [2]
    assert reasons(later) == UNSEEN


def test_a_name_that_a_late_message_has_and_no_birth_is_asked_for_as_always():
    heard = listening(BIRTH)
    heard.feed(message("NDATA", metric("New", double_value=1.0), change(0, 2.0), seq=200))
    assert heard.rebirths == ["unknown_metric"]
    assert reasons(heard) == UNSEEN
    [(letter, _)] = heard.dead_letters
    assert aliases(letter) == [0]


# What is known from disk, and from the server


def test_what_was_held_before_a_restart_is_read_by_births_that_agree():
    before = cut_off(birth())
    before.feed(data(7))
    for follows, read in ((birth(timestamp=LATER), [7]), (OTHER_BIRTH, [])):
        later = before.restarted(remembered(before), before.fleet.memory.held())
        assert numbers(later.feed(follows)) == read
        assert reasons(later) == ([] if read else UNSEEN)


@pytest.mark.parametrize(("follows", "read"), [(again(), [7.0]), (OTHER_BIRTH, [])])
def test_a_kept_birth_is_the_one_before(follows, read):
    heard = Listener()
    kept = message("NBIRTH", tag("Ramp", 0), timestamp=SENT_MS - 60_000)
    heard.fleet.memory.warm_start([kept._replace(topic=CERTIFICATE_PREFIX + kept.topic)], 0.0)
    heard.feed(data(7, timestamp=EARLIER))
    assert numbers(heard.feed(follows)) == read
    assert reasons(heard) == ([] if read else UNSEEN)


def test_of_a_kept_birth_that_is_taken_in_meanwhile_all_three_must_agree():
    """It may have been sent after the data: then it is no neighbour on the earlier side."""
    heard = cut_off(BIRTH)
    heard.feed(data(7), message("NDATA", change(4, 8.0), seq=8))
    kept = OTHER_BIRTH._replace(topic=CERTIFICATE_PREFIX + OTHER_BIRTH.topic)
    heard.fleet.memory.warm_start([kept], 1.0)
    last = message("NBIRTH", tag("Sine", 0), tag("Ramp", 4), timestamp=LATER + 1)
    assert not numbers(heard.feed(last))
    assert reasons(heard) == UNSEEN * 2
