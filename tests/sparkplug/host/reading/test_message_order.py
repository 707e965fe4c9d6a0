"""In which order messages are read (docs/decoding.md; specification 5, Message Ordering)."""

import pytest
from oracle.messages import ARRIVED
from support.columnar import change, message, metric, tag
from support.listener import (
    BIRTH,
    DEVICE_BIRTH,
    EARLIER,
    LATER,
    TIMEOUT,
    Listener,
    bd_seq,
    data,
    level,
    listening,
    numbers,
    told,
)

from sparkplug.datatypes import DataType

MEBIBYTE = 1024 * 1024


def torn(verb, seq):
    """A message in an envelope that does not open; its seq can still be read."""
    envelope = b"\x18" + bytes([seq]) + b"\x22\x12SPBV1.0_COMPRESSED\x2a\x03bad"
    return message(verb, seq=seq)._replace(payload=envelope)


# What is missing comes in time


@pytest.mark.parametrize("order", [(2, 1), (2, 3, 1), (3, 2, 1), (2, 4, 3, 1), (4, 1, 3, 2)])
def test_messages_in_disorder_are_read_in_order_of_seq_without_a_rebirth(order):
    """operational-behavior-host-reordering-success."""
    heard = listening(BIRTH)
    for seq in order:
        heard.feed(data(seq), now=0.1)
    assert numbers(heard.rows) == sorted(order)
    assert not heard.tick(100.0)
    assert not heard.counts
    assert not heard.rebirths
    assert not heard.gaps


def test_messages_in_disorder_within_a_batch_are_read_in_order_of_seq():
    heard = listening(BIRTH)
    assert numbers(heard.feed(*map(data, (3, 1, 5, 4, 2)))) == [1, 2, 3, 4, 5]
    assert not heard.counts


def test_messages_are_brought_in_order_over_the_end_of_seq():
    heard = listening(message("NBIRTH", tag("Ramp", 0), seq=253))
    rows = heard.feed(*(data(seq) for seq in (255, 1, 0, 254)))
    assert sorted(row["seq"] for row in rows) == [0, 1, 254, 255]
    assert not heard.counts


def test_what_a_message_in_disorder_means_is_decided_by_its_place_in_seq():
    heard = listening(BIRTH, DEVICE_BIRTH)
    rows = heard.feed(
        message("DDATA", change(7, 4.0), seq=4),
        message("DDATA", change(7, 3.0), seq=3, device="Fan"),
        message("DBIRTH", tag("Speed", 7), seq=2, device="Fan"),
    )
    assert told(rows) == {
        ("DBIRTH", "Fan/Speed", 0.0),
        ("DDATA", "Fan/Speed", 3.0),
        ("DDATA", "Fan/Speed", 4.0),
    }
    assert not heard.counts


def test_rows_are_numbered_in_the_order_in_which_messages_are_read():
    heard = listening(BIRTH)
    rows = heard.feed(data(2), data(1))
    assert [(row["seq"], row["arrival_number"]) for row in rows] == [(1, 2), (2, 3)]


def test_a_message_that_waited_keeps_its_own_time_of_arrival():
    heard = listening(BIRTH)
    heard.feed(data(2, received_us=ARRIVED + 5))
    rows = heard.feed(data(1, received_us=ARRIVED + 9), now=1.0)
    assert {(row["seq"], row["ingestion_timestamp"]) for row in rows} == {
        (1, ARRIVED + 9),
        (2, ARRIVED + 5),
    }


def test_a_message_waits_for_what_is_missing_and_other_nodes_do_not():
    """operational-behavior-host-reordering-start."""
    heard = listening(BIRTH, message("NBIRTH", tag("Ramp", 0), node="Other"))
    rows = heard.feed(data(2), data(1, node="Other"), data(2, node="Other"))
    assert [row["edge_node_id"] for row in rows] == ["Other", "Other"]
    assert not heard.counts
    assert numbers(heard.tick(TIMEOUT)) == [2]


def test_births_and_deaths_of_devices_are_brought_in_order_too():
    heard = listening(BIRTH)
    rows = heard.feed(
        message("DDEATH", seq=4, timestamp=LATER),
        level(3, 3),
        level(2, 2),
        DEVICE_BIRTH,
    )
    assert told(rows) == {
        ("DBIRTH", "Boiler/Level", 0.0),
        ("DDATA", "Boiler/Level", 2.0),
        ("DDATA", "Boiler/Level", 3.0),
        ("DDEATH", "Boiler/Level", None),
    }
    assert not heard.counts


def test_a_message_that_waits_already_is_dropped_when_it_comes_again():
    heard = listening(BIRTH)
    rows = heard.feed(data(2), data(2), data(1))
    assert numbers(rows) == [1, 2]
    assert heard.counts == {"duplicate": 1}


