"""The life of a host application, played once per protocol version and written down.

Three sessions: one that ends by SIGTERM, one that the host ends itself because another
application outdated its STATE, one that ends by a crash.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from oracle.messages import payload
from support.services import wait_until

from conformance.edge import Edge, edge_node, now_ms, number
from conformance.mqtt_packets import Connect, Disconnect, Publish
from conformance.observer import Arrival, Observer, kept, state_of
from conformance.plant import FAR_EAST, STATE, Plant, plant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conformance.recording_proxy import Recorded

_A_MINUTE_MS = 60_000
_PATIENCE = 30.0


@dataclass
class Session:
    """What passed between the host and the server in one MQTT session."""

    recorded: list[Recorded]

    @property
    def connect(self) -> Connect:
        """CONNECT, which comes first."""
        packet = self.recorded[0].packet
        assert isinstance(packet, Connect)
        return packet

    @property
    def sent(self) -> list[Recorded]:
        """What the host sent."""
        return [each for each in self.recorded if each.from_client]

    @property
    def published(self) -> list[Publish]:
        """What the host published."""
        return [each.packet for each in self.sent if isinstance(each.packet, Publish)]

    @property
    def states(self) -> list[Publish]:
        """What the host published on any STATE topic."""
        return [each for each in self.published if "/STATE/" in each.topic]

    @property
    def commands(self) -> list[Publish]:
        """What the host published that is no STATE."""
        return [each for each in self.published if "/STATE/" not in each.topic]

    @property
    def births(self) -> list[Publish]:
        """STATE messages that say online."""
        return [each for each in self.states if state_of(each.payload).get("online") is True]

    @property
    def deaths(self) -> list[Publish]:
        """STATE messages that the host itself published and that say offline."""
        return [each for each in self.states if state_of(each.payload).get("online") is False]

    @property
    def disconnect(self) -> Disconnect | None:
        """How the host took its leave, if it did."""
        last = self.sent[-1].packet
        return last if isinstance(last, Disconnect) else None

    def positions(self, kind: type) -> list[int]:
        """Where packets of a kind are in `recorded`."""
        return [index for index, each in enumerate(self.recorded) if isinstance(each.packet, kind)]


@dataclass
class HostLife:
    """Everything that was seen of one host."""

    protocol: str
    stopped: Session
    renewed: Session
    crashed: Session
    seen: dict[str, list[Arrival]]
    """What subscribers got, by their protocol version."""
    kept: dict[str, Arrival | None]
    """The STATE that a new subscriber got, by moment; None if there was none."""
    alias: Edge
    exit_code: int = -1
    moments_ms: dict[str, int] = field(default_factory=dict)

    @property
    def sessions(self) -> list[Session]:
        """All of them, in order."""
        return [self.stopped, self.renewed, self.crashed]

    def states_seen(self, protocol: str) -> list[tuple[Arrival, dict[str, Any]]]:
        """STATE messages of the host as a subscriber got them, and what they say."""
        return [
            (each, state_of(each.payload)) for each in self.seen[protocol] if each.topic == STATE
        ]


def live(directory: Path, protocol: str) -> HostLife:
    """Play the life of a host that speaks this protocol version.

    What the host should do is waited for, but not insisted on: that is for the tests.
    """
    with plant(directory, environ=FAR_EAST, servers={"protocol": protocol}) as system:
        keeps: dict[str, Arrival | None] = {}
        moments = {"started": now_ms()}
        system.consumer.start_ready()
        keeps["online"] = _kept_when(system, online=True)
        _contradict(system, by_ms=0)
        alias = _ask_for_rebirths(system)

        moments["stop"] = now_ms()
        exit_code = system.consumer.stop()
        moments["stopped"] = now_ms()
        _wait(lambda: system.proxy.connections[0].ended)
        keeps["stopped"] = _kept_when(system, online=False)

        system.consumer.start_ready()
        keeps["online again"] = _kept_when(system, online=True)
        _contradict(system, by_ms=_A_MINUTE_MS)
        _wait(lambda: _announced(system, 2))
        keeps["renewed"] = _kept_when(system, online=True)
        system.consumer.kill()
        _wait(lambda: all(each.ended for each in system.proxy.connections))
        keeps["crashed"] = _kept_when(system, online=False)

        observers = list(system.observers.values())
        _wait(lambda: all(_has_seen_the_end(each, keeps["crashed"]) for each in observers))
        first, second, third = (Session(each.recorded) for each in system.proxy.connections)
        seen = {protocol: each.arrivals for protocol, each in system.observers.items()}
        return HostLife(protocol, first, second, third, seen, keeps, alias, exit_code, moments)


def _wait(condition: Callable[[], object]) -> None:
    """Give the host some seconds to do something."""
    with contextlib.suppress(AssertionError):
        wait_until(condition, _PATIENCE)


def _kept_when(system: Plant, *, online: bool) -> Arrival | None:
    """The STATE that the server keeps, once it says this, or after some seconds."""
    found: list[Arrival | None] = []

    def says_so() -> bool:
        found.append(kept(system.server.port, STATE))
        return found[-1] is not None and state_of(found[-1].payload).get("online") is online

    _wait(says_so)
    return found[-1]


def _has_seen_the_end(observer: Observer, last: Arrival | None) -> bool:
    """Whether a subscriber was told what the server keeps in the end."""
    states = observer.on(STATE)
    return bool(last and states and states[-1].payload == last.payload)


def _announced(system: Plant, index: int) -> bool:
    """Whether the host has published something in its session of that number."""
    connections = system.proxy.connections
    return len(connections) > index and any(
        isinstance(each.packet, Publish) for each in connections[index].sent
    )


def _contradict(system: Plant, *, by_ms: int) -> None:
    """Say for the host that it is offline, so much later than it said it is online."""
    connection = system.proxy.connections[-1]
    before = len(connection.sent)
    assert connection.connect.will is not None
    online = state_of(connection.connect.will.payload)
    at_ms = online["timestamp"] + by_ms
    system.observer.publish(STATE, b'{"online":false,"timestamp":%d}' % at_ms, retain=True)
    _wait(lambda: any(isinstance(each.packet, Publish) for each in connection.sent[before:]))


def _ask_for_rebirths(system: Plant) -> Edge:
    """Give the host three reasons to ask for a rebirth, each by an edge node of its own."""
    port = system.server.port
    with (
        edge_node(port, "Plant", "Unborn") as unborn,
        edge_node(port, "Plant", "Alias") as alias,
        edge_node(port, "Plant", "Device") as device,
    ):
        unborn.data(number("Level", 1.0))
        alias.born(number("Level", 1.0, alias=0))
        alias.data(number(None, 2.0, alias=99))
        device.born(number("Level", 1.0))
        device.data(number("Speed", 1.0), device="Pump")
        topics = [each.topic("NCMD") for each in (unborn, alias, device)]
        observers = system.observers.values()
        _wait(lambda: all(each.on(topic) for each in observers for topic in topics))
        # Somebody else's command to a device: the host sees it and says nothing.
        system.observer.publish(alias.topic("DCMD", "Pump"), payload(seq=None))
    return alias
