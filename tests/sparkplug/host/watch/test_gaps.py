"""What the fleet tells of messages that did not come (docs/gaps.md)."""

from __future__ import annotations

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import message, metric, tag
from support.fleets import fleet_with
from support.listener import TIMEOUT, bd_seq, birth, data, death
from support.listener import remembered as kept_of

from sparkplug.events import EventKind
from sparkplug.gaps import Gap, GapReason, steps_of_bd_seq
from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX

SENT_US = SENT_MS * 1000


class Accounts:
    """A fleet, and all gaps that it told of."""

    def __init__(self, *messages, **options):
        self.fleet = fleet_with(**{"reorder_timeout": TIMEOUT, **options})
        self.gaps = []
        self.changes = []
        self.events = []
        self.memories = []
        self.feed(*messages)

    def feed(self, *messages, now=0.0):
        self._told(self.fleet.feed(messages, now))

    def tick(self, now):
        self._told(self.fleet.tick(now))

    def lost(self):
        self._told(self.fleet.connection_lost(0.0))

    def keep_on_the_server(self, kept):
        """A birth that a Sparkplug-aware server tells after the connection was made."""
        self._told(
            self.fleet.memory.warm_start(
                [kept._replace(topic=CERTIFICATE_PREFIX + kept.topic, retained=True)], 0.0
            )
        )

    def _told(self, decoded):
        self.memories += decoded.memories
        self.changes += decoded.gaps
        self.gaps += [each.gap for each in decoded.gaps if each.before is None]
        self.events += [each for each in decoded.events if each.kind is EventKind.GAP]

    def told(self):
        """Reason, number missing and healing of every gap."""
        return [(gap.reason.value, gap.count, gap.healing.value) for gap in self.gaps]

    def received(self, **options):
        return {each.edge_node_id: each.messages for each in self.fleet.take_received(**options)}


def at(seq, milliseconds, **fields):
    """Data sent so long after the birth."""
    return data(seq, timestamp=SENT_MS + milliseconds, **fields)


def history(seq, *milliseconds, historical=True):
    """Values of Ramp from so long after the birth."""
    values = [
        metric(None, alias=0, timestamp=SENT_MS + each, double_value=each, is_historical=historical)
        for each in milliseconds
    ]
    return message("NDATA", *values, seq=seq, timestamp=SENT_MS + 99_000)


# How a gap is found


def test_a_hole_lies_between_the_messages_around_it():
    heard = Accounts(birth(), at(1, 10), at(2, 20), at(6, 60))
    heard.tick(TIMEOUT)
    [gap] = heard.gaps
    assert (gap.reason, gap.first, gap.count) == ("sequence_gap", 3, 3)
    assert gap.span_us == (SENT_US + 20_000, SENT_US + 60_000)


def test_a_gap_of_several_holes_ends_where_the_last_of_them_does():
    heard = Accounts(birth(), at(2, 20), at(4, 40), at(5, 50), at(6, 60))
    heard.tick(TIMEOUT)
    [gap] = heard.gaps
    assert (gap.count, gap.missing) == (2, {1, 3})
    assert gap.span_us == (SENT_US, SENT_US + 40_000)


def test_without_payload_timestamps_a_gap_lies_between_times_of_arrival():
    heard = Accounts(birth(timestamp=None, received_us=ARRIVED))
    heard.feed(data(2, timestamp=None, received_us=ARRIVED + 5))
    heard.tick(TIMEOUT)
    assert heard.gaps[0].span_us == (ARRIVED, ARRIVED + 5)


def test_a_gap_over_a_clock_that_was_set_back_still_has_a_begin_before_its_end():
    heard = Accounts(birth(), at(1, 50), at(3, 10))
    heard.tick(TIMEOUT)
    assert heard.gaps[0].span_us == (SENT_US + 10_000, SENT_US + 50_000)


