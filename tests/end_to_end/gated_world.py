"""A running system whose spool is small, and whose gate therefore closes soon."""

from __future__ import annotations

import contextlib
import json
import math
import random
import sqlite3
from typing import TYPE_CHECKING, Any

from support.peer import PeerType
from support.services import wait_until

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from end_to_end.consumer_process import ConsumerProcess
    from end_to_end.world import World

STATE = "spBv1.0/STATE/historian"
_RECIPE_BYTES = 1 << 20


def gated(**changes: Any) -> dict[str, Any]:
    """Changes of a configuration: a gate that closes at 3.2 MiB and opens soon."""
    gate = {"min_closed": "200ms", "drain": "200ms"} | changes.pop("gate", {})
    spool = {"max_bytes": "16MiB", "high_watermark": 0.2, "low_watermark": 0.1, "min_free": 0}
    return {
        **changes,
        "host": {"gate_on_sink": True, "gate": gate} | changes.get("host", {}),
        "spool": spool | changes.get("spool", {}),
    }


@contextlib.contextmanager
def gated_world(directory: Path, **changes: Any) -> Iterator[World]:
    """The system; its consumer is ready, and its gate open."""
    with world(directory, **gated(**changes)) as system:
        system.consumer.start_ready()
        yield system


class BulkyGateway(Gateway):
    """A gateway that waits for no host and fills the spool with a few messages."""

    def __init__(self, system: World, group: str = "Bulk") -> None:
        super().__init__(system.publish, group)
        self._chance = random.Random(group)
        self._number = 0

    def start(self) -> None:
        """Publish the birth."""
        self.born(metric("Recipe", PeerType.STRING, "first"))

    def send(self, messages: int = 4) -> None:
        """Publish so many MiB that cannot be compressed."""
        for _ in range(messages):
            self._number += 1
            text = self._chance.randbytes(_RECIPE_BYTES // 2).hex()
            at = MEASURED_MS + self._number
            self.data(metric("Recipe", PeerType.STRING, text, at))


def read_spool(directory: Path, query: str) -> list[tuple[Any, ...]]:
    """What another program reads in the spool's file."""
    path = directory / "spool.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def gate(process: ConsumerProcess) -> dict[str, Any]:
    """What /status says of the gate."""
    found: dict[str, Any] = process.status()["gate"]
    return found


def wait_for_gate(process: ConsumerProcess, state: str) -> dict[str, Any]:
    """Wait until the gate is so, and return what /status says of it."""
    process.wait_for(lambda: gate(process)["state"] == state, f"a gate that is {state}")
    return gate(process)


def close_gate(system: World, gateway: BulkyGateway) -> None:
    """Let nothing be committed to the table, and fill the spool until the gate is closed."""
    system.zerobus.faults.delay_commits(math.inf)
    gateway.send()
    wait_for_gate(system.consumer, "closed")


def states(system: World) -> list[tuple[bool, int]]:
    """(online, timestamp) of every STATE message so far, one copy of each."""
    found: list[tuple[bool, int]] = []
    for each in system.client.arrivals:
        if each.topic == STATE and each.payload:
            content = json.loads(each.payload)
            state = (content["online"], content["timestamp"])
            if state not in found[-1:]:
                found.append(state)
    return found


def wait_for_states(system: World, *online: bool) -> list[int]:
    """Wait for STATE messages that say this, and no others; return their timestamps."""
    wait_until(lambda: len(states(system)) >= len(online), what=f"STATE {online}")
    found = states(system)
    assert [each for each, _ in found] == list(online), found
    return [timestamp for _, timestamp in found]
