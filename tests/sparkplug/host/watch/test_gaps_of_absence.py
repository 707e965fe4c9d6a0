"""Gaps of which only a later session tells, because its birth was not heard (docs/gaps.md)."""

from __future__ import annotations

import pytest
from oracle.messages import SENT_MS
from support.columnar import message, metric, tag
from support.gap_accounts import SENT_US, Accounts, at, births_of
from support.listener import TIMEOUT, birth, data, death, remembered


def lost_in(session, *heard):
    """Session 4 was heard up to its seq 2; then the connection was lost, and so was what came."""
    accounts = Accounts(birth(bd=4), data(1), data(2))
    accounts.lost()
    accounts.feed(*heard)
    accounts.feed(birth(bd=session))
    return accounts


@pytest.mark.parametrize(("session", "missed"), [(5, 0), (6, 1), (3, 0)])
@pytest.mark.parametrize("seq", [0, 2, 40, 255])
def test_a_number_by_the_seq_of_another_session_is_taken_back(session, missed, seq):
    heard = lost_in(session, data(seq))
    [gap] = heard.gaps
    assert (gap.reason, gap.first, gap.count, gap.sessions) == ("away", 3, None, missed)
    assert gap.healing == "rebirth_snapshot"
    assert sum(change.missing for change in heard.changes) == 0
    assert [change.settled for change in heard.changes] == [0, 0]
    told = [(event.seq, event.missing, event.healing) for event in heard.events]
    assert told == [(3, (seq - 3) % 256, "open"), (3, None, "rebirth_snapshot")]


def test_a_number_is_settled_by_a_birth_of_the_same_session():
    heard = lost_in(4, data(40))
    assert heard.told() == [("away", 37, "rebirth_snapshot")]
    assert [(change.missing, change.settled) for change in heard.changes] == [(37, 0), (0, 37)]


def test_a_birth_without_bdseq_takes_no_number_back():
    heard = Accounts(birth(bd=4), data(1))
    heard.lost()
    heard.feed(data(40), message("NBIRTH", tag("Ramp", 0)))
    assert heard.told() == [("away", 38, "rebirth_snapshot")]


def test_a_number_stays_when_the_session_was_heard_to_end_after_it():
    heard = lost_in(5, data(40), death(4))
    assert heard.told() == [
        ("away", 37, "rebirth_snapshot"),
        ("session_end", None, "rebirth_snapshot"),
    ]


def test_a_number_is_taken_back_when_the_death_that_was_heard_is_another_ones():
    heard = lost_in(6, data(40), death(5))
    assert heard.told() == [("away", None, "rebirth_snapshot")]
    assert heard.gaps[0].sessions == 1


def test_a_number_is_taken_back_after_several_losses_of_the_connection():
    heard = Accounts(birth(bd=4), data(1))
    for seq in (30, 2, 90):
        heard.lost()
        heard.feed(data(seq))
    assert heard.told() == [("away", 28, "open")]
    heard.feed(birth(bd=7))
    assert heard.told() == [("away", None, "rebirth_snapshot")]
    assert heard.gaps[0].sessions == 2


def test_a_second_absence_before_the_birth_that_the_first_was_answered_with_has_no_number():
    heard = Accounts(birth(bd=4), data(1))
    heard.lost()
    heard.feed(data(30))
    heard.lost()
    heard.feed(data(90), birth(bd=4))
    assert heard.told() == [("away", 28, "rebirth_snapshot"), ("away", None, "rebirth_snapshot")]
    heard.feed(birth(bd=4))
    assert len(heard.gaps) == 2


def test_a_restart_before_the_birth_that_an_absence_was_answered_with_is_another_absence():
    first = Accounts(birth(bd=4), data(1))
    first.lost()
    first.feed(data(30))
    again = Accounts()
    again.fleet.memory.restore(births_of(first), first.fleet.memory.sequence_state())
    again.fleet.memory.restore_gaps(first.gaps, {})
    again.feed(data(90), birth(bd=4))
    assert first.told() == [("away", 28, "rebirth_snapshot")]
    assert again.told() == [("away", None, "rebirth_snapshot")]


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_second_absence_is_told_also_if_the_birth_that_was_asked_for_cannot_be_read(restarts):
    heard = Accounts(birth(bd=4), data(1))
    heard.lost()
    heard.feed(data(30))
    heard.lost()
    bad = message("NBIRTH")
    heard.feed(bad._replace(payload=b"{"))
    assert heard.told() == [("away", 28, "open")]
    memories = heard.memories
    for _ in range(restarts):
        again = Accounts()
        again.memories = memories
        again.fleet.memory.restore(remembered(again), heard.fleet.memory.sequence_state())
        again.fleet.memory.restore_gaps(heard.gaps, {})
        heard = again
    heard.feed(birth(bd=4))
    assert heard.told()[-1] == ("away", None, "rebirth_snapshot")


