"""Who keeps its data while the host is offline: by what a node sends of that time."""

from __future__ import annotations

import pytest
from oracle.messages import metric
from support.columnar import change, message, tag
from support.fleets import fleet_with

from sparkplug.datatypes import DataType
from sparkplug.host.watch.kept_history import NodeAfter, NodeBefore, Verdict

SECOND_US = 1_000_000
NOON_MS = 1_796_040_000_000
WINDOW = 45 * SECOND_US


def before(*, pause=1.0, moments=40, alive=True, sent_us=1):
    return NodeBefore("Plant", "Edge", alive, sent_us, moments, int(pause * SECOND_US))


def after(known, *, rows=0, hole=None, window=45.0, back=True, went_on=False):
    to_us = known.sent_us + int(window * SECOND_US) if back else None
    hole_us = int((window if hole is None else hole) * SECOND_US)
    return NodeAfter(known, to_us, went_on, rows, hole_us=hole_us)


@pytest.mark.parametrize(
    ("node", "verdict"),
    [
        # published every second before
        (after(before(), rows=44, hole=1.0), "kept"),
        (after(before(), rows=40, hole=3.0), "kept"),  # a few of its intervals
        (after(before(), rows=24, hole=20.0), "partly"),
        (after(before(), rows=1, hole=44.0), "partly"),
        (after(before(), rows=0), "lost"),
        (after(before(), rows=0, went_on=True), "lost"),
        # by its seq it published meanwhile: what nobody received is lost, whatever history it sends
        (after(before(), rows=44, hole=1.0, went_on=True), "partly"),
        (after(before(pause=20, moments=3), rows=1, hole=30, went_on=True), "partly"),
        # history of some of its tags only
        (after(before(), rows=44, hole=1.0)._replace(tags_lost=1), "partly"),
        # ten times a second: what is shorter than two seconds is held against nobody
        (after(before(pause=0.2), rows=400, hole=1.9), "kept"),
        (after(before(pause=0.2), rows=400, hole=2.1), "partly"),
        # every 10 s: four times in the window
        (after(before(pause=10, moments=5), rows=4, hole=11), "kept"),
        (after(before(pause=10, moments=5), rows=1, hole=40), "partly"),
        (after(before(pause=10, moments=5), rows=0), "lost"),
        # every 20 s: too seldom for a verdict by what did not come
        (after(before(pause=20, moments=3), rows=0), "not_known"),
        (after(before(pause=20, moments=3), rows=1, hole=30), "kept"),
        (after(before(pause=20, moments=3), rows=0, window=60), "lost"),
        # said nothing, or once
        (after(before(pause=45, moments=0), rows=0), "not_known"),
        (after(before(pause=45, moments=0), rows=7, hole=30), "kept"),
        (after(before(pause=1, moments=1), rows=0), "not_known"),
        # was not alive; has not come back; nothing is known of when it was heard
        (after(before(alive=False), rows=0), "not_known"),
        (after(before(), rows=0, back=False), "not_known"),
        (after(before(sent_us=0), rows=0), "not_known"),
        # the drill was ended after a moment
        (after(before(pause=1), rows=0, window=2), "not_known"),
        (after(before(pause=0.2), rows=0, window=2), "lost"),
        (after(before(pause=0.2), rows=20, hole=0.3, window=2), "kept"),
    ],
)
def test_the_verdict_follows_from_what_came_and_from_how_often_it_published(node, verdict):
    assert node.verdict == verdict