@pytest.mark.parametrize(("seq", "missing"), [(3, 1), (1, 255), (200, 198)])
def test_what_a_node_sent_while_nobody_listened_is_counted_modulo_256(seq, missing):
    heard = Accounts(birth(), data(1))
    heard.lost()
    heard.feed(at(seq, 70))
    assert heard.told() == [("away", missing, "open")]
    assert heard.gaps[0].first == 2
    heard.feed(birth())
    assert heard.told() == [("away", missing, "rebirth_snapshot")]
    assert [(e.reason, e.missing, e.healing) for e in heard.events] == [
        ("away", missing, "open"),
        ("away", missing, "rebirth_snapshot"),
    ]


def test_a_node_that_goes_on_where_it_was_left_has_no_gap():
    heard = Accounts(birth(), data(1))
    heard.lost()
    assert heard.fleet.gauges.unheard_nodes == 1
    heard.feed(data(2))
    assert (heard.gaps, heard.fleet.gauges.unheard_nodes) == ([], 0)


def test_a_death_leaves_open_what_was_sent_last_until_the_next_birth():
    heard = Accounts(birth(bd=4), at(1, 10), death(4))
    assert heard.told() == [("session_end", None, "open")]
    assert heard.gaps[0].span_us is None
    heard.feed(birth(bd=5, timestamp=SENT_MS + 90))
    assert heard.told() == [("session_end", None, "rebirth_snapshot")]
    assert heard.gaps[0].span_us == (SENT_US + 10_000, SENT_US + 90_000)
    assert heard.events == []  # the death and the birth tell it


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (4, 4, []),  # a rebirth
        (4, 5, [("session_end", 0)]),
        (4, 8, [("sessions_missed", 3)]),
        (254, 1, [("sessions_missed", 2)]),
        (9, 0, [("session_end", 0)]),  # counted anew
    ],
)
def test_a_birth_of_another_session_tells_of_the_end_that_was_not_seen(before, now, found):
    heard = Accounts(birth(bd=before), data(1), birth(bd=now))
    assert [(gap.reason.value, gap.sessions) for gap in heard.gaps] == found
    assert {gap.healing for gap in heard.gaps} <= {"rebirth_snapshot"}


def test_sessions_are_missed_after_a_death_too():
    heard = Accounts(birth(bd=4), death(4), birth(bd=6))
    assert [(gap.reason.value, gap.sessions) for gap in heard.gaps] == [
        ("session_end", 0),
        ("sessions_missed", 1),
    ]


def test_a_birth_is_the_first_that_is_heard_of_a_node_after_the_connection_was_lost():
    heard = Accounts(birth(bd=4), at(1, 10))
    heard.lost()
    heard.feed(birth(bd=6, timestamp=SENT_MS + 80))
    gap = heard.gaps[-1]
    assert (gap.reason, gap.count, gap.sessions) == (GapReason.AWAY, None, 1)
    assert gap.span_us == (SENT_US + 10_000, SENT_US + 80_000)


def test_a_birth_without_bdseq_tells_nothing_of_sessions():
    heard = Accounts(birth(bd=4), message("NBIRTH", tag("Ramp", 0)), birth(bd=9))
    assert heard.gaps == []


@pytest.mark.parametrize(
    ("before", "now", "steps"),
    [
        (None, 3, None),
        (3, None, None),
        (3, 3, 0),
        (3, 4, 1),
        (255, 0, 1),
        (3, 131, 128),
        (3, 132, 1),
        (3, 2, 1),
        (255, 256, 1),
        (300, 303, 3),
        (10**12, 10**12 + 60_000, 1),
    ],
)
def test_steps_of_bd_seq(before, now, steps):
    assert steps_of_bd_seq(before, now) == steps


# Sessions whose birth nobody heard


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
    again.fleet.memory.restore(remembered(first), first.fleet.memory.sequence_state())
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
        again.fleet.memory.restore(kept_of(again), heard.fleet.memory.sequence_state())
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


# What is received


