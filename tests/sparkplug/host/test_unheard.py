"""Nodes that are not heard after an absence of the host: who is asked, and who is given up."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from oracle.messages import ARRIVED, metric
from support.columnar import change, message, name, tag, values
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.filters import sight_of
from sparkplug.host.fleet import Fleet
from sparkplug.host.node_table import NodeTable
from sparkplug.host.watch.unheard import ANSWER_SECONDS
from sparkplug.memory import BirthMemory, RememberedBirth, StaleMemory

AFTER = 600.0
LOST = ARRIVED + 7_000_000
NOW_US = ARRIVED + 900_000_000


def births(node="Edge", session=1, **options):
    bd_seq = metric("bdSeq", DataType.Int64, long_value=session)
    return (
        message("NBIRTH", bd_seq, tag("Ramp", 0), node=node, **options),
        message("DBIRTH", tag("Level", 2), seq=1, node=node, **options),
    )


def data(seq, node="Edge", value=5.0):
    return message("NDATA", change(0, value), seq=seq, node=node)


def stale(rows):
    return sorted(name(row) for row in rows if row["quality"] == "STALE")


class Plant(Server):
    """A server whose nodes are asked when they are not heard; requests are sent at once."""

    def __init__(self, site="", **options):
        super().__init__(site, reorder_timeout=2.0, unheard=AFTER, **options)
        self.now = 0.0
        self.asked = []  # (when, node)

    def at(self, now, *messages):
        self.now = now
        return self._take(self.fleet.feed(messages, now))

    def listens(self):
        self.fleet.absence.listening(NOW_US)

    def _take(self, decoded):
        rows = super()._take(decoded)
        for request in decoded.rebirths:
            self.fleet.absence.asked(request.group_id, request.edge_node_id)
            if request.reason == "unheard":
                self.asked.append((self.now, request.edge_node_id))
        return rows

    def wait(self, seconds, step=1.0):
        """Nothing comes; the rows that are made meanwhile."""
        rows = []
        for _ in range(int(seconds / step)):
            self.now += step
            self.listens()
            rows += self.tick(self.now)
        return rows

    def away(self):
        """The connection is lost, and made again."""
        self.lost(self.now, LOST)
        self.listens()

    def answers_once(self):
        """Its node is asked for the hole in its seq, and is born again."""
        self.at(self.now + 1.0, data(9))
        self.wait(3.0)
        self.at(self.now + 1.0, *births())
        self.told()


def that_answered(**options):
    """A plant whose node was born, and has answered a request once."""
    plant = Plant(**options)
    plant.listens()
    plant.at(0.0, *births())
    plant.answers_once()
    return plant


@pytest.fixture
def plant():
    plant = Plant()
    plant.listens()
    plant.at(0.0, *births())
    return plant


ALL_REQUESTS = 3 * ANSWER_SECONDS + 2.0


def test_a_node_that_is_not_heard_after_an_absence_is_asked_for_its_births(plant):
    plant.away()
    plant.wait(AFTER - 1.0)
    assert plant.asked == []
    plant.wait(2.0)
    assert [node for _, node in plant.asked] == ["Edge"]


def test_the_time_begins_when_the_absence_is_over(plant):
    plant.lost(1.0, LOST)
    for minute in range(30):
        plant.tick(60.0 * minute)
    plant.now = 60.0 * 29
    plant.wait(AFTER - 1.0)
    assert plant.asked == []
    plant.wait(2.0)
    assert len(plant.asked) == 1


def test_a_node_that_speaks_is_asked_for_nothing(plant):
    plant.away()
    plant.wait(300.0)
    plant.at(plant.now, data(2))
    plant.wait(3000.0, step=5.0)
    assert plant.asked == []
    assert plant.rebirths == []


def test_whoever_speaks_is_unheard_no_more_and_neither_is_a_stranger(plant):
    plant.away()
    plant.wait(AFTER - 5.0)
    assert not plant.fleet.absence.is_unheard("Plant", "Edge")
    plant.wait(6.0)
    assert plant.fleet.absence.is_unheard("Plant", "Edge")
    assert not plant.fleet.absence.is_unheard("Plant", "Other")
    plant.at(plant.now, data(2))
    assert not plant.fleet.absence.is_unheard("Plant", "Edge")


def test_five_hundred_living_nodes_are_asked_for_nothing_after_a_restart():
    before = [each for n in range(500) for each in births(f"N{n}")]
    first = Plant()
    first.at(0.0, *before)
    second = Plant()
    kept = [
        RememberedBirth(
            BirthMemory(n // 2, "Plant", f"N{n // 2}", (n % 2 and "Boiler") or None, each),
            True,
            False,
        )
        for n, each in enumerate(before)
    ]
    second.fleet.memory.restore(
        kept, first.fleet.memory.sequence_state(), (), 0.0, first.fleet.memory.conduct_state()
    )
    second.listens()
    second.at(1.0, *(data(2, f"N{n}") for n in range(500)))
    second.wait(1200.0, step=10.0)
    assert second.rebirths == []
    assert second.told(EventKind.SILENT) == []


def test_at_most_one_node_is_asked_in_a_second():
    plant = Plant()
    plant.listens()
    plant.at(0.0, *(each for n in range(20) for each in births(f"N{n:02}")))
    plant.away()
    plant.wait(AFTER + 40.0)
    times = [when for when, _ in plant.asked]
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(times))
    assert [node for _, node in plant.asked] == [f"N{n:02}" for n in range(20)]


def test_a_node_that_has_answered_before_and_leaves_three_requests_unanswered_is_stale(plant):
    plant.answers_once()
    plant.away()
    rows = plant.wait(AFTER + ALL_REQUESTS)
    assert len(plant.asked) == 3
    assert stale(rows) == ["Boiler/Level", "Ramp"]
    assert {row["message_type"] for row in rows} == {"HOST"}
    assert {row["event_time"] for row in rows} == {NOW_US}
    [event] = plant.told(EventKind.SILENT)
    assert (event.reason, event.edge_node_id, event.time_us) == ("unheard", "Edge", NOW_US)
    assert event.detail.endswith("3 rebirth requests were not answered: its tags are STALE")
    assert {StaleMemory("Plant", "Edge", None), StaleMemory("Plant", "Edge", "Boiler")} <= set(
        plant.memories
    )
    assert plant.wait(3000.0, step=5.0) == []
    assert len(plant.asked) == 3


def test_one_that_never_answered_is_silent_and_gets_no_rows(plant):
    plant.away()
    assert stale(plant.wait(AFTER + ALL_REQUESTS)) == []
    [event] = plant.told(EventKind.SILENT)
    assert event.reason == "unheard"
    assert "STALE" not in event.detail
    [node] = plant.fleet.absence.silences.nodes
    assert (node.group_id, node.edge_node_id, node.reason) == ("Plant", "Edge", "unheard")


def test_a_birth_that_nobody_asked_for_is_no_answer(plant):
    plant.at(1.0, *births())
    plant.away()
    assert stale(plant.wait(AFTER + ALL_REQUESTS)) == []


def test_a_node_that_was_unknown_when_it_was_asked_answers_with_its_first_birth():
    """So all nodes are that run when a host starts for the first time."""
    plant = Plant()
    plant.listens()
    plant.at(0.0, data(5))
    plant.at(1.0, *births())
    plant.away()
    assert stale(plant.wait(AFTER + ALL_REQUESTS)) == ["Boiler/Level", "Ramp"]


def test_a_first_birth_a_minute_after_the_request_is_no_answer():
    plant = Plant()
    plant.listens()
    plant.at(0.0, data(5))
    plant.wait(ANSWER_SECONDS + 1.0)
    plant.at(plant.now, *births())
    plant.away()
    assert stale(plant.wait(AFTER + ALL_REQUESTS)) == []


def test_a_node_that_answers_one_of_the_requests_is_alive(plant):
    plant.away()
    plant.wait(AFTER + ANSWER_SECONDS + 5.0)
    assert len(plant.asked) == 2
    plant.at(plant.now, *births())
    plant.wait(3000.0, step=5.0)
    assert stale(plant.rows) == []
    assert plant.told(EventKind.SILENT) == []
    # Now it is known that it answers.
    plant.away()
    assert stale(plant.wait(AFTER + ALL_REQUESTS)) == ["Boiler/Level", "Ramp"]


def test_that_a_node_answers_is_known_after_a_restart(plant):
    plant.answers_once()
    plant.wait(2.0)
    again = Plant()
    kept = [
        RememberedBirth(BirthMemory(0, "Plant", "Edge", device, each), True, False)
        for device, each in zip((None, "Boiler"), births(), strict=True)
    ]
    state = plant.fleet.memory.sequence_state(), (), 0.0, plant.fleet.memory.conduct_state()
    again.fleet.memory.restore(kept, *state)
    again.listens()
    assert stale(again.wait(AFTER + ALL_REQUESTS)) == ["Boiler/Level", "Ramp"]


def test_a_silent_node_that_is_heard_again_is_read_and_its_silence_is_over(plant):
    plant.answers_once()
    plant.away()
    plant.wait(AFTER + ALL_REQUESTS)
    plant.told()
    plant.wishes()
    rows = plant.at(plant.now + 1.0, data(2))
    assert values(rows) == [("Ramp", 5.0)]
    assert plant.wishes() == [("Edge", "connection_lost")]  # its other tags are STALE
    plant.wait(2.0)
    [event] = plant.told(EventKind.SILENT)
    assert (event.reason, event.detail) == ("unheard_over", "over: it is heard again")
    assert plant.fleet.absence.silences.nodes == ()


def test_one_that_was_heard_right_before_the_next_absence_is_given_up_again(plant):
    plant.answers_once()
    plant.away()
    plant.wait(AFTER + ALL_REQUESTS)
    plant.at(plant.now + 0.3, data(2))
    plant.told()
    plant.away()
    [event] = plant.told(EventKind.SILENT)
    assert event.reason == "unheard_over"
    assert stale(plant.wait(AFTER + ALL_REQUESTS)) == ["Ramp"]  # the other is STALE still


BD_SEQ = metric("bdSeq", DataType.Int64, long_value=1)


@pytest.mark.parametrize(
    "last",
    [message("NDEATH", BD_SEQ, seq=None), births()[0]._replace(payload=b"\xff\xff")],
    ids=["death", "unreadable birth"],
)
def test_so_it_is_when_its_session_has_ended(plant, last):
    plant.away()
    plant.wait(AFTER + ALL_REQUESTS)
    plant.told()
    plant.at(plant.now, last)
    plant.wait(2.0)
    [event] = plant.told(EventKind.SILENT)
    assert (event.reason, event.detail) == ("unheard_over", "over: its session has ended")


def test_a_death_of_another_session_is_no_word_of_the_node():
    """The will of a session before it: the server publishes that."""
    plant = Plant()
    plant.listens()
    plant.at(0.0, *births(session=5))
    plant.away()
    plant.wait(AFTER - 10.0)
    plant.at(plant.now, message("NDEATH", BD_SEQ, seq=None))
    plant.wait(12.0)
    assert [node for _, node in plant.asked] == ["Edge"]


def test_dead_nodes_are_not_asked(plant):
    plant.at(1.0, message("NDEATH", BD_SEQ, seq=None))
    plant.away()
    plant.wait(AFTER + ALL_REQUESTS)
    assert plant.asked == []


def test_without_an_absence_nobody_is_asked(plant):
    plant.wait(3 * AFTER, step=5.0)
    assert plant.asked == []


def test_a_passive_host_asks_nobody_and_writes_no_rows():
    plant = that_answered(passive=True)
    plant.away()
    assert plant.wait(AFTER + ALL_REQUESTS) == []
    assert plant.asked == []
    [event] = plant.told(EventKind.SILENT)
    assert (event.reason, event.detail) == ("unheard", "not heard since an absence of this host")


def test_without_stale_rows_such_a_node_is_only_silent():
    plant = that_answered(emit_stale=False)
    plant.away()
    assert plant.wait(AFTER + ALL_REQUESTS) == []
    assert len(plant.told(EventKind.SILENT)) == 1


def test_a_node_that_another_server_of_the_site_shows_alive_is_not_asked():
    a, b = Plant("north"), Plant("north")
    a.fleet.liveness.join([b.fleet.liveness])
    b.fleet.liveness.join([a.fleet.liveness])
    for each in (a, b):
        each.listens()
        each.at(0.0, *births())
    a.away()
    a.wait(AFTER + ALL_REQUESTS)
    assert a.asked == []
    assert a.told(EventKind.SILENT) == []


def test_its_silence_is_over_when_another_server_of_the_site_shows_it_alive():
    a, b = Plant("north"), Plant("north")
    a.fleet.liveness.join([b.fleet.liveness])
    b.fleet.liveness.join([a.fleet.liveness])
    a.listens()
    a.at(0.0, *births())
    a.away()
    a.wait(AFTER + ALL_REQUESTS)
    a.told()
    b.at(a.now, *births())
    a.wait(2.0)
    [event] = a.told(EventKind.SILENT)
    assert event.reason == "unheard_over"
    assert event.detail == "over: it is alive on another server of its site"
    assert a.fleet.absence.silences.nodes == ()


def test_what_another_server_has_taken_back_is_stale_again_when_the_node_is_given_up_again():
    a, b = Plant("north"), Plant("north")
    a.fleet.liveness.join([b.fleet.liveness])
    b.fleet.liveness.join([a.fleet.liveness])
    for each in (a, b):
        each.listens()
        each.at(0.0, *births())
    a.away()
    b.answers_once()
    b.away()
    assert stale(b.wait(AFTER + ALL_REQUESTS)) == ["Boiler/Level", "Ramp"]
    a.at(b.now, data(2))  # it lives, as this server shows
    b.wait(2.0)
    a.lost(b.now, LOST)
    b.away()
    assert stale(b.wait(AFTER + ALL_REQUESTS)) == ["Ramp"]


def test_with_zero_nobody_is_asked():
    plant = Server(reorder_timeout=2.0, unheard=0.0)
    plant.at(0.0, *births())
    plant.lost(0.0, LOST)
    for step in range(500):
        plant.fleet.absence.listening(NOW_US)
        plant.tick(10.0 * step)
    assert plant.rebirths == []


def test_a_node_that_is_seen_in_part_is_neither_asked_nor_silent():
    """Its answers may be for others."""
    filters = ["$share/consumers/spBv1.0/#"]
    plant = Plant(sight=lambda group, node: sight_of(filters, group, node))
    plant.listens()
    plant.at(0.0, *births())
    plant.away()
    assert plant.wait(AFTER + ALL_REQUESTS) == []
    assert plant.asked == []
    assert plant.told(EventKind.SILENT) == []


class Busy(NodeTable):
    """A table that another thread adds to whenever a column is looked at."""

    def __getattribute__(self, name):
        if isinstance(super().__getattribute__(name), np.ndarray):
            self.append()
        return super().__getattribute__(name)


def test_who_counts_the_unheard_need_not_wait_until_no_node_is_added():
    fleet = Fleet()
    fleet.feed(births(), 0.0)
    fleet.connection_lost(1.0)
    nodes = Busy()
    for column in fields(NodeTable):
        setattr(nodes, column.name, getattr(fleet._state.nodes, column.name))
    fleet._state.nodes = nodes
    assert fleet.gauges.unheard_nodes == 1