# What is missing does not come


def test_after_the_timeout_a_rebirth_is_requested_once_and_all_is_read_in_order():
    """operational-behavior-host-reordering-rebirth."""
    heard = listening(BIRTH)
    assert not heard.feed(data(7), data(3), data(4), now=1.0)
    assert not heard.tick(1.0 + TIMEOUT - 0.01)
    assert not heard.rebirths
    assert numbers(heard.tick(1.0 + TIMEOUT)) == [3, 4, 7]
    assert heard.rebirths == ["sequence_gap"]
    assert heard.counts == {"sequence_gap": 1}


@pytest.mark.parametrize("seconds", [0.5, 2.0, 30.0])
def test_the_timeout_is_configurable(seconds):
    """operational-behavior-host-reordering-param."""
    heard = listening(BIRTH, reorder_timeout=seconds)
    heard.feed(data(2), now=10.0)
    assert not heard.tick(10.0 + seconds * 0.99)
    assert numbers(heard.tick(10.0 + seconds)) == [2]


def test_the_timeout_runs_from_the_oldest_message_that_waits():
    heard = listening(BIRTH)
    heard.feed(data(3), now=0.0)
    heard.feed(data(2), now=1.5)
    assert numbers(heard.tick(TIMEOUT)) == [2, 3]


def test_the_timeout_begins_anew_when_another_message_is_the_oldest():
    heard = listening(BIRTH)
    heard.feed(data(2), now=0.0)
    heard.feed(data(4), now=1.0)
    assert numbers(heard.feed(data(1), now=1.5)) == [1, 2]
    assert not heard.tick(2.5)
    assert numbers(heard.tick(3.0)) == [4]
    assert heard.gaps == [(3, 1, "open")]


def test_the_timeout_passes_while_messages_come_too():
    heard = listening(BIRTH, message("NBIRTH", tag("Ramp", 0), node="Other"))
    heard.feed(data(2))
    assert numbers(heard.feed(data(1, 11.0, node="Other"), now=TIMEOUT)) == [2, 11]


def test_all_holes_together_are_one_gap():
    heard = listening(BIRTH)
    heard.feed(data(3), data(7))
    heard.tick(TIMEOUT)
    assert heard.gaps == [(1, 5, "open")]
    assert heard.counts == {"sequence_gap": 1}


def test_after_a_gap_the_seq_after_the_last_message_is_expected():
    heard = listening(BIRTH)
    heard.feed(data(3), data(7))
    heard.tick(TIMEOUT)
    assert numbers(heard.feed(data(8), now=3.0)) == [8]
    assert heard.counts == {"sequence_gap": 1}


def test_messages_of_one_seq_and_other_payloads_are_all_read():
    heard = listening(BIRTH)
    heard.feed(data(3, 31), data(3, 32), data(2, 2))
    assert numbers(heard.tick(TIMEOUT)) == [2, 31, 32]


def test_without_a_timeout_nothing_waits():
    heard = listening(BIRTH, reorder_timeout=0.0)
    assert numbers(heard.feed(data(3), data(4))) == [3, 4]
    assert heard.gaps == [(1, 2, "open")]
    assert heard.rebirths == ["sequence_gap"]


def test_too_many_waiting_messages_are_read_at_once():
    heard = listening(BIRTH)
    assert not heard.feed(*(data(2, n) for n in range(256)))
    assert numbers(heard.feed(data(2, 256))) == list(range(257))
    assert heard.gaps == [(1, 1, "open")]


def test_too_large_waiting_messages_are_read_at_once():
    heard = listening(message("NBIRTH", metric("Text", DataType.String, alias=0)))
    text = metric(alias=0, string_value="x" * (8 * MEBIBYTE))
    assert not heard.feed(message("NDATA", text, seq=2))
    assert len(heard.feed(message("NDATA", text, seq=3))) == 2
    assert heard.gaps == [(1, 1, "open")]


# Births and deaths of the node


def test_what_waits_and_is_older_than_a_birth_is_read_before_it_without_a_request():
    heard = listening(BIRTH)
    heard.feed(data(3, timestamp=EARLIER), data(2, timestamp=EARLIER))
    rows = heard.feed(message("NBIRTH", tag("Ramp", 0, 50.0), seq=40))
    assert told(rows) == {("NDATA", "Ramp", 2.0), ("NDATA", "Ramp", 3.0), ("NBIRTH", "Ramp", 50.0)}
    assert heard.counts == {"sequence_gap": 1}
    assert not heard.rebirths
    assert [(seq, how) for seq, _, how in heard.gaps] == [(1, "open"), (1, "rebirth_snapshot")]


