"""Simulated edge nodes that are started, paused and stopped together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.simulator.node import SimulatedNode


class NodeGroup:
    """Some edge nodes, each a thread with an MQTT connection of its own.

    Properties may be read from any thread.
    """

    def __init__(self, nodes: Iterable[SimulatedNode]) -> None:
        self._nodes = list(nodes)

    def start(self) -> None:
        """Start all edge nodes. They connect, and connect again, on their own."""
        for node in self._nodes:
            node.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """Stop all edge nodes: NDEATH, DISCONNECT. False if some still run after `timeout`."""
        for node in self._nodes:
            node.request_stop()
        deadline = time.monotonic() + timeout
        for node in self._nodes:
            if node.is_alive():
                node.join(max(0.0, deadline - time.monotonic()))
        return not any(node.is_alive() for node in self._nodes)

    def pause(self) -> None:
        """Let no tag change once they are `quiet`; the gateways stay connected."""
        for node in self._nodes:
            node.pause()

    def resume(self) -> None:
        """End a pause."""
        for node in self._nodes:
            node.resume()

    def break_connections(self) -> None:
        """Let every connection fail once, without DISCONNECT."""
        for node in self._nodes:
            node.break_connection()

    def wait_online(self, timeout: float = 10.0) -> bool:
        """Wait until the births of all edge nodes are published; False after `timeout`."""
        deadline = time.monotonic() + timeout
        while self.online < len(self._nodes):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    @property
    def gateways(self) -> list[str]:
        """Names of the edge nodes: group id / edge node id."""
        return [node.descriptor for node in self._nodes]

    @property
    def published(self) -> int:
        """Metric values handed to MQTT so far, births included."""
        return sum(node.published for node in self._nodes)

    @property
    def dropped(self) -> int:
        """Values that could not be published and did not fit into a store."""
        return sum(node.dropped for node in self._nodes)

    @property
    def stored(self) -> int:
        """Values that wait in the stores of the edge nodes."""
        return sum(node.stored for node in self._nodes)

    @property
    def quiet(self) -> bool:
        """A pause has taken effect everywhere, so that what was published can be compared."""
        return all(node.quiet for node in self._nodes)

    @property
    def connected(self) -> int:
        """Edge nodes with a connection, those that wait for a primary host included."""
        return sum(node.connected for node in self._nodes)

    @property
    def online(self) -> int:
        """Edge nodes whose births are published."""
        return sum(node.online for node in self._nodes)

    @property
    def rebirths(self) -> int:
        """Rebirth requests obeyed."""
        return sum(node.rebirths for node in self._nodes)

    @property
    def connections(self) -> int:
        """Connections established so far."""
        return sum(node.connections for node in self._nodes)
