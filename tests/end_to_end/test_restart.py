"""What the consumer knows of edge nodes after it was started again."""

from __future__ import annotations

from collections import Counter

from support.services import wait_until

from end_to_end.many_nodes import many_nodes
from end_to_end.world import world

NODES = 200
ROWS_OF_BIRTHS = 3 * NODES
ROWS_OF_CHANGE = 2 * NODES


def values_of(rows):
    """What landed, without what differs from one delivery to the next."""
    return Counter(
        (
            row["edge_node_id"],
            row["metric_name"],
            row["numeric_value"],
            round(row["event_time"].timestamp() * 1000),
        )
        for row in rows
        if row["metric_name"] != "Unit"
    )


def landed(system):
    """The same of the table, copies counted once."""
    return values_of({row["event_id"]: row for row in system.table.rows()}.values())


def published(nodes, numbers):
    """The same, of what the nodes published."""
    return Counter(
        (name, metric, float(number), nodes.time_of(number))
        for name in nodes.nodes
        for metric in ("Load", "Level")
        for number in numbers
    )


def test_nodes_whose_seq_is_unbroken_are_trusted_after_a_restart(tmp_path):
    with world(tmp_path) as system, many_nodes(system.server, NODES) as nodes:
        system.consumer.start_ready()
        nodes.publish_births()
        nodes.change(1)
        system.table.wait_for(ROWS_OF_BIRTHS + ROWS_OF_CHANGE)
        assert system.consumer.stop() == 0

        system.consumer.start_ready()
        nodes.change(2)
        rows = system.table.wait_for(ROWS_OF_BIRTHS + 2 * ROWS_OF_CHANGE)

        assert values_of(rows) == published(nodes, [0, 1, 2])
        assert len(set(system.table.event_ids())) == len(rows)
        assert nodes.requests == []
        assert system.consumer.metric("sparkplug_zerobus_waiting_messages") == 0
        assert not system.consumer.reasons().keys() & {"data_before_birth", "sequence_gap"}
        assert system.consumer.stop() == 0


def test_nodes_that_went_on_while_the_consumer_was_down_are_asked_once_and_lose_nothing_after(
    tmp_path,
):
    budget = 50
    # Whoever does not answer is asked again: not because the answer takes some seconds.
    rebirth = {"fleet_per_second": budget, "per_node": "1h"}
    with (
        world(tmp_path, host={"rebirth": rebirth}) as system,
        many_nodes(system.server, NODES) as nodes,
    ):
        system.consumer.start_ready()
        nodes.publish_births()
        nodes.change(1)
        system.table.wait_for(ROWS_OF_BIRTHS + ROWS_OF_CHANGE)
        assert system.consumer.stop() == 0
        nodes.change(2)
        nodes.flush()

        system.consumer.start_ready()
        nodes.change(3)
        nodes.change(4)
        system.consumer.wait_for(lambda: len(nodes.requests) >= NODES, "rebirth requests")
        nodes.change(5)

        # What was published while the consumer was away is gone, but for the last values,
        # which births may repeat; everything else is there, with its own time, and no more.
        expected = published(nodes, [0, 1, 3, 4, 5])
        wait_until(lambda: not expected - landed(system), what="everything else")
        system.consumer.wait_delivered()
        assert landed(system) - published(nodes, [0, 1, 2, 3, 4, 5]) == Counter()
        assert Counter(name for _, name in nodes.requests) == Counter(nodes.nodes.keys())
        asked_ms = [at_ms for at_ms, _ in nodes.requests]
        assert max(asked_ms) - min(asked_ms) > 1_000 * (NODES - 2 * budget) / budget
        assert system.consumer.metric("sparkplug_zerobus_waiting_messages") == 0
        assert system.consumer.stop() == 0


def test_held_messages_survive_a_restart(tmp_path):
    # Nobody answers: a passive host does not ask.
    with (
        world(tmp_path, host={"mode": "passive"}) as system,
        many_nodes(system.server, 3) as nodes,
    ):
        system.consumer.start_ready()
        nodes.publish_births()
        system.table.wait_for(3 * 3)
        assert system.consumer.stop() == 0
        nodes.change(1)  # nobody hears it
        nodes.flush()
        system.consumer.start_ready()
        nodes.change(2)
        system.consumer.wait_for(
            lambda: system.consumer.metric("sparkplug_zerobus_waiting_messages") == 6, "held"
        )
        assert system.consumer.stop() == 0
        system.consumer.start_ready()
        assert system.consumer.metric("sparkplug_zerobus_waiting_messages") == 6
        for node in nodes.nodes.values():
            nodes._perform(node.rebirth(nodes.time_of(3)))
        # The births say of the aliases what those before said; they repeat what was held: the same
        # observations, of which the births' copies are present and the held ones history.
        wait_until(lambda: landed(system) == published(nodes, [0, 2]), what="what was held")
        system.consumer.wait_delivered()
        for is_historical, types in ((False, {"NBIRTH", "DBIRTH"}), (True, {"NDATA", "DDATA"})):
            copies = [
                row
                for row in system.table.rows()
                if row["numeric_value"] == 2.0 and row["is_historical"] is is_historical
            ]
            assert values_of(copies) == published(nodes, [2])
            assert {row["message_type"] for row in copies} == types


def test_a_kill_leaves_births_that_fit_the_rows(tmp_path):
    with world(tmp_path) as system, many_nodes(system.server, 20) as nodes:
        system.consumer.start_ready()
        nodes.publish_births()
        nodes.change(1)
        system.table.wait_for(20 * 5)
        system.consumer.kill()
        system.consumer.start_ready()
        nodes.change(2)
        # Rows that were not acknowledged before the kill land once more: they do not count.
        expected = published(nodes, [0, 1, 2])
        wait_until(lambda: not expected - landed(system), what="everything")
        assert landed(system) == expected
        assert nodes.requests == []
