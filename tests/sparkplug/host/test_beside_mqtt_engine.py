"""What users of Ignition's MQTT Engine know of their gateways, and compare with.

Each of it has a test here, or is tested where its rule is:

- a client that the server throws out without a will:
  `tests/sparkplug/host/watch/test_gaps_of_absence.py`
  (`test_a_number_by_the_seq_of_another_session_is_taken_back` and those around it), here the
  birth that ends it (`test_a_client_thrown_out_without_a_will_...`);
- a bdSeq that jumps: here, and `tests/sparkplug/host/reading/test_deaths_ahead.py`;
- "Refresh" is NDEATH, NDEATH, NBIRTH, DBIRTH: here;
- a history flush of hundreds of metrics in one message: here; that it heals gaps:
  `watch/test_gaps_healed.py` (`test_history_from_within_a_gap_heals_it_after_the_birth_too`), from
  end to end `tests/end_to_end/test_gaps.py`
  (`test_history_that_a_node_kept_while_the_host_was_offline_heals_the_gap`);
- a metric that is missing in a new birth: `tests/sparkplug/host/test_fleet_metadata.py`
  (`test_a_tag_that_a_birth_no_longer_declares_is_retired`);
- a UDT that is changed at the edge without a rebirth: here;
- definitions that collide: here, between nodes and in one;
- `convertUdts` on and off: `tests/sparkplug/host/test_fleet_templates.py`, its first part; off,
  with instances but no definitions: here;
- two servers in a set, tried in turns: here; rows of a site's servers:
  `tests/sparkplug/host/test_redundant_servers.py`.
"""

import pytest
from oracle.messages import MEASURED_MS
from support.columnar import deaths, message, metric, tag, values
from support.host_side import Server
from support.listener import LATER, birth, data, death, level, listening, numbers, told
from support.template_messages import definition, fed, instance, member, nested, part, reading

from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Metric

DEVICE_BIRTH = message("DBIRTH", tag("Level", 1), seq=1)


# Refresh


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0])
def test_a_refresh_of_an_edge_node_is_one_death_and_one_birth(seconds):
    heard = listening(birth(bd=3), DEVICE_BIRTH)
    rows = heard.feed(death(bd=3), death(bd=3), now=1.0)
    assert deaths(rows) == ["Boiler/Level", "Ramp"]
    rows = heard.feed(birth(bd=4), DEVICE_BIRTH, now=1.0 + seconds)
    assert told(rows) == {("NBIRTH", "Ramp", 0.0), ("DBIRTH", "Boiler/Level", 0.0)}
    assert numbers(heard.feed(level(2), data(3), now=2.0 + seconds)) == [2, 3]
    assert heard.counts == {"death_of_other_session": 1}
    assert not heard.rebirths
    assert not heard.gaps


def test_a_refresh_whose_second_death_comes_behind_the_birth_changes_nothing():
    heard = listening(birth(bd=3), death(bd=3), birth(bd=4))
    assert not heard.feed(death(bd=3))
    assert numbers(heard.feed(data(1))) == [1]
    assert not heard.rebirths


# Clients that come back


def test_a_bd_seq_that_jumps_over_an_outage_begins_a_session_like_any_other():
    heard = listening(birth(bd=3), data(1), birth(bd=24), data(1))
    assert numbers(heard.rows) == [1, 1]
    assert not heard.feed(death(bd=3))
    assert deaths(heard.feed(death(bd=24))) == ["Ramp"]
    assert not heard.rebirths


def test_what_a_bd_seq_jumps_over_are_sessions_that_were_missed():
    server = Server(reorder_timeout=2.0)
    server.at(0.0, birth(bd=3))
    gaps = [change.gap for change in server.fleet.feed([birth(bd=24)], 1.0).gaps]
    assert [(str(gap.reason), gap.sessions) for gap in gaps] == [("sessions_missed", 20)]


def test_a_client_thrown_out_without_a_will_is_born_again_without_rows_of_a_death():
    heard = listening(birth(bd=3), DEVICE_BIRTH, level(2))
    rows = heard.feed(birth(bd=5, timestamp=LATER), DEVICE_BIRTH, level(2, 7.0))
    assert not deaths(rows)
    assert numbers(rows) == [7]
    assert not heard.rebirths