class Node:
    """An edge node that publishes one tag; its clock is off by some hours."""

    def __init__(self, name, hours=0):
        self.name = name
        self.off_ms = hours * 3_600_000
        self.seq = -1

    def at(self, second):
        return NOON_MS + self.off_ms + int(second * 1000)

    def birth(self, second, bd_seq=0):
        self.seq = 0
        session = metric("bdSeq", DataType.Int64, long_value=bd_seq, timestamp=self.at(second))
        born = tag("Level", 0) | {"timestamp": self.at(second)}
        return message("NBIRTH", session, born, node=self.name, timestamp=self.at(second))

    def death(self, second, bd_seq=0):
        session = metric("bdSeq", DataType.Int64, long_value=bd_seq)
        return message("NDEATH", session, node=self.name, timestamp=self.at(second))

    def data(self, second, *past):
        """A present value, or, if there are any, values of these seconds as history."""
        self.seq = (self.seq + 1) % 256
        values = [
            change(0, float(each)) | {"timestamp": self.at(each), "is_historical": bool(past)}
            for each in past or [second]
        ]
        return message("NDATA", *values, node=self.name, seq=self.seq, timestamp=self.at(second))


class Host:
    """Listens for 15 s, is offline for 15 s, and comes back."""

    def __init__(self, *nodes, **options):
        self.nodes = nodes
        self.watch = None
        self.fleet = fleet_with(reorder_timeout=2.0, **options)
        self.take(0, *(each.birth(0) for each in nodes))

    def take(self, now, *messages):
        decoded = self.fleet.feed(messages, float(now)) if messages else self.fleet.tick(float(now))
        if self.watch is not None and self.watch.has_left:
            self.watch.look_at_gaps(decoded.gaps)

    def listen(self, every=1):
        self.watch = self.fleet.watch_history(15 * SECOND_US)
        for second in range(1, 16):
            due = self.nodes if second % every == 0 else ()
            self.take(second, *(each.data(second) for each in due))

    def leave(self):
        self.watch.end_listening()
        self.fleet.connection_lost(15.5)
        self.watch.leave()

    @property
    def found(self):
        return {each.before.edge_node_id: each for each in self.watch.after()}

    def verdicts(self):
        return {name: str(each.verdict) for name, each in self.found.items()}


@pytest.mark.parametrize("hours", [0, -30, 5])
def test_history_of_the_time_between_is_counted_by_the_clock_of_the_node(hours):
    node = Node("Armed", hours)
    host = Host(node)
    host.listen()
    host.leave()
    host.take(31, node.birth(31, 1), node.data(31.2, *range(16, 31)), node.data(32))
    found = host.found["Armed"]
    assert found.verdict is Verdict.KEPT
    assert (found.rows, found.went_on) == (15, False)
    assert (found.first_us, found.last_us) == (node.at(16) * 1000, node.at(30) * 1000)
    assert found.window_us == 16 * SECOND_US
    assert found.hole_us <= 1.1 * SECOND_US


def test_a_store_that_is_too_small_keeps_a_part_only():
    node = Node("Small")
    host = Host(node)
    host.listen()
    host.leave()
    host.take(31, node.birth(31, 1), node.data(31.2, *range(26, 31)))
    found = host.found["Small"]
    assert (found.verdict, found.rows) == (Verdict.PARTLY, 5)
    assert 9.9 * SECOND_US <= found.hole_us <= 11 * SECOND_US


def test_history_may_come_in_several_messages_and_in_any_order():
    node = Node("Mixed")
    host = Host(node)
    host.listen()
    host.leave()
    host.take(31, node.birth(31, 1), node.data(31))
    assert host.verdicts() == {"Mixed": "lost"}
    host.take(32, node.data(32, *range(24, 31)))
    assert host.verdicts() == {"Mixed": "partly"}
    host.take(33, node.data(33), node.data(33, *range(16, 24)))
    assert host.verdicts() == {"Mixed": "kept"}


def test_who_drops_its_data_is_told_from_who_did_not_wait():
    unarmed, other = Node("Unarmed"), Node("Other")
    host = Host(unarmed, other)
    host.listen()
    host.leave()
    for second in range(16, 31):
        other.data(second)  # nobody hears it
    host.take(31, unarmed.birth(31, 1), unarmed.data(31.1), other.data(31))
    host.take(32, other.birth(32), other.data(32.1))
    assert host.verdicts() == {"Unarmed": "lost", "Other": "lost"}
    assert {name: each.went_on for name, each in host.found.items()} == {
        "Unarmed": False,
        "Other": True,
    }