def test_every_message_with_a_seq_is_received_once_whatever_becomes_of_it():
    heard = Accounts(data(5, node="Early"), message("NBIRTH", tag("Ramp", 0), node="Early"))
    heard.feed(birth(), data(1), data(2), data(2), data(4), data(4), death())
    # The second seq 2 is a duplicate, and so is the second 4, which waits. A death has no seq.
    assert heard.received() == {"Early": 2, "Edge": 4}
    assert heard.received() == {}
    heard.feed(birth(bd=2), data(2, 22.0), now=5.0)
    heard.tick(10.0)
    heard.feed(data(1, 11.0), now=11.0)
    assert heard.received() == {"Edge": 3}


def test_what_came_before_the_first_birth_is_told_with_it_or_at_the_end():
    heard = Accounts(data(5), data(6))
    assert heard.received() == {}
    assert heard.received(never_born=True) == {"Edge": 2}
    heard.feed(data(7))
    assert heard.received() == {}
    heard.feed(birth())
    assert heard.received() == {"Edge": 2}
    assert heard.received(never_born=True) == {}


def test_a_birth_that_cannot_be_read_is_received_and_begins_no_account():
    for unread in (message("NBIRTH", tag("", 0)), message("NBIRTH", tag(None, 0))):
        heard = Accounts(unread, data(1))
        assert heard.fleet.gauges.node_count == 0
        heard.feed(birth())
        assert heard.received() == {"Edge": 3}
        assert heard.told() == [("away", None, "rebirth_snapshot")]


def test_messages_in_order_are_counted_like_those_that_are_taken_one_by_one():
    heard = Accounts(*(message("NBIRTH", tag("Ramp", 0), node=n) for n in "ABC"))
    heard.received()
    heard.feed(*(data(1, node=n) for n in "ABC"), data(2, node="A"), data(3, node="A"))
    assert heard.received() == {"A": 3, "B": 1, "C": 1}


# History


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
        again.fleet.memory.restore(remembered(first), first.fleet.memory.sequence_state())
        again.fleet.memory.restore_gaps([copy], {})
        again.feed(at(5, 50))  # the node is trusted when it goes on
        again.feed(*heal)
        assert copy.healing == healing
        assert again.gaps == []


def remembered(heard):
    """The births of a run, as the consumer keeps them."""
    from sparkplug.memory import BirthMemory, RememberedBirth  # noqa: PLC0415

    return [
        RememberedBirth(each, alive=True, stale=False)
        for each in heard.memories
        if isinstance(each, BirthMemory)
    ]


def test_what_is_missing_since_the_last_run_was_sent_after_the_last_message_of_it():
    first = Accounts(birth(), at(1, 10), at(2, 20))
    sent = {
        (each.group_id, each.edge_node_id): each.sent_us for each in first.fleet.take_received()
    }
    again = Accounts()
    again.fleet.memory.restore(remembered(first), first.fleet.memory.sequence_state())
    again.fleet.memory.restore_gaps([], sent)
    again.feed(at(6, 60))
    assert again.told() == [("away", 3, "open")]
    assert again.gaps[0].span_us == (SENT_US + 20_000, SENT_US + 60_000)


def test_bd_seq_is_remembered_over_a_restart():
    first = Accounts(message("NBIRTH", bd_seq(3), tag("Ramp", 0)), data(1))
    again = Accounts()
    again.fleet.memory.restore(remembered(first), first.fleet.memory.sequence_state())
    again.feed(birth(bd=7))
    assert [(gap.reason.value, gap.sessions) for gap in again.gaps] == [("away", 3)]


def test_sessions_are_missed_once_where_the_numbers_of_two_gaps_are_taken_back():
    first = Accounts(birth(bd=3), data(1))
    node = first.fleet.take_received()[0][:2]
    away = [Gap(*node, GapReason.AWAY, ARRIVED, first=2, count=count) for count in (5, 7)]
    again = Accounts()
    again.fleet.memory.restore(remembered(first), first.fleet.memory.sequence_state())
    again.fleet.memory.restore_gaps(away, {})
    again.feed(birth(bd=6))
    assert [(gap.count, gap.sessions) for gap in away] == [(None, 2), (None, 0)]
    assert [(each.missing, each.sessions) for each in again.changes] == [(-5, 2), (-7, 0)]