def test_a_number_that_is_taken_back_takes_with_it_what_history_came_for():
    heard = Accounts(birth(bd=4), at(1, 10))
    heard.lost()
    heard.feed(at(40, 90))
    heard.keep_on_the_server(birth(bd=5, timestamp=SENT_MS + 80))  # from here on names are read
    kept = metric("Ramp", timestamp=SENT_MS + 20, double_value=1.0, is_historical=True)
    heard.feed(message("NDATA", kept, seq=41))
    assert heard.told() == [("away", 38, "history_flush")]
    assert [change.flushed for change in heard.changes] == [0, 38]
    heard.feed(birth(bd=5, timestamp=SENT_MS + 500))
    assert heard.told() == [("away", None, "history_flush")]
    assert sum(change.flushed for change in heard.changes) == 0
    assert heard.events[-1].missing is None


@pytest.mark.parametrize(("session", "missed"), [(4, 0), (5, 0), (6, 1)])
@pytest.mark.parametrize("before", [[], [data(1), data(2)]])
def test_a_birth_first_after_the_connection_was_lost_is_a_gap_of_unknown_size(
    session, missed, before
):
    heard = Accounts(birth(bd=4), *before)
    heard.lost()
    heard.feed(birth(bd=session))
    assert heard.told() == [("away", None, "rebirth_snapshot")]
    assert heard.gaps[0].sessions == missed


def test_after_a_session_of_which_only_the_birth_was_heard_nothing_false_is_counted():
    heard = Accounts(birth(bd=4))
    heard.lost()
    heard.feed(data(17), birth(bd=5))
    assert heard.told() == [("away", None, "rebirth_snapshot")]


def test_the_end_of_a_session_that_its_node_seemed_to_continue_shows_in_the_next_birth():
    heard = lost_in(5, data(3), data(4))
    assert heard.told() == [("session_end", None, "rebirth_snapshot")]


def test_data_before_any_birth_was_sent_in_a_session_whose_beginning_nobody_heard():
    heard = Accounts(data(5), data(9))
    assert heard.gaps == []
    heard.feed(birth(bd=4, timestamp=SENT_MS + 50))
    assert heard.told() == [("away", None, "rebirth_snapshot")]
    assert (heard.gaps[0].from_us, heard.gaps[0].to_us) == (None, SENT_US + 50_000)
    heard.feed(birth(bd=4))
    assert len(heard.gaps) == 1


def test_where_counting_was_lost_is_told_by_the_clock_of_the_node_alone():
    """It is an hour behind that of the host; history of an hour later is not of this gap."""
    heard = Accounts(birth(seq=49), at(50, 500), at(0, 1000), at(1, 2000))
    heard.tick(1.0 + TIMEOUT)
    [gap] = heard.gaps
    assert (gap.from_us, gap.to_us) == (SENT_US + 500_000, SENT_US + 2_000_000)


def test_the_first_birth_of_a_node_is_no_gap():
    assert Accounts(birth(bd=4), data(1)).gaps == []


def test_data_before_any_birth_is_remembered_over_a_restart():
    first = Accounts(data(5))
    again = Accounts()
    again.fleet.memory.restore([], b"", first.fleet.memory.held())
    again.feed(birth(bd=4))
    assert again.told() == [("away", None, "rebirth_snapshot")]


def test_a_session_that_a_birth_nobody_could_read_had_ended_is_told_by_the_next():
    unreadable = message("NBIRTH", tag("", 0))
    for session, found in ((4, []), (5, ["session_end"]), (6, ["sessions_missed"])):
        heard = Accounts(birth(bd=4), data(1), unreadable, data(1), birth(bd=session))
        assert [gap.reason for gap in heard.gaps] == found


def test_a_birth_that_a_server_keeps_shows_a_session_that_was_not_listened_to():
    heard = Accounts()
    heard.keep_on_the_server(birth(bd=4))
    heard.feed(data(8))
    assert heard.gaps == []
    heard.feed(birth(bd=4))
    assert heard.told() == [("away", None, "rebirth_snapshot")]


def test_a_birth_in_the_millisecond_of_the_data_it_is_asked_for_by_makes_no_gap_of_its_own():
    heard = Accounts(birth(bd=4))
    heard.lost()
    heard.feed(at(36, 70), at(37, 70), at(38, 70))
    heard.feed(birth(bd=5, timestamp=SENT_MS + 70), at(1, 70), at(2, 80))
    heard.tick(TIMEOUT)
    assert heard.told() == [("away", None, "rebirth_snapshot")]


def test_an_absence_is_one_gap_whatever_is_heard_before_its_birth():
    """All that may follow on a loss of the connection; of each exactly one record."""
    for heard_first in ([], [data(40)], [data(40), data(41)], [data(9), death(7), data(1)]):
        for session in (5, 6, 9):
            heard = lost_in(session, *heard_first)
            assert [(gap.reason, gap.count) for gap in heard.gaps] == [("away", None)]
            assert heard.gaps[0].sessions == session - 5
