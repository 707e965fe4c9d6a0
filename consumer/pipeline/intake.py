"""What a consumer is given: where its messages come from, and how it reaches their publishers.

Today these are the inbox and the connections to MQTT servers. Whatever else brings batches in
the order in which a server delivered them may stand in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

    from consumer.broker import BrokerDrops, ConnectionSwitch, InboxBatch, OwnState
    from consumer.config import Server


class Intake(Protocol):
    """Brings messages; its batches tell servers apart by their position in the configuration."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be taken."""

    def take(self, timeout: float, *, at_once: bool = False) -> InboxBatch | None:
        """The next batch, false when nothing came within `timeout` seconds.

        `at_once`: what there is, though more might come to it.

        None when the intake is closed and empty: nothing more will come.
        """

    def wake(self) -> None:
        """Let whoever takes return at once, with nothing if no batch is due. From any thread."""

    def close(self) -> None:
        """Let no more in; what is there can still be taken."""


class Connection(Protocol):
    """The way to one server, kept open by itself from `start` on.

    Attributes:
        server: its configuration.
        connected: set while there is a connection.
        connections: how many there were so far.
        last_error: why the last one ended, or could not be made.
        drops: messages that the server says it discarded.
        own_state: what others say on this host's STATE topic.
        switch: while it is shut there is no connection.
    """

    server: Server
    connected: threading.Event
    connections: int
    last_error: str
    drops: BrokerDrops
    own_state: OwnState
    switch: ConnectionSwitch

    def start(self) -> None:
        """Connect in the background and stay connected."""

    def request_stop(self) -> None:
        """Ask it to leave, and to let in what is still on the way."""

    def join(self, timeout: float = ...) -> None:
        """Wait until it has left, at most `timeout` seconds."""

    def request_rebirth(self, group_id: str, edge_node_id: str) -> bool:
        """Ask an edge node for its births; False if that cannot be done now."""
