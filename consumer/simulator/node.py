"""A simulated edge node: a thread that lets tags change and keeps a connection."""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final, Protocol

from consumer.simulator.connection import MqttConnection
from consumer.simulator.ledger import count_values
from sparkplug.edge import Disconnect, Publish, Session

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping, Sequence

    from consumer.simulator.connection import MqttTarget
    from sparkplug.edge import Action, EdgeNode, Update

log = logging.getLogger(__name__)

_INTERVAL: Final = 0.1
"""Seconds between two rounds of changes; what changes in one becomes a message per device."""
_MAX_DEBT: Final = 2.0
"""Seconds of changes that are made up for after a delay."""
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_MAX: Final = 5.0


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class Program(Protocol):
    """Says how the tags of an edge node change."""

    def changes(self, count: int, at_ms: int) -> Mapping[str | None, Sequence[Update]]:
        """The next changes, by device."""


class Recorder(Protocol):
    """Takes down what an edge node published, as a ledger does."""

    def record(self, publish: Publish) -> None:
        """Take down a message that was handed to the MQTT server."""


class SimulatedNode(threading.Thread):
    """Runs one edge node until `request_stop`. Counters may be read from any thread."""

    def __init__(
        self,
        node: EdgeNode,
        program: Program,
        target: MqttTarget,
        *,
        rate: float,
        rng: random.Random,
        ledger: Recorder | None = None,
    ) -> None:
        """`rate` is in changes per second; 0 publishes births only."""
        self.descriptor = f"{node.group_id}/{node.edge_node_id}"
        super().__init__(name=f"edge node {self.descriptor}", daemon=True)
        self._node = node
        self._program = program
        self._target = target
        self._rate = rate
        self._rng = rng
        self._ledger = ledger
        self._client_id = f"simulator-{uuid.uuid4().hex[:12]}"
        self._connection: MqttConnection | None = None
        self._stopping = threading.Event()
        self._break_requested = threading.Event()
        self._paused = threading.Event()
        self._failures = 0
        self._retry_at = 0.0
        self._debt = 0.0
        self._last_round = time.monotonic()
        self._paused_at = math.inf
        self._settled_round = 0.0
        self.published = 0
        """Metric values handed to MQTT, births included, as the ledger counts them."""
        self.connections = 0
        """Connections that were established."""

    @property
    def online(self) -> bool:
        """Whether the node is connected and has published its births."""
        return self._node.session is Session.ONLINE

    @property
    def connected(self) -> bool:
        """Whether the node is connected, perhaps still waiting for its primary host."""
        connection = self._connection
        return connection is not None and connection.ready

    @property
    def quiet(self) -> bool:
        """A pause has taken effect: every change before it is with the server, or in the store."""
        return self._settled_round > self._paused_at

    @property
    def bd_seq(self) -> int:
        """The bdSeq of the present connection, or of the last."""
        return self._node.bd_seq

    @property
    def rebirths(self) -> int:
        """Rebirth requests obeyed."""
        return self._node.rebirths

    @property
    def stored(self) -> int:
        """Values waiting in the store."""
        return len(self._node.store)

    @property
    def dropped(self) -> int:
        """Values that were never published because the store was full."""
        return self._node.store.dropped

    def request_stop(self) -> None:
        """Ask the thread to publish NDEATH, disconnect and end."""
        self._stopping.set()

    def pause(self) -> None:
        """Let no tag change until `resume`; the connection stays."""
        self._paused.set()
        self._paused_at = time.monotonic()

    def resume(self) -> None:
        """End a pause."""
        self._paused_at = math.inf
        self._paused.clear()

    def break_connection(self) -> None:
        """Let the connection fail, as a network does: the server publishes the will."""
        self._break_requested.set()

    def run(self) -> None:
        """The thread: rounds of changes, and the connection in between."""
        try:
            while not self._stopping.is_set():
                self._let_tags_change()
                self._serve(self._last_round + _INTERVAL - time.monotonic())
            self._perform(self._node.stop(now_ms()))
        except Exception:
            log.exception("edge node %s ended by an error", self.descriptor)
        finally:
            if self._connection is not None:
                self._connection.break_off()
                self._connection = None

    def _let_tags_change(self) -> None:
        now = time.monotonic()
        elapsed, self._last_round = now - self._last_round, now
        if self._paused.is_set() or (self._connection and self._connection.congested):
            return
        self._debt = min(self._debt + elapsed * self._rate, _MAX_DEBT * self._rate)
        count = int(self._debt)
        self._debt -= count
        if count:
            at_ms = now_ms()
            for device_id, updates in self._program.changes(count, at_ms).items():
                self._perform(self._node.update(device_id, updates, at_ms))

    def _serve(self, seconds: float) -> None:
        """Serve the connection, or try to get one, for about so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._stopping.is_set():
            if self._connection is None and time.monotonic() >= self._retry_at:
                self._connect()
            connection = self._connection
            if connection is None:
                self._settled_round = self._last_round
                self._stopping.wait(min(left, max(0.0, self._retry_at - time.monotonic())))
                continue
            if self._break_requested.is_set():
                self._break_requested.clear()
                connection.break_off()
            was_ready = connection.ready
            arrived = connection.wait(left)
            if connection.ready and not was_ready:
                self._failures = 0
                self.connections += 1
                log.info("%s connected, bdSeq %d", self.descriptor, self._node.bd_seq)
                self._perform(self._node.connected(now_ms()))
            for topic, payload in arrived:
                self._perform(self._node.message(topic, payload, now_ms()))
            self._account(connection)
            if connection.idle:
                self._settled_round = self._last_round
            if connection.lost is not None and connection is self._connection:
                self._lost(connection.lost)

    def _connect(self) -> None:
        connect = self._node.connect(now_ms())
        try:
            self._connection = MqttConnection(self._target, connect, self._client_id)
        except OSError as error:
            self._lost(str(error))

    def _lost(self, reason: str) -> None:
        self._connection = None
        self._node.disconnected()
        self._failures += 1
        delay = min(_BACKOFF_FIRST * 2 ** (self._failures - 1), _BACKOFF_MAX)
        delay *= self._rng.uniform(0.5, 1.0)  # so that a fleet does not come back as one
        self._retry_at = time.monotonic() + delay
        log.warning("%s not connected (%s), next try in %.1f s", self.descriptor, reason, delay)

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            connection = self._connection
            match action:
                case Publish() if connection is not None and connection.lost is None:
                    connection.publish(action)
                case Publish():
                    self._node.not_sent(action)
                case Disconnect() if connection is not None:
                    log.info("%s disconnects: %s", self.descriptor, action.reason)
                    connection.close()
                    self._account(connection)
                    self._connection = None
                    self._retry_at = time.monotonic() + _BACKOFF_FIRST
        if self._connection is not None:
            self._account(self._connection)

    def _account(self, connection: MqttConnection) -> None:
        """Report to node and ledger what became of the messages of a connection."""
        at_ms = now_ms()
        for publish in connection.take_sent():
            self._node.sent(publish, at_ms)
            self.published += count_values(publish)
            if self._ledger is not None:
                self._ledger.record(publish)
        if connection.lost is not None:
            for publish in reversed(connection.take_unsent()):
                self._node.not_sent(publish)