def test_what_waits_and_is_not_older_than_a_birth_belongs_to_the_session_it_begins():
    heard = listening(BIRTH)
    heard.feed(data(42, timestamp=LATER), data(41))
    rows = heard.feed(message("NBIRTH", tag("Ramp", 0, 50.0), seq=40))
    assert told(rows) == {
        ("NBIRTH", "Ramp", 50.0),
        ("NDATA", "Ramp", 41.0),
        ("NDATA", "Ramp", 42.0),
    }
    assert not heard.counts


def test_what_waits_since_the_millisecond_of_a_birth_and_does_not_count_on_from_it_is_older():
    heard = listening(BIRTH)
    heard.feed(data(43), data(41))
    rows = heard.feed(message("NBIRTH", tag("Sine", 0, 50.0), seq=40))
    assert told(rows) == {
        ("NDATA", "Ramp", 43.0),
        ("HOST", "Ramp", None),
        ("NBIRTH", "Sine", 50.0),
        ("NDATA", "Sine", 41.0),
    }
    assert numbers(heard.feed(data(42))) == [42]
    assert not heard.rebirths


def test_aliases_of_what_waits_are_those_of_its_own_session():
    heard = listening(BIRTH)
    heard.feed(data(2, timestamp=EARLIER), data(41, timestamp=LATER))
    rows = heard.feed(message("NBIRTH", tag("Sine", 0, 50.0), seq=40))
    assert told(rows) == {
        ("NDATA", "Ramp", 2.0),
        ("HOST", "Ramp", None),
        ("NBIRTH", "Sine", 50.0),
        ("NDATA", "Sine", 41.0),
    }


def test_what_waits_and_has_no_time_is_read_before_a_birth():
    heard = listening(BIRTH)
    heard.feed(data(2, timestamp=None))
    rows = heard.feed(message("NBIRTH", tag("Sine", 0, 50.0)))
    assert told(rows) == {
        ("NDATA", "Ramp", 2.0),
        ("HOST", "Ramp", None),
        ("NBIRTH", "Sine", 50.0),
    }


def test_what_waits_is_read_before_the_death_of_the_node():
    heard = listening(message("NBIRTH", bd_seq(1), tag("Ramp", 0)))
    heard.feed(data(2))
    rows = heard.feed(message("NDEATH", bd_seq(1), seq=None))
    assert told(rows) == {("NDATA", "Ramp", 2.0), ("NDEATH", "Ramp", None)}
    assert heard.counts == {"sequence_gap": 1}
    assert not heard.rebirths


def test_the_death_of_another_session_leaves_alone_what_waits():
    heard = listening(message("NBIRTH", bd_seq(1), tag("Ramp", 0)))
    heard.feed(data(2))
    assert not heard.feed(message("NDEATH", bd_seq(0), seq=None))
    assert numbers(heard.feed(data(1))) == [1, 2]


def test_a_message_whose_envelope_does_not_open_keeps_its_place_in_the_order():
    heard = listening(BIRTH)
    assert numbers(heard.feed(data(3), torn("NDATA", 2), data(1))) == [1, 3]
    assert heard.counts == {"bad_envelope": 1}


def test_a_listener_that_hears_nothing_says_nothing():
    heard = Listener()
    assert not heard.tick(1000.0)
    assert not heard.counts


def test_a_birth_of_a_device_whose_envelope_does_not_open_ends_its_session_in_its_turn():
    heard = listening(BIRTH, DEVICE_BIRTH)
    rows = heard.feed(level(4, 4.0), torn("DBIRTH", 3), level(2, 2.0))
    assert numbers(rows) == [2]
    assert heard.counts == {"bad_envelope": 1, "device_data_before_birth": 1}


def test_a_device_lives_that_was_born_again_after_a_birth_that_cannot_be_read():
    heard = listening(BIRTH, DEVICE_BIRTH)
    rows = heard.feed(level(4, 4.0), message("DBIRTH", tag("Level", 1), seq=3), torn("DBIRTH", 2))
    assert numbers(rows) == [4]
    assert heard.counts == {"bad_envelope": 1}


def test_a_window_that_waits_is_not_read_early_because_counting_may_be_lost():
    """operational-behavior-host-reordering-start: the timer is that of what waits."""
    heard = listening(BIRTH)
    heard.feed(data(200), now=0.0)
    heard.feed(data(2), now=1.5)
    assert not heard.tick(TIMEOUT)
    assert numbers(heard.feed(data(1), now=3.0)) == [1, 2]
    assert not heard.rebirths


# The connection to the server


def test_what_waits_is_read_when_the_connection_is_lost():
    heard = listening(BIRTH)
    heard.feed(data(3))
    assert numbers(heard.connection_lost()) == [3]
    assert heard.gaps == [(1, 2, "open")]
    assert heard.rebirths == ["sequence_gap"]