def test_servers_tried_in_turns_leave_wills_that_end_only_what_is_over():
    """The node connects to the second server in vain, with a bdSeq each, and goes back."""
    first, second = Server("North", reorder_timeout=2.0), Server("North", reorder_timeout=2.0)
    first.fleet.liveness.join([second.fleet.liveness])
    second.fleet.liveness.join([first.fleet.liveness])
    first.at(0.0, birth(bd=3))
    assert not second.at(1.0, death(bd=4))
    first.at(2.0, birth(bd=5))
    assert not second.at(3.0, death(bd=6))
    assert not first.at(3.0, death(bd=3))
    assert values(first.at(4.0, data(1))) == [("Ramp", 1.0)]


# History


def flush(count, seq, *, named=False):
    """One DDATA as a history store sends it: many values of few tags, oldest first."""
    metrics = [
        metric(
            "Level" if named else None,
            alias=None if named else 1,
            double_value=float(n),
            timestamp=MEASURED_MS + n,
            is_historical=True,
        )
        for n in range(count)
    ]
    return message("DDATA", *metrics, seq=seq)


@pytest.mark.parametrize("named", [False, True])
def test_a_flush_of_history_in_one_message_is_a_row_for_each_value_in_order(named):
    heard = listening(birth(), DEVICE_BIRTH)
    rows = heard.feed(flush(900, 2, named=named), level(3))
    history = [row for row in rows if row["is_historical"]]
    assert [row["numeric_value"] for row in history] == [float(n) for n in range(900)]
    assert [row["event_time"] for row in history] == [(MEASURED_MS + n) * 1000 for n in range(900)]
    assert len({row["event_id"] for row in history}) == 900
    assert not rows[-1]["is_historical"]
    assert not heard.counts


def test_a_flush_before_the_birth_of_its_device_waits_and_is_read_by_name():
    heard = listening(birth(), flush(900, 1, named=True))
    rows = heard.feed(message("DBIRTH", tag("Level", 1), seq=2))
    assert sum(row["is_historical"] for row in rows) == 900
    assert not heard.dead_letters


# UDTs


def test_instances_without_definition_are_their_members():
    motor = instance("M", member("speed", 1.0), nested("bearing", member("temp", 2.0)), alias=7)
    seen = fed(message("NBIRTH", motor))
    assert values(seen.rows) == [("M/speed", 1.0), ("M/bearing/temp", 2.0)]
    rows = seen.feed(message("NDATA", part(7, nested("bearing", reading("temp", 3.0))), seq=1))
    assert values(rows) == [("M/bearing/temp", 3.0)]
    assert not seen.counts


def test_a_member_that_was_added_at_the_edge_waits_for_the_birth_and_the_others_do_not():
    seen = fed(message("NBIRTH", instance("M", member("speed"), alias=7)))
    rows = seen.feed(message("NDATA", part(7, reading("speed", 1.0), reading("load", 2.0)), seq=1))
    assert values(rows) == [("M/speed", 1.0)]
    assert seen.rebirths == [("Plant", "Edge", "unknown_metric")]
    rows = seen.feed(message("NBIRTH", instance("M", member("speed"), member("load"), alias=7)))
    assert ("M/load", 2.0) in values(rows)


def test_definitions_of_two_nodes_do_not_collide():
    """MQTT Engine keeps the first of all nodes; here each node has its own."""
    seen = fed()
    for number, (node, code) in enumerate((("A", DataType.Int8), ("B", DataType.UInt8)), 1):
        counter = instance("M", Metric(name="count", int_value=255), alias=number)
        motor = definition("_types_/Motor", Metric(name="count", datatype=code))
        seen.feed(message("NBIRTH", motor, counter, node=node))
    assert [(row["edge_node_id"], row["data_type"]) for row in seen.rows] == [
        ("A", "Int8"),
        ("B", "UInt8"),
    ]


def test_of_two_definitions_of_one_name_in_a_birth_the_later_counts():
    seen = fed(
        message(
            "NBIRTH",
            definition("_types_/Motor", Metric(name="count", datatype=DataType.Int8)),
            definition("Motor", Metric(name="count", datatype=DataType.Int16)),
            instance("M", Metric(name="count", int_value=255)),
        )
    )
    assert [(row["data_type"], row["integer_value"]) for row in seen.rows] == [("Int16", 255)]


def test_what_an_instance_says_of_its_members_goes_before_any_definition():
    seen = fed(
        message(
            "NBIRTH",
            definition("Motor", Metric(name="count", datatype=DataType.Int8)),
            instance("M", Metric(name="count", datatype=DataType.Int32, int_value=255)),
        )
    )
    assert [(row["data_type"], row["integer_value"]) for row in seen.rows] == [("Int32", 255)]
