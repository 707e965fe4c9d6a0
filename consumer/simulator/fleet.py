"""Fleets of simulated gateways."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from consumer.errors import ConfigurationError
from consumer.simulator.group import NodeGroup
from consumer.simulator.node import SimulatedNode, now_ms
from consumer.simulator.tags import (
    CONVEYOR,
    NODE,
    PRESS,
    SIMULATOR,
    TagProgram,
    tags,
)
from sparkplug import check_id
from sparkplug.edge import EdgeNode, EdgeNodeOptions

if TYPE_CHECKING:
    from consumer.simulator.connection import MqttTarget
    from consumer.simulator.ledger import Published
    from consumer.simulator.tags import SimulatedTag

__all__ = ["EdgeNodeOptions", "Gateways"]

_CHANGES_PER_SIMULATOR: Final = 2_500.0
"""Changes per second that one simulated device takes, about a hundred per tag."""
_LINES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Gateways(NodeGroup):
    """Simulated gateways "Plant 1" to "Plant N", each with `edge_nodes` edge nodes."""

    def __init__(
        self,
        target: MqttTarget,
        gateways: int = 3,
        rate: float = 200.0,
        seed: int = 1,
        *,
        options: EdgeNodeOptions | None = None,
        edge_nodes: int = 1,
        gateway_index: int | None = None,
        ledger: Published | None = None,
    ) -> None:
        """Describe the fleet; `start` runs it.

        Args:
            target: the MQTT server.
            gateways: how many there are.
            rate: changes per second and gateway.
            seed: equal seeds give equal series of changes.
            options: how each edge node writes and behaves. With CONVEYOR_INSTANCES as its
                `instances` it has the device "Conveyor 1", too, which has them.
            edge_nodes: edge nodes of each gateway, 1 to 26.
            gateway_index: run only this one of the gateways, from 1.
            ledger: keeps the event_ids of everything published, in memory; None keeps nothing.

        Raises:
            ConfigurationError: an argument is out of its bounds.
        """
        if gateways < 1 or not 1 <= edge_nodes <= len(_LINES):
            raise ConfigurationError("gateways: at least 1; edge nodes: 1 to 26")
        if gateway_index is not None and not 1 <= gateway_index <= gateways:
            raise ConfigurationError(f"gateway index {gateway_index}: must be 1 to {gateways}")
        if rate < 0 or not math.isfinite(rate):
            raise ConfigurationError(f"rate {rate}: must be 0 or more changes per second")
        self._options = options or EdgeNodeOptions()
        if self._options.primary_host_id is not None:
            try:
                check_id(self._options.primary_host_id, "primary host id")
            except ValueError as error:
                raise ConfigurationError(str(error)) from None
        target.address()
        self._ledger = ledger
        indexes = range(1, gateways + 1) if gateway_index is None else [gateway_index]
        super().__init__(
            self._node(f"Plant {index}", f"Line {line}", rate / edge_nodes, seed, target)
            for index in indexes
            for line in _LINES[:edge_nodes]
        )

    def _node(
        self, group_id: str, edge_node_id: str, rate: float, seed: int, target: MqttTarget
    ) -> SimulatedNode:
        start_ms = now_ms()
        devices: dict[str | None, list[SimulatedTag]] = {
            None: tags(None, NODE, start_ms),
            "Press 1": tags("Press 1", PRESS, start_ms),
        }
        for number in range(1, max(1, math.ceil(rate / _CHANGES_PER_SIMULATOR)) + 1):
            name = "Simulator" if number == 1 else f"Simulator {number}"
            devices[name] = tags(name, SIMULATOR, start_ms)
        if self._options.instances:
            devices["Conveyor 1"] = tags("Conveyor 1", CONVEYOR, start_ms)
        # Text seeds are hashed with SHA-512: the same on every machine.
        rng = random.Random(f"{seed}/{group_id}/{edge_node_id}")  # noqa: S311 - a simulation
        program = TagProgram([tag for each in devices.values() for tag in each], rng)
        node = EdgeNode(
            group_id, edge_node_id, (tag.metric for tag in devices.pop(None)), self._options
        )
        for device_id, device_tags in devices.items():
            assert device_id is not None
            node.add_device(device_id, (tag.metric for tag in device_tags), start_ms)
        backoff = random.Random(f"{seed}/{group_id}/{edge_node_id}/backoff")  # noqa: S311
        return SimulatedNode(node, program, target, rate=rate, rng=backoff, ledger=self._ledger)

    @property
    def ledger(self) -> Published:
        """The ids of all values that the gateways published.

        Raises:
            RuntimeError: the fleet was made without a ledger.
        """
        if self._ledger is None:
            raise RuntimeError("this fleet keeps no ledger")
        return self._ledger