def test_what_was_held_until_a_birth_is_not_history():
    # Its values are older than those of the birth, which is read before: not by its own word.
    node = Node("Other")
    host = Host(node)
    host.listen()
    host.leave()
    for second in range(16, 28):
        node.data(second)
    host.take(28, node.data(28), node.data(29), node.data(30))
    host.take(31, node.birth(31))
    assert host.found["Other"].rows == 0
    assert host.verdicts() == {"Other": "lost"}


def test_history_of_other_times_counts_for_nothing():
    node = Node("Rolling")
    host = Host(node)
    host.listen()
    host.leave()
    host.take(31, node.birth(31, 1), node.data(31, *range(5, 16)))
    host.take(32, node.data(32, 31.5))
    assert host.found["Rolling"].rows == 0


def test_who_is_not_alive_or_says_nothing_is_not_known():
    dead, quiet, late = Node("Dead"), Node("Quiet"), Node("Late")
    host = Host(dead, quiet, late)
    host.take(0.5, dead.death(0.5))
    host.nodes = (late,)
    host.listen()
    host.leave()
    host.take(31, quiet.birth(31, 1))
    host.take(32, quiet.death(32, 1))
    assert host.verdicts() == {"Dead": "not_known", "Quiet": "not_known", "Late": "not_known"}
    assert host.found["Quiet"].before.moments == 0
    assert not host.found["Dead"].before.was_alive
    assert host.found["Late"].to_us is None


def test_how_often_a_node_publishes_is_its_longest_silence():
    node = Node("Slow")
    host = Host(node)
    host.listen(every=4)
    host.leave()
    # Silent before the first, between, and after the last one.
    assert host.found["Slow"].before.pause_us == 4 * SECOND_US
    assert host.found["Slow"].before.moments == 3


def test_births_say_nothing_of_how_often_a_node_publishes():
    node = Node("Reborn")
    host = Host(node)
    host.nodes = ()
    host.listen()
    for second in range(1, 10):
        host.take(15 + second, node.birth(15 + second))
    host.leave()
    assert host.found["Reborn"].before.moments == 0


def test_metrics_that_are_not_wanted_say_nothing_either():
    node = Node("Excluded")
    host = Host(node, wanted=lambda place: not place.startswith("Plant/Excluded"))
    host.listen()
    host.leave()
    host.take(31, node.birth(31, 1), node.data(31))
    assert host.verdicts() == {"Excluded": "not_known"}


def test_without_rows_of_births_the_window_ends_with_the_birth_all_the_same():
    node = Node("Armed")
    host = Host(node, emit_births=False)
    host.listen()
    host.leave()
    host.take(31, node.birth(31, 1))
    assert host.found["Armed"].window_us == 16 * SECOND_US
    host.take(32, node.data(32, *range(16, 31)))
    assert host.verdicts() == {"Armed": "kept"}


def test_what_is_known_before_may_be_kept_over_a_restart():
    node, gone = Node("Armed"), Node("Gone")
    host = Host(node, gone)
    host.listen()
    host.leave()
    kept = host.watch.before()

    again = Host(Node("Armed"))  # remembers its birth
    again.watch = again.fleet.watch_history(15 * SECOND_US)
    again.watch.come_back(NodeBefore(*each) for each in kept)
    again.take(31, node.birth(31, 1), node.data(31, *range(16, 31)))
    assert again.found["Armed"].rows == 15
    assert again.verdicts() == {"Armed": "kept", "Gone": "not_known"}


