"""Edge nodes that are seen in part (docs/decoding.md): their seq tells nothing."""

from __future__ import annotations

from functools import partial

import pytest
from support.columnar import change, message, tag
from support.host_side import Server

from sparkplug.events import EventKind
from sparkplug.filters import sight_of

NODE_ONLY = ("spBv1.0/+/NBIRTH/+", "spBv1.0/+/NDATA/+", "spBv1.0/+/NDEATH/+")
BIRTH = message("NBIRTH", tag("Ramp", 0), seq=0)


def server(*filters):
    return Server(sight=partial(sight_of, filters), reorder_timeout=2.0)


def data(seq, node="Edge"):
    return message("NDATA", change(0, float(seq)), seq=seq, node=node)


def numbers(rows):
    return [row["numeric_value"] for row in rows]


def heard(fleet, *batches):
    """Values that are read at once, of one batch after the other."""
    return [numbers(fleet.at(float(number), *batch)) for number, batch in enumerate(batches)]


@pytest.mark.parametrize("filters", [NODE_ONLY, ("$share/g/spBv1.0/#",)])
def test_holes_in_the_seq_of_a_node_seen_in_part_are_none(filters):
    fleet = server(*filters)
    fleet.at(0.0, BIRTH)
    assert heard(fleet, [data(5)], [data(9), data(30)], [data(2)], [data(2)]) == [
        [5.0],
        [9.0, 30.0],
        [2.0],
        [2.0],
    ]
    assert not fleet.tick(100.0)
    assert fleet.wishes() == []
    assert fleet.told(EventKind.GAP) == []
    assert not fleet.counts
    assert fleet.fleet.gauges.held_messages == 0


def test_a_node_beside_it_that_is_seen_whole_is_judged():
    fleet = server(*NODE_ONLY, "spBv1.0/+/+/Whole/#")
    fleet.at(0.0, BIRTH, message("NBIRTH", tag("Ramp", 0), seq=0, node="Whole"))
    assert numbers(fleet.at(1.0, data(5), data(5, "Whole"), data(7), data(1, "Whole"))) == [
        5.0,
        7.0,
        1.0,
    ]
    assert numbers(fleet.tick(10.0)) == [5.0]
    assert fleet.wishes() == [("Whole", "sequence_gap")]
    assert [event.edge_node_id for event in fleet.told(EventKind.GAP)] == ["Whole"]


def test_nothing_proves_after_an_absence_that_a_node_seen_in_part_is_where_it_was():
    fleet = server(*NODE_ONLY)
    fleet.at(0.0, BIRTH, data(4))
    fleet.lost(1.0, 1)
    assert fleet.at(2.0, data(5)) == []  # continues its seq, by chance
    assert fleet.wishes() == [("Edge", "data_before_birth")]
    assert fleet.told(EventKind.GAP) == []
    rows = fleet.at(3.0, message("NBIRTH", tag("Ramp", 0), seq=6))
    assert 5.0 in numbers(rows)
    assert numbers(fleet.at(4.0, data(200))) == [200.0]
    assert fleet.wishes() == []


def test_births_that_no_filter_shows_are_not_asked_for():
    fleet = server("spBv1.0/+/+/Edge/Boiler", "spBv1.0/+/+/Other", "spBv1.0/+/DDATA/Third/#")
    boiler = message("DDATA", change(0, 1.0), seq=1)
    fleet.at(0.0, message("DBIRTH", tag("Ramp", 0), seq=3), boiler)
    assert fleet.counts["data_before_birth"] == 2
    assert fleet.wishes() == []
    # Its NBIRTH can be seen, the births of its devices cannot.
    fleet.at(1.0, data(1, "Other"))
    assert fleet.wishes() == [("Other", "data_before_birth")]
    fleet.at(2.0, message("NBIRTH", tag("Ramp", 0), node="Other"))
    fleet.at(3.0, message("DDATA", change(0, 1.0), seq=1, node="Other"))
    assert fleet.counts["device_data_before_birth"] == 1
    assert fleet.wishes() == []
