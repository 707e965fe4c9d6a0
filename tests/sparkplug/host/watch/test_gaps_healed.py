"""What heals a gap: history, late messages, and over a new start (docs/gaps.md)."""

from __future__ import annotations

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import message, tag
from support.gap_accounts import SENT_US, Accounts, at, births_of, history
from support.listener import TIMEOUT, bd_seq, birth, data, death

from sparkplug.gaps import Gap, GapReason


def gap_and_birth():
    """A gap from 10 to 40 ms, and the birth that it was answered with."""
    heard = Accounts(birth(), at(1, 10), at(4, 40))
    heard.tick(TIMEOUT)
    heard.feed(birth(timestamp=SENT_MS + 500), now=5.0)
    assert heard.told() == [("sequence_gap", 2, "rebirth_snapshot")]
    return heard


def test_history_from_within_a_gap_heals_it_after_the_birth_too():
    heard = gap_and_birth()
    heard.feed(history(1, 5, 20, 30, 41), now=5.0)
    assert heard.told() == [("sequence_gap", 2, "history_flush")]
    assert heard.gaps[0].history_rows == 2
    heard.feed(history(2, 10, 40), now=5.0)
    assert heard.gaps[0].history_rows == 4
    assert [event.healing for event in heard.events] == [
        "open",
        "rebirth_snapshot",
        "history_flush",
    ]
    assert len({(event.time_us, event.seq) for event in heard.events}) == 1


@pytest.mark.parametrize("milliseconds", [[], [9], [41], [-5, 1_000]])
def test_history_of_another_time_heals_nothing(milliseconds):
    heard = gap_and_birth()
    heard.feed(history(1, *milliseconds), now=5.0)
    assert heard.told() == [("sequence_gap", 2, "rebirth_snapshot")]


def test_present_values_of_times_within_a_gap_heal_nothing():
    heard = gap_and_birth()
    heard.feed(history(1, 20, 30, historical=False), now=5.0)
    assert heard.told() == [("sequence_gap", 2, "rebirth_snapshot")]


def test_history_of_one_node_does_not_heal_the_gap_of_another():
    heard = gap_and_birth()
    flush = history(1, 20, 30)
    other = flush._replace(topic=flush.topic.replace("Edge", "Other"))
    heard.feed(message("NBIRTH", tag("Ramp", 0), node="Other"), other, now=5.0)
    assert heard.told() == [("sequence_gap", 2, "rebirth_snapshot")]


def test_history_in_one_batch_heals_the_gaps_of_all_its_nodes():
    nodes = [f"Edge {number}" for number in range(5)]
    heard = Accounts(*(message("NBIRTH", tag("Ramp", 0), node=n) for n in nodes))
    heard.feed(*(at(2, 20 + 10 * n, node=node) for n, node in enumerate(nodes)))
    heard.tick(TIMEOUT)
    flush = history(3, 15, 25, 35, 45, 55)
    heard.feed(*(flush._replace(topic=flush.topic.replace("Edge", n)) for n in nodes), now=5.0)
    assert [gap.history_rows for gap in heard.gaps] == [1, 2, 3, 4, 5]


def test_what_a_node_kept_while_it_was_offline_heals_the_end_of_its_session():
    heard = Accounts(birth(bd=1), at(1, 10), death(1))
    heard.feed(birth(bd=2, timestamp=SENT_MS + 90), history(1, 20, 30, 40))
    assert heard.told() == [("session_end", None, "history_flush")]
    assert heard.gaps[0].history_rows == 3


def test_a_message_that_comes_late_counts_more_than_history():
    heard = Accounts(birth(), at(1, 10), at(3, 40))
    heard.tick(TIMEOUT)
    heard.feed(history(4, 20), now=5.0)
    assert heard.told() == [("sequence_gap", 1, "history_flush")]
    heard.feed(at(2, 20), now=6.0)
    assert heard.told() == [("sequence_gap", 1, "late_arrival")]
    assert sum(each.late for each in heard.changes) == 1
    assert sum(each.flushed for each in heard.changes) == 0


def test_changes_tell_what_they_were_about_even_when_more_followed_in_the_same_batch():
    heard = Accounts(birth(), reorder_timeout=0.0)
    heard.feed(at(3, 30), at(1, 10), at(2, 20))
    assert [(each.before, each.after, each.late) for each in heard.changes] == [
        (None, "open", 0),
        ("open", "open", 1),
        ("open", "open", 1),
        ("open", "late_arrival", 0),
    ]


def test_of_many_gaps_of_a_node_the_latest_may_still_be_healed_by_history():
    heard = Accounts(birth(), reorder_timeout=0.0)
    heard.feed(*(at(seq, 10 * seq) for seq in range(2, 42, 2)))
    heard.feed(history(41, *(10 * seq - 5 for seq in range(2, 42, 2))))
    assert len(heard.gaps) == 20
    assert [gap.history_rows for gap in heard.gaps] == [0] * 4 + [1] * 16


# A new start


def test_an_open_gap_of_an_earlier_run_is_healed_by_what_comes():
    first = Accounts(birth(), at(1, 10), at(4, 40))
    first.tick(TIMEOUT)
    for heal, healing in (
        ([at(2, 20), at(3, 30)], "late_arrival"),
        ([birth()], "rebirth_snapshot"),
        ([history(6, 20)], "history_flush"),
    ):
        again = Accounts()
        [gap] = first.gaps
        copy = type(gap)(*(getattr(gap, name) for name in gap.__dataclass_fields__))
        copy.missing = set(gap.missing)
        again.fleet.memory.restore(births_of(first), first.fleet.memory.sequence_state())
        again.fleet.memory.restore_gaps([copy], {})
        again.feed(at(5, 50))  # the node is trusted when it goes on
        again.feed(*heal)
        assert copy.healing == healing
        assert again.gaps == []


def test_what_is_missing_since_the_last_run_was_sent_after_the_last_message_of_it():
    first = Accounts(birth(), at(1, 10), at(2, 20))
    sent = {
        (each.group_id, each.edge_node_id): each.sent_us for each in first.fleet.take_received()
    }
    again = Accounts()
    again.fleet.memory.restore(births_of(first), first.fleet.memory.sequence_state())
    again.fleet.memory.restore_gaps([], sent)
    again.feed(at(6, 60))
    assert again.told() == [("away", 3, "open")]
    assert again.gaps[0].span_us == (SENT_US + 20_000, SENT_US + 60_000)


def test_bd_seq_is_remembered_over_a_restart():
    first = Accounts(message("NBIRTH", bd_seq(3), tag("Ramp", 0)), data(1))
    again = Accounts()
    again.fleet.memory.restore(births_of(first), first.fleet.memory.sequence_state())
    again.feed(birth(bd=7))
    assert [(gap.reason.value, gap.sessions) for gap in again.gaps] == [("away", 3)]


def test_sessions_are_missed_once_where_the_numbers_of_two_gaps_are_taken_back():
    first = Accounts(birth(bd=3), data(1))
    node = first.fleet.take_received()[0][:2]
    away = [Gap(*node, GapReason.AWAY, ARRIVED, first=2, count=count) for count in (5, 7)]
    again = Accounts()
    again.fleet.memory.restore(births_of(first), first.fleet.memory.sequence_state())
    again.fleet.memory.restore_gaps(away, {})
    again.feed(birth(bd=6))
    assert [(gap.count, gap.sessions) for gap in away] == [(None, 2), (None, 0)]
    assert [(each.missing, each.sessions) for each in again.changes] == [(-5, 2), (-7, 0)]
