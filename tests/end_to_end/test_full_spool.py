"""Zerobus is away until the spool is full, traffic goes on, and Zerobus comes back."""

from __future__ import annotations

import json
import math
import random

from support.peer import PeerType

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import World, world

_CHANCE = random.Random(7)


def text(half_bytes: int = 1 << 18) -> str:
    """Random hexadecimal digits: what cannot be compressed to less than half."""
    return _CHANCE.randbytes(half_bytes).hex()


class Node:
    """An edge node with one metric, by alias, and all values that it published."""

    def __init__(self, system: World, name: str) -> None:
        self.name = name
        self.gateway = Gateway(system.publish, "Plant", name)
        self.values: list[str] = []
        self.messages = 0
        self.alias = 1

    def born(self, value: str | None = None) -> None:
        self.values.append(value or self.values[-1])
        self.messages += 1
        self.gateway.born(
            metric(
                "Recipe",
                PeerType.STRING,
                self.values[-1],
                MEASURED_MS + len(self.values),
                alias=self.alias,
            )
        )

    def change(self, value: str) -> None:
        self.values.append(value)
        self.messages += 1
        self.gateway.data(
            metric(None, PeerType.STRING, value, MEASURED_MS + len(self.values), alias=self.alias)
        )


def overflow(system: World) -> dict:
    return system.consumer.status()["spool"]["overflow"]


def asked(system: World) -> list[str]:
    """The edge nodes that were asked for rebirths, in order."""
    found = [each.topic.split("/") for each in system.client.arrivals]
    return [levels[3] for levels in found if levels[2] == "NCMD"]


def went_offline(system: World) -> bool:
    """Whether the host's STATE was ever offline since it was online."""
    states = [each for each in system.client.arrivals if each.topic == "spBv1.0/STATE/historian"]
    online = [json.loads(each.payload)["online"] for each in states]
    return False in online[online.index(True) :]


def test_a_full_spool_costs_whole_messages_known_per_node_and_the_values_come_again(tmp_path):
    with world(
        tmp_path,
        spool={"max_bytes": "16MiB", "high_watermark": 0.6, "low_watermark": 0.3, "min_free": 0},
        host={"id": "historian", "rebirth": {"per_node": "1s", "fleet_per_second": 10}},
    ) as system:
        system.consumer.start_ready()
        a, b, quiet, mortal = (Node(system, each) for each in ("A", "B", "Quiet", "Mortal"))
        for node in (a, b, quiet, mortal):
            node.born(f"first of {node.name}")
        system.table.wait_for(4)
        assert system.consumer.metric("sparkplug_zerobus_spool_above_watermark") == 0

        system.zerobus.faults.delay_commits(math.inf)
        for _ in range(60):
            a.change(text())
            b.change(text())
            if overflow(system)["full"]:
                break
        system.consumer.wait_for(lambda: overflow(system)["full"], "a full spool")
        system.consumer.wait_for(
            lambda: system.consumer.metric("sparkplug_zerobus_spool_above_watermark") == 1,
            "nearly full",
        )
        assert system.consumer.metric("sparkplug_zerobus_spool_fill_ratio") > 0.6
        for number in range(50):
            a.change(f"{number} of A")
        mortal.gateway.died()
        b.alias = 2
        b.born()
        b.change("by the new alias")
        expected = sum(node.messages for node in (a, b, quiet, mortal))

        def received():
            return system.consumer.status()["rows_produced"] >= expected + 1  # and a death's

        system.consumer.wait_for(received, "all read")
        status = system.consumer.status()
        discarded = {
            each["edge_node_id"]: each["messages"]
            for each in status["spool"]["overflow"]["most_discarded"]
        }
        assert discarded.keys() == {"A", "B"}
        assert discarded["A"] >= 50
        assert status["reasons"]["spool_full"] == sum(discarded.values())
        assert status["messages_discarded"] == status["rows_dropped"] == sum(discarded.values())
        assert status["servers"][0] == status["servers"][0] | {"connections": 1, "connected": True}
        assert asked(system) == []

        system.zerobus.faults.clear()
        system.consumer.wait_for(lambda: not overflow(system)["full"], "room")
        system.consumer.wait_for(lambda: len(asked(system)) == 2, "requests")
        a.born()
        b.born()
        b.change("the last of B")
        for node in (a, b):
            system.table.wait_for(1, edge_node_id=node.name, string_value=node.values[-1])
        system.consumer.wait_delivered()
        check_landed(system, (a, b, quiet, mortal), discarded)

        assert sorted(asked(system)) == ["A", "B"]
        assert system.consumer.reasons()["spool_full"] == sum(discarded.values())
        assert "sequence_gap" not in system.consumer.reasons()
        assert (
            system.consumer.metric(
                'sparkplug_zerobus_rebirths_requested_total{reason="spool_full"}'
            )
            == 2
        )
        assert system.consumer.status()["servers"][0]["connections"] == 1
        assert not went_offline(system)
        system.consumer.wait_for_log("the spool is not nearly full any more")
        log = system.consumer.log()
        assert log.count("the spool is nearly full: ") == 1
        assert log.count("is not nearly full any more") == 1
        assert log.count("Messages are read and dropped") == 1
        assert "asked Plant/A for a rebirth: values lost while the spool was full" in log
        assert system.consumer.stop() == 0


def check_landed(system: World, nodes: tuple[Node, ...], discarded: dict[str, int]) -> None:
    """What landed and what was dropped is all that was published, and the last value landed."""
    for node in nodes:
        rows = system.table.rows(edge_node_id=node.name)
        values = [row["string_value"] for row in rows if row["quality"] == "GOOD"]
        assert len(values) + discarded.get(node.name, 0) == node.messages, node.name
        assert set(values) <= set(node.values)
        if node.name == "Mortal":
            assert rows[-1]["quality"] == "STALE"
        else:
            assert rows[-1]["string_value"] == node.values[-1]
