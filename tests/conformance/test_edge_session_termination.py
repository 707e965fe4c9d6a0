"""What becomes of edge nodes and devices that die (the kit's EdgeSessionTerminationTest).

The kit asks its user to look at the host's screen; here the Delta table is looked at, and
how the host treats data that comes after a death.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conformance.assertions import Seen, tck
from conformance.edge import now_ms, number

ROWS = (Seen.ROWS,)
ROWS_AND_REQUEST = (Seen.ROWS, Seen.SUBSCRIBER)
LONG_AGO_MS = 1_600_000_000_000


def at_ms(row):
    """The event_time of a row, in milliseconds since 1970 UTC."""
    assert row["event_time"].tzinfo is not None
    return (row["event_time"] - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000


def stale(rows):
    """The rows that say STALE, by metric."""
    found = {row["metric_name"]: row for row in rows if row["quality"] == "STALE"}
    for row in found.values():
        assert row["quality_code"] == 500
        assert row["numeric_value"] is None
        assert row["is_historical"] is False
    return found


def wait_stale(system, edge, *names):
    """Wait until these metrics, and no others, of an edge node and its devices are STALE."""
    system.table.wait_for(len(names), group_id=edge.group, quality="STALE")
    found = stale(system.table.rows(group_id=edge.group))
    assert found.keys() == set(names)
    return found


@pytest.fixture
def node(edge):
    """An edge node with two metrics, and a device with one."""
    edge.born(number("Level", 1.0), number("Flow", 2.0))
    edge.device_born("Pump", number("Speed", 3.0))
    edge.device_born("Valve", number("Open", 4.0))
    return edge


def die(node, how):
    """End the session of a node: NDEATH and DISCONNECT, or its will. When, at the earliest."""
    before_ms = now_ms()
    if how == "will":
        node.break_off()
    else:
        node.leave()
    return before_ms


@tck(
    "operational-behavior-edge-node-termination-host-action-ndeath-node-tags-stale",
    seen=ROWS,
    checks="After an NDEATH every metric of the NBIRTH has a row without value, quality STALE, "
    "with the host's UTC time at its arrival, and not the time in the NDEATH.",
)
def test_the_metrics_of_a_dead_node_are_stale(running, edge):
    edge.death_ms = LONG_AGO_MS
    edge.born(number("Level", 1.0), number("Flow", 2.0))
    running.table.wait_for(2, group_id=edge.group)
    before_ms = die(edge, "in order")
    found = wait_stale(running, edge, "Level", "Flow")
    for row in found.values():
        assert row["message_type"] == "NDEATH"
        assert before_ms <= at_ms(row) <= now_ms()


@tck(
    "operational-behavior-edge-node-termination-host-action-ndeath-devices-tags-stale",
    seen=ROWS,
    checks="After an NDEATH, here the will, every metric of every DBIRTH of that edge node has a "
    "row without value, quality STALE, with the host's UTC time at its arrival.",
)
def test_the_metrics_of_all_devices_of_a_dead_node_are_stale(running, node):
    running.table.wait_for(4, group_id=node.group)
    before_ms = die(node, "will")
    found = wait_stale(running, node, "Level", "Flow", "Speed", "Open")
    assert {found["Speed"]["device_id"], found["Open"]["device_id"]} == {"Pump", "Valve"}
    for name in ("Speed", "Open"):
        assert before_ms <= at_ms(found[name]) <= now_ms()


@tck(
    "operational-behavior-edge-node-termination-host-action-ndeath-node-offline",
    seen=ROWS_AND_REQUEST,
    checks="After an NDEATH the edge node is offline to the host, since the host's UTC time at its "
    "arrival: data of the old session gives no row, and the host asks for a rebirth. The next "
    "NBIRTH makes it online.",
)
def test_a_dead_node_is_offline(running, edge):
    edge.born(number("Level", 1.0, alias=0))
    before_ms = die(edge, "in order")
    found = wait_stale(running, edge, "Level")
    assert before_ms <= at_ms(found["Level"]) <= now_ms()
    edge.bd_seq += 1
    edge.connect()
    edge.data(number(None, 2.0, alias=0))
    running.observer.wait_for(edge.topic("NCMD"))
    assert len(running.table.rows(group_id=edge.group)) == 2

    edge.born(number("Level", 3.0, alias=0))
    edge.data(number(None, 4.0, alias=0))
    rows = running.table.wait_for(1, group_id=edge.group, numeric_value=4.0)
    assert [row["quality"] for row in rows] == ["GOOD"]


@tck(
    "operational-behavior-edge-node-termination-host-action-ndeath-devices-offline",
    seen=ROWS_AND_REQUEST,
    checks="After an NDEATH all devices are offline to the host, since its UTC time: when the edge "
    "node is born again, data of a device without a DBIRTH of its own gives no row, and the host "
    "asks for a rebirth.",
)
def test_the_devices_of_a_dead_node_are_offline(running, node):
    before_ms = die(node, "in order")
    found = wait_stale(running, node, "Level", "Flow", "Speed", "Open")
    assert all(before_ms <= at_ms(found[name]) <= now_ms() for name in ("Speed", "Open"))
    node.bd_seq += 1
    node.connect()
    node.born(number("Level", 1.5), number("Flow", 2.5))
    node.device_born("Valve", number("Open", 4.5))
    node.data(number("Open", 5.0), device="Valve")
    running.table.wait_for(1, group_id=node.group, numeric_value=5.0)
    assert running.observer.on(node.topic("NCMD")) == []

    node.data(number("Speed", 6.0), device="Pump")
    running.observer.wait_for(node.topic("NCMD"))
    assert running.table.rows(group_id=node.group, numeric_value=6.0) == []


@tck(
    "operational-behavior-edge-node-termination-host-action-ddeath-devices-tags-stale",
    seen=ROWS,
    checks="After a DDEATH every metric of the DBIRTH has a row without value, quality STALE, with "
    "the time in the DDEATH. Metrics of the node and of other devices have none.",
)
def test_the_metrics_of_a_dead_device_are_stale(running, node):
    died_ms = now_ms() + 7
    node.device_died("Pump", timestamp=died_ms)
    found = wait_stale(running, node, "Speed")
    assert found["Speed"]["message_type"] == "DDEATH"
    assert at_ms(found["Speed"]) == died_ms
    node.data(number("Open", 5.0), device="Valve")
    node.data(number("Level", 6.0))
    running.table.wait_for(1, group_id=node.group, numeric_value=6.0)
    assert stale(running.table.rows(group_id=node.group)).keys() == {"Speed"}


@tck(
    "operational-behavior-edge-node-termination-host-action-ddeath-devices-offline",
    seen=ROWS_AND_REQUEST,
    checks="After a DDEATH the device is offline to the host, since the time in it: its data gives "
    "no row, and the host asks for a rebirth; its edge node and other devices stay online.",
)
def test_a_dead_device_is_offline(running, node):
    died_ms = now_ms() + 7
    node.device_died("Pump", timestamp=died_ms)
    assert at_ms(wait_stale(running, node, "Speed")["Speed"]) == died_ms
    node.data(number("Open", 5.0), device="Valve")
    node.data(number("Level", 6.0))
    running.table.wait_for(1, group_id=node.group, numeric_value=6.0)
    assert running.table.rows(group_id=node.group, numeric_value=5.0) != []
    assert running.observer.on(node.topic("NCMD")) == []

    node.data(number("Speed", 7.0), device="Pump")
    running.observer.wait_for(node.topic("NCMD"))
    assert running.table.rows(group_id=node.group, numeric_value=7.0) == []
