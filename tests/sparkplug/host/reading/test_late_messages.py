"""Messages that others have overtaken, and gaps (docs/decoding.md; specification 5)."""

import pytest
from oracle.messages import SENT_MS
from support.columnar import change, deaths, message, metric, tag
from support.listener import (
    BIRTH,
    DEVICE_BIRTH,
    EARLIER,
    LATER,
    TIMEOUT,
    data,
    level,
    listening,
    numbers,
)

SAID = (
    ("DBIRTH", [tag("Level", 1)], 0),
    ("DDATA", [metric("Level", double_value=1.0)], 1),
    ("DDATA", [metric("Level", double_value=2.0)], 2),
)
"""What each of some devices says, with its own seq."""


def test_a_message_that_comes_after_its_gap_is_read_and_counted():
    heard = listening(BIRTH)
    heard.feed(data(3))
    heard.tick(TIMEOUT)
    assert numbers(heard.feed(data(1), now=3.0)) == [1]
    assert heard.counts == {"sequence_gap": 1, "late": 1}
    assert numbers(heard.feed(data(4), now=3.0)) == [4]
    assert not heard.tick(100.0)
    assert heard.rebirths == ["sequence_gap"]


def test_a_gap_is_healed_when_the_last_missing_message_came():
    heard = listening(BIRTH)
    heard.feed(data(3))
    heard.tick(TIMEOUT)
    heard.feed(data(2), now=3.0)
    assert heard.gaps == [(1, 2, "open")]
    heard.feed(data(1), now=3.0)
    assert [(seq, how) for seq, _, how in heard.gaps] == [(1, "open"), (1, "late_arrival")]


def test_a_gap_is_healed_by_the_next_birth():
    heard = listening(BIRTH)
    heard.feed(data(3))
    heard.tick(TIMEOUT)
    heard.feed(BIRTH, now=3.0)
    assert [(seq, how) for seq, _, how in heard.gaps] == [(1, "open"), (1, "rebirth_snapshot")]
    heard.feed(BIRTH, now=4.0)
    assert len(heard.gaps) == 2


@pytest.mark.parametrize("batches_between", [0, 1, 2])
def test_a_message_that_was_read_lately_is_dropped_when_it_comes_again(batches_between):
    heard = listening(message("NBIRTH", tag("Ramp", 0), node="Other"), BIRTH)
    first = [data(1)] if batches_between else [data(1), data(1)]
    heard.feed(*first)
    for seq in range(1, batches_between):
        heard.feed(data(seq, node="Other"))
    if batches_between:
        assert not heard.feed(data(1))
    assert numbers(heard.rows)[-1] == 1
    assert heard.counts == {"duplicate": 1}


def test_a_message_with_an_old_seq_and_another_payload_is_no_duplicate():
    heard = listening(BIRTH)
    heard.feed(data(1))
    assert numbers(heard.feed(data(1, 99.0, timestamp=LATER), data(2))) == [2, 99]
    assert heard.counts == {"late": 1}


def test_equal_payloads_of_two_devices_are_two_messages():
    """Each counts seq for itself, and both say the same in the same millisecond."""
    first, second = (
        [message(verb, *tags, seq=seq, device=device) for verb, tags, seq in SAID]
        for device in ("First", "Second")
    )
    assert [each.payload for each in first] == [each.payload for each in second]
    heard = listening(BIRTH)
    for one, other in zip(first, second, strict=True):
        heard.feed(one, other)
    said = {(row["device_id"], row["message_type"], row["numeric_value"]) for row in heard.rows[1:]}
    assert said == {
        (device, verb, number)
        for device in ("First", "Second")
        for verb, number in (("DBIRTH", 0.0), ("DDATA", 1.0), ("DDATA", 2.0))
    }
    assert "duplicate" not in heard.counts


def test_equal_payloads_of_two_devices_that_wait_are_two_messages():
    births = [message("DBIRTH", tag("Level", 1), seq=2, device=name) for name in ("A", "B")]
    heard = listening(BIRTH)
    heard.feed(*births, births[0])
    assert heard.fleet.gauges.held_messages == 2
    assert heard.counts == {"duplicate": 1}
    heard.feed(data(1))
    assert [row["device_id"] for row in heard.rows[1:] if row["device_id"]] == ["A", "B"]
    assert heard.counts == {"duplicate": 1, "late": 1}


def test_of_a_node_whose_devices_count_for_themselves_no_message_is_dropped():
    devices = [f"Device {number}" for number in range(6)]
    sent = [message("NBIRTH", tag("Ramp", 0), seq=0)]
    for verb, tags, seq in SAID:
        sent += [message(verb, *tags, seq=seq, device=device) for device in devices]
    heard = listening(*sent)
    heard.tick(TIMEOUT)
    assert len(heard.rows) == 19
    assert not heard.dead_letters
    assert heard.fleet.gauges.held_messages == 0
    assert "duplicate" not in heard.counts