def test_what_came_after_it_was_written_down_counts_as_before():
    # A consumer that was killed while it still read has more of the node than it wrote down.
    node = Node("Armed")
    host = Host(node)
    host.listen()
    host.watch.end_listening()
    kept = host.watch.before()
    for second in range(16, 20):
        host.take(second, node.data(second))
    host.watch = host.fleet.watch_history(15 * SECOND_US)
    host.watch.come_back(kept)
    host.take(31, node.birth(31, 1), node.data(31, *range(20, 31)))
    found = host.found["Armed"]
    assert (found.verdict, found.window_us) == (Verdict.KEPT, 12 * SECOND_US)


def test_nobody_looks_any_longer_when_it_is_over():
    node = Node("Armed")
    host = Host(node)
    host.listen()
    host.leave()
    host.fleet.stop_watching_history()
    host.take(31, node.birth(31, 1), node.data(31, *range(16, 31)))
    assert host.found["Armed"].rows == 0


class Gateway(Node):
    """An edge node of three tags, of which the last one publishes seldom."""

    TAGS = ("Level", "Flow", "Mode")

    def birth(self, second, bd_seq=0):
        self.seq = 0
        session = metric("bdSeq", DataType.Int64, long_value=bd_seq, timestamp=self.at(second))
        born = [
            tag(name, alias) | {"timestamp": self.at(second)}
            for alias, name in enumerate(self.TAGS)
        ]
        return message("NBIRTH", session, *born, node=self.name, timestamp=self.at(second))

    def data(self, second, *past, stored=(0, 1)):
        self.seq = (self.seq + 1) % 256
        values = [
            change(alias, float(each)) | {"timestamp": self.at(each), "is_historical": bool(past)}
            for each in past or [second]
            for alias in (stored if past or second % 10 else (0, 1, 2))
        ]
        return message("NDATA", *values, node=self.name, seq=self.seq, timestamp=self.at(second))


def test_history_of_one_tag_does_not_answer_for_the_others():
    whole, half = Gateway("Whole"), Gateway("Half")
    host = Host(whole, half)
    host.listen()
    host.leave()
    past = range(16, 31)
    host.take(31, whole.birth(31, 1), whole.data(31, *past))
    host.take(31, half.birth(31, 1), half.data(31, *past, stored=(0,)))
    host.take(32, whole.data(32), half.data(32))
    assert host.verdicts() == {"Whole": "kept", "Half": "partly"}
    assert {name: each.tags_lost for name, each in host.found.items()} == {"Whole": 0, "Half": 1}
    host.take(33, half.data(33, 20, stored=(1,)))
    assert host.verdicts()["Half"] == "kept"


def test_over_a_restart_history_must_be_of_as_many_tags():
    whole, half = Gateway("Whole"), Gateway("Half")
    host = Host(whole, half)
    host.listen()
    host.leave()
    kept = host.watch.before()
    assert [each.tags for each in kept] == [2, 2]

    again = Host(Gateway("Whole"), Gateway("Half"))
    again.watch = again.fleet.watch_history(15 * SECOND_US)
    again.watch.come_back(NodeBefore(*each) for each in kept)
    past = range(16, 31)
    again.take(31, whole.birth(31, 1), whole.data(31, *past))
    again.take(31, half.birth(31, 1), half.data(31, *past, stored=(0,)))
    assert again.verdicts() == {"Whole": "kept", "Half": "partly"}


def test_what_an_earlier_release_kept_of_a_node_is_read():
    assert NodeBefore(*list(before())[:6]) == before()


def test_who_calls_all_its_values_history_and_did_not_wait_keeps_nothing():
    class Mislabelled(Node):
        def data(self, second, *past):
            return super().data(second, *(past or [second]))

    node = Mislabelled("Other")
    host = Host(node)
    host.listen()
    host.leave()
    for second in range(16, 31):
        node.data(second)  # nobody hears it
    for second in range(31, 36):
        host.take(second, node.data(second))
    host.take(36, node.birth(36))
    assert host.found["Other"].rows > 0
    assert host.verdicts() == {"Other": "partly"}
