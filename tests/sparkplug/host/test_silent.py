"""Nodes that say nothing for longer than they ever did."""

import numpy as np
import pytest
from oracle.messages import ARRIVED, metric
from support.columnar import change, message, tag
from support.fleets import fleet_with
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.host.node_table import NodeTable
from sparkplug.host.watch.hearing import Hearing
from sparkplug.memory import BirthMemory, RememberedBirth

BD_SEQ = metric("bdSeq", DataType.Int64, long_value=1)
BIRTH = message("NBIRTH", BD_SEQ, tag("Ramp", 0))
LATER = ARRIVED + 900_000_000


class Plant(Server):
    """One node, which speaks whenever `speaks_every` seconds are over."""

    def __init__(self, silent_after=3.0, **options):
        super().__init__(reorder_timeout=2.0, silent_after=silent_after, **options)
        self.now, self.seq = 0.0, 0
        self.at(0.0, BIRTH)
        self.told()

    def speaks(self):
        self.seq = (self.seq + 1) % 256
        self.at(self.now, message("NDATA", change(0, self.now), seq=self.seq, received_us=LATER))

    def speaks_every(self, seconds, times):
        for _ in range(times):
            self.passes(seconds)
            self.speaks()

    def passes(self, seconds):
        """Nothing comes; the time is looked at often."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + max(1.0, min(10.0, seconds / 100)))
            self.tick(self.now)

    def silences(self):
        """Reasons of the events since the last call."""
        return [event.reason for event in self.told(EventKind.SILENT)]


def test_a_node_that_says_nothing_for_three_times_its_longest_pause_is_silent():
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    plant.passes(89.0)
    assert plant.silences() == []
    plant.passes(3.0)
    [event] = plant.told(EventKind.SILENT)
    assert (event.reason, event.edge_node_id, event.time_us) == ("quiet", "Edge", LATER)
    assert event.detail == "it has said nothing for 0:01:31, and its longest pause was 0:00:30"
    [node] = plant.fleet.absence.silences.nodes
    assert (node.group_id, node.edge_node_id, node.reason) == ("Plant", "Edge", "quiet")


def test_it_gives_no_rows_and_asks_nobody_for_that():
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    rows = len(plant.rows)
    plant.passes(3000.0)
    assert len(plant.rows) == rows
    assert plant.wishes() == []
    assert plant.silences() == ["quiet"]


def test_it_is_over_when_the_node_speaks():
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    plant.passes(100.0)
    plant.speaks()
    plant.passes(2.0)
    assert plant.silences() == ["quiet", "quiet_over"]
    assert plant.fleet.absence.silences.nodes == ()


def test_who_speaks_all_the_time_is_not_silent_within_a_minute():
    plant = Plant()
    plant.speaks_every(1.0, times=100)
    plant.passes(59.0)
    assert plant.silences() == []
    plant.passes(3.0)
    assert plant.silences() == ["quiet"]


def test_a_node_that_reports_by_exception_may_be_silent_for_hours():
    plant = Plant()
    for _ in range(3):  # busy for a while, then nothing happens
        plant.speaks_every(10.0, times=20)
        plant.passes(7200.0)
        plant.speaks()
    assert plant.silences() == ["quiet", "quiet_over"]  # before its habit was known


def test_who_was_not_observed_for_as_long_is_not_judged():
    """Births, and nothing more: nobody knows what is usual."""
    plant = Plant()
    plant.passes(3600.0)
    assert plant.silences() == []
    # And a node of which only one pause is known, which might be its usual one or not.
    plant.speaks()
    plant.passes(3 * 3600.0 - 10.0)
    assert plant.silences() == []


def test_a_pause_that_did_not_come_again_is_forgotten_after_weeks():
    nodes = NodeTable()
    hearing, node = Hearing(nodes), np.array([nodes.append()])
    nodes.born[0] = nodes.confirmed[0] = True
    now, paused = 0.0, []
    for pause in [7200.0, *[600.0] * (6 * 24 * 21)]:
        for _ in range(int(pause / 10.0)):
            now += 10.0
            hearing.pass_time(now)
        hearing.heard(node, node)
        paused.append(nodes.pause[0])
    after_a_week = paused[6 * 24 * 7]
    assert 7200.0 / 4 < after_a_week < 7200.0 / 2
    assert paused[-1] == 600.0


def test_a_pause_that_a_birth_ends_is_not_its_habit():
    """It was gone, and its death was not heard."""
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    plant.passes(3600.0)
    plant.at(plant.now, BIRTH)
    plant.seq = 0
    plant.speaks_every(30.0, times=3)
    plant.silences()
    plant.passes(100.0)
    assert plant.silences() == ["quiet"]


def test_nor_is_time_in_which_the_connection_was_lost():
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    plant.lost(plant.now, LATER)
    plant.passes(3600.0)
    assert plant.silences() == []  # nobody could hear it
    plant.speaks_every(30.0, times=3)
    plant.passes(100.0)
    assert plant.silences() == ["quiet"]


def test_while_nothing_was_read_nobody_was_silent():
    """The consumer itself stood still: what was sent meanwhile is in its queue."""
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    plant.now += 3600.0
    plant.tick(plant.now)
    assert plant.silences() == []


@pytest.mark.parametrize("how", ["death", "lost birth"])
def test_a_node_without_a_session_is_not_silent(how):
    plant = Plant()
    plant.speaks_every(30.0, times=10)
    birth = BIRTH._replace(payload=b"\xff\xff")
    plant.at(plant.now, message("NDEATH", BD_SEQ, seq=None) if how == "death" else birth)
    plant.passes(3600.0)
    assert plant.silences() == []


def test_what_is_usual_is_known_after_a_restart():
    plant = Plant()
    plant.speaks_every(30.0, times=30)
    plant.fleet.flush(plant.now)
    again = Plant()
    again.fleet = fleet_with(reorder_timeout=2.0, silent_after=3.0)
    kept = RememberedBirth(BirthMemory(0, "Plant", "Edge", None, BIRTH), alive=True, stale=False)
    known = plant.fleet.memory.sequence_state(), (), 0.0, plant.fleet.memory.conduct_state()
    again.fleet.memory.restore([kept], *known)
    again.seq = plant.seq
    again.speaks()
    again.passes(100.0)
    assert again.silences() == ["quiet"]


@pytest.mark.parametrize("conduct", [b"\x01", b"x" * 9, b"x" * 1000])
def test_what_is_on_disk_may_be_anything(conduct):
    plant = Plant()
    again = fleet_with(silent_after=3.0)
    kept = RememberedBirth(BirthMemory(0, "Plant", "Edge", None, BIRTH), alive=True, stale=False)
    again.memory.restore([kept], plant.fleet.memory.sequence_state(), (), 0.0, conduct)
    again.feed([message("NDATA", change(0, 1.0), seq=1)], 1.0)
    assert again.tick(1000.0).observations == []


def test_many_nodes_that_fall_silent_at_once_are_told_little_by_little():
    plant = Plant()
    nodes = [f"N{n}" for n in range(1500)]
    plant.at(0.0, *(message("NBIRTH", tag("Ramp", 0), node=node) for node in nodes))
    for seq, now in enumerate((30.0, 60.0, 90.0), start=1):
        plant.passes(now - plant.now)
        plant.at(now, *(message("NDATA", change(0, 1.0), seq=seq, node=node) for node in nodes))
    plant.passes(89.0)
    assert plant.silences() == []
    plant.passes(1.0)
    plant.passes(1.0)
    assert len(plant.silences()) == 1000
    plant.passes(1.0)
    assert len(plant.silences()) == 500
    assert len(plant.fleet.absence.silences.nodes) == 1500


def test_with_zero_nobody_is_silent():
    plant = Plant(silent_after=0.0)
    plant.speaks_every(30.0, times=10)
    plant.passes(3600.0)
    assert plant.silences() == []
