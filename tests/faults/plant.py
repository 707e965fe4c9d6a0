"""Edge nodes under load: simulated ones with tags of our own, and a notebook for a ledger."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import TYPE_CHECKING

from support.services import PATIENCE, wait_until

from consumer.simulator.connection import MqttTarget
from consumer.simulator.group import NodeGroup
from consumer.simulator.node import SimulatedNode, now_ms
from faults.notebook import POISON_QUALITY, Notebook
from sparkplug.datatypes import DataType
from sparkplug.edge import EdgeNode, EdgeNodeOptions, Update
from sparkplug.edge.encoding import Metric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparkplug.actions import Scalar

GROUP = "Plant"
DEVICES = (None, "Boiler", "Press")
POISON_TAG = "Sensor"
HOST_ID = "historian"

_TYPES = (
    DataType.Double,
    DataType.Int32,
    DataType.String,
    DataType.Boolean,
    DataType.UInt64,
    DataType.Float,
)
_TAGS_PER_DEVICE = 12


def _value(data_type: DataType, number: int) -> Scalar:
    match data_type:
        case DataType.Double | DataType.Float:
            return number * 0.25
        case DataType.Int32:
            return number if number % 2 else -number
        case DataType.Boolean:
            return number % 2 == 1
        case DataType.String:
            return f"Größe {number}"
        case _:
            return 2**63 + number


class Program:
    """Lets the tags of one edge node change in turn, each with a time of its own.

    With `poison_every` each so many-th round has one value more, with a quality code that
    is too large for a narrow table, and the round after it one that takes it back.
    """

    def __init__(self, start_ms: int, poison_every: int = 0) -> None:
        self.metrics = {
            device: [
                Metric(
                    name=f"{data_type.name}/{number}",
                    data_type=data_type,
                    value=_value(data_type, 0),
                    timestamp_ms=start_ms,
                )
                for number, data_type in zip(
                    range(_TAGS_PER_DEVICE), itertools.cycle(_TYPES), strict=False
                )
            ]
            for device in DEVICES
        }
        self.metrics[None].append(
            Metric(name=POISON_TAG, data_type=DataType.Int32, value=0, timestamp_ms=start_ms)
        )
        self._times = {
            (device, metric.name): start_ms
            for device, metrics in self.metrics.items()
            for metric in metrics
        }
        self._number = 0
        self._round = 0
        self._poison_every = poison_every
        self._turn = itertools.cycle(
            [
                (device, metric.name, metric.data_type)
                for device, metrics in self.metrics.items()
                for metric in metrics
                if metric.name != POISON_TAG
            ]
        )

    def changes(self, count: int, at_ms: int) -> dict[str | None, list[Update]]:
        """The next changes, by device."""
        result: dict[str | None, list[Update]] = {}
        for device, name, data_type in itertools.islice(self._turn, count):
            self._number += 1
            update = self._update(device, name, _value(data_type, self._number), at_ms)
            result.setdefault(device, []).append(update)
        self._round += 1
        if self._poison_every:
            place = self._round % self._poison_every
            if place in (0, 1):
                quality = None if place else POISON_QUALITY
                update = self._update(None, POISON_TAG, self._round, at_ms, quality)
                result.setdefault(None, []).append(update)
        return result

    def _update(
        self,
        device: str | None,
        name: str,
        value: Scalar,
        at_ms: int,
        quality: int | None = None,
    ) -> Update:
        # Two changes of a tag are never one observation.
        at_ms = self._times[device, name] = max(at_ms, self._times[device, name] + 1)
        return Update(name, value, at_ms, quality)


class Plant(NodeGroup):
    """Edge nodes, and a notebook of what they published.

    With `store_and_forward` they name the consumer as their primary host: they publish only
    while its STATE is online, and after a lost session say again what they said before it.
    """

    def __init__(
        self,
        url: str,
        *,
        nodes: int,
        rate: float,
        store_and_forward: bool = False,
        poison_every: int = 0,
    ) -> None:
        """`rate` is in changes per second, of all edge nodes together."""
        self.notebook = Notebook()
        options = EdgeNodeOptions(
            primary_host_id=HOST_ID if store_and_forward else None,
            rolling_history_ms=20_000 if store_and_forward else 0,
        )
        simulated: list[SimulatedNode] = []
        for number in range(1, nodes + 1):
            start_ms = now_ms()
            program = Program(start_ms, poison_every)
            node = EdgeNode(GROUP, f"Edge {number}", program.metrics[None], options)
            for device in DEVICES[1:]:
                assert device is not None
                node.add_device(device, program.metrics[device], start_ms)
            simulated.append(
                SimulatedNode(
                    node,
                    program,
                    MqttTarget(url),
                    rate=rate / nodes,
                    rng=random.Random(number),
                    ledger=self.notebook,
                )
            )
        super().__init__(simulated)

    @property
    def published(self) -> int:
        """Metric values so far."""
        return self.notebook.published

    def wait_online(self, timeout: float = PATIENCE) -> bool:
        """Wait until the births of all edge nodes are published."""
        assert super().wait_online(timeout), "not all edge nodes are online"
        return True

    def wait_published(self, values: int, timeout: float = PATIENCE) -> None:
        """Wait until so many more values were published."""
        goal = self.published + values
        wait_until(lambda: self.published >= goal, timeout, f"{values} more values published")

    def wait_heard_from_all(self, timeout: float = PATIENCE) -> None:
        """Wait until every edge node has published data after this moment."""
        before = self.notebook.data_counts()

        def all_did() -> bool:
            now = self.notebook.data_counts()
            return len(now) == len(self._nodes) and all(now[node] > before[node] for node in now)

        wait_until(all_did, timeout, "data of every edge node")

    def pause(self) -> None:
        """Let nothing change any more, and wait until what did is published."""
        super().pause()
        wait_until(lambda: self.quiet and not self.stored, what="edge nodes that pause")


@contextlib.contextmanager
def plant(url: str, **options: object) -> Iterator[Plant]:
    """Edge nodes that are not started yet; they leave in order at the end."""
    edge_nodes = Plant(url, **options)  # type: ignore[arg-type] # as Plant says
    try:
        yield edge_nodes
    finally:
        assert edge_nodes.stop(PATIENCE), "an edge node does not end"