def test_after_many_batches_a_message_that_comes_again_is_late():
    heard = listening(BIRTH)
    for seq in range(1, 5):
        heard.feed(data(seq, timestamp=LATER))
    assert numbers(heard.feed(data(1, timestamp=LATER), data(5))) == [1, 5]
    assert heard.counts == {"late": 1}


def test_a_late_message_that_was_not_missed_and_is_followed_by_the_next_one_is_no_gap():
    heard = listening(BIRTH)
    heard.feed(data(200))
    heard.feed(data(1), now=1.0)
    heard.tick(100.0)
    assert heard.counts == {"late": 1}
    assert not heard.rebirths


def test_when_counting_begins_anew_without_a_birth_that_is_a_gap_after_the_timeout():
    heard = listening(message("NBIRTH", tag("Ramp", 0), seq=49))
    rows = heard.feed(*(data(seq, timestamp=LATER) for seq in range(3)), now=1.0)
    assert numbers(rows) == [0, 1, 2]
    assert not heard.rebirths
    heard.tick(1.0 + TIMEOUT)
    assert heard.gaps == [(50, (0 - 50) % 256, "open")]
    assert heard.rebirths == ["sequence_gap"]
    heard.feed(data(3), now=4.0)
    heard.tick(100.0)
    assert heard.counts == {"late": 3, "sequence_gap": 1}


def test_without_a_timeout_counting_that_begins_anew_is_a_gap_at_once():
    heard = listening(message("NBIRTH", tag("Ramp", 0), seq=49), reorder_timeout=0.0)
    assert numbers(heard.feed(data(0, timestamp=LATER), data(1))) == [0, 1]
    assert heard.counts == {"late": 1, "sequence_gap": 1}
    assert heard.rebirths == ["sequence_gap"]


def test_a_late_birth_of_a_living_device_is_read_as_data_by_its_names():
    heard = listening(BIRTH)
    heard.feed(message("DBIRTH", tag("Level", 5), seq=2))
    heard.tick(TIMEOUT)
    rows = heard.feed(message("DBIRTH", tag("Level", 7, 4.0), seq=1), now=3.0)
    assert [(row["metric_name"], row["numeric_value"]) for row in rows] == [("Level", 4.0)]
    rows = heard.feed(
        message("DDATA", change(5, 1.0), seq=3), message("DDATA", change(7, 2.0), seq=4), now=3.0
    )
    assert numbers(rows) == [1.0]
    assert heard.counts["unknown_alias"] == 1


def test_a_late_birth_without_metrics_changes_nothing():
    heard = listening(BIRTH)
    heard.feed(message("DBIRTH", tag("Level", 1), seq=2))
    heard.tick(TIMEOUT)
    late = message("DBIRTH", seq=1)
    assert not heard.feed(late, late, level(3), now=3.0)[1:]
    assert numbers(heard.rows) == [3]
    assert heard.counts == {"sequence_gap": 1, "late": 1, "duplicate": 1}


def test_a_late_birth_of_a_device_that_is_not_alive_is_a_birth():
    heard = listening(BIRTH)
    heard.feed(data(2))
    heard.tick(TIMEOUT)
    heard.feed(DEVICE_BIRTH, now=3.0)
    assert numbers(heard.feed(level(3, 1.0), now=3.0)) == [1.0]
    assert heard.counts == {"sequence_gap": 1, "late": 1}


@pytest.mark.parametrize(
    ("died_ms", "dies"), [(EARLIER, False), (SENT_MS, True), (LATER, True), (None, True)]
)
def test_a_late_death_of_a_device_counts_unless_its_birth_is_newer(died_ms, dies):
    heard = listening(BIRTH)
    heard.feed(message("DBIRTH", tag("Level", 1), seq=2, timestamp=SENT_MS))
    heard.tick(TIMEOUT)
    rows = heard.feed(message("DDEATH", seq=1, timestamp=died_ms), now=3.0)
    assert deaths(rows) == (["Boiler/Level"] if dies else [])
    assert heard.counts["death_of_other_session"] == (not dies)


def test_a_late_death_of_a_device_that_is_not_alive_is_counted_only():
    heard = listening(BIRTH)
    heard.feed(data(2))
    heard.tick(TIMEOUT)
    heard.feed(message("DDEATH", seq=1), now=3.0)
    assert heard.counts == {"sequence_gap": 1, "late": 1, "death_of_other_session": 1}
    assert heard.rebirths == ["sequence_gap"]


def test_only_the_last_gaps_of_a_node_are_known():
    heard = listening(BIRTH, reorder_timeout=0.0)
    heard.feed(*(data(seq) for seq in range(2, 2 + 2 * 17, 2)))
    assert [how for *_, how in heard.gaps].count("not_at_all") == 1
    assert [seq for seq, _, how in heard.gaps if how == "not_at_all"] == [1]
    heard.feed(data(3, 99.0))
    assert [seq for seq, _, how in heard.gaps if how == "late_arrival"] == [3]
