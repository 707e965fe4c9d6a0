"""Listens to the configured MQTT servers beside whoever else does, and publishes nothing.

The connections are those of a passive host application: no will, no STATE, no rebirth request.
They have client ids of their own, so that no consumer is thrown out by them, and ask for what is
shared with others (`$share/...`) by its plain filter, so that no consumer gets less by them.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumer.broker import BatchLimits, BrokerConnection, Inbox
from consumer.errors import BrokerError, ConfigurationError
from consumer.log_budget import EACH_KIND, LogBudget, Rate
from consumer.network import unreachable
from sparkplug import MessageBatch, plain_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from consumer.broker import InboxBatch
    from consumer.config import Configuration, Server
    from sparkplug import Message

QUEUE_BYTES: Final = 64 * 1024 * 1024
"""Bound of what waits to be looked at, of all servers together."""

CONNECT_TIMEOUT: Final = 20.0
"""Seconds for which a first connection to each server is waited for."""

_BATCH: Final = BatchLimits(max_messages=2_000, max_bytes=4 * 1024 * 1024, max_delay=0.05)
_LONGEST_TAKE: Final = 0.25
_LOOK_EVERY: Final = 0.02
_TCP_TIMEOUT: Final = 5.0  # of paho
_LEAVE_TIMEOUT: Final = 3.0
_LONGEST_CLIENT_ID: Final = 200


@dataclass(frozen=True, slots=True)
class HeardBatch:
    """What one server brought, in order of arrival.

    Attributes:
        server: its name in the configuration.
        messages: may be empty; each says when it came, in microseconds since 1970 UTC, and
            whether the server had kept it (`retained`).
        certificates: births that the server keeps, on topics `$sparkplug/certificates/...`; they
            came before the messages.
        lost_us: when the connection ended after these messages, microseconds since 1970 UTC;
            None if it did not. What was sent from then on until it was made again is missing.
    """

    server: str
    messages: MessageBatch
    certificates: Sequence[Message]
    lost_us: int | None


class Listening:
    """Connections to MQTT servers, and a bounded queue of what they bring. See `listen`.

    One thread takes the batches. Connections that end are made again by themselves.

    Attributes:
        servers: those that are listened to, with the client ids and topic filters for that.
        lost: messages let go because more came than was taken, by server.
        bad_topics: messages on topics that MQTT does not allow, which are left out, by server.
    """

    def __init__(self, servers: Mapping[int, Server], *, purpose: str, queue_bytes: int) -> None:
        """Connect nothing yet.

        Args:
            servers: by their position in the configuration.
            purpose: a word in the client ids.
            queue_bytes: bound of the queue.
        """
        self.servers = [_beside_others(server, purpose) for server in servers.values()]
        self.lost: Counter[str] = Counter()
        self.bad_topics: Counter[str] = Counter()
        self._positions = list(servers)
        self._counting = threading.Lock()
        self._inbox = Inbox(queue_bytes, _BATCH, time.monotonic, self._count_lost)
        budget = _Silence()
        self._connections = [
            BrokerConnection(
                index,
                server,
                host_id=None,
                inbox=self._inbox,
                memory=_Nothing(),
                count_refused=self._counter(server.name),
                budget=budget,
            )
            for index, server in enumerate(self.servers)
        ]

    def connect(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Connect, until each server is connected or has failed once; one of them is enough.

        Raises:
            BrokerError: none could be connected; says why and how to mend it, for each.
        """
        for connection in self._connections:
            connection.start()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not all(
            each.connected.is_set() or each.failure is not None for each in self._connections
        ):
            time.sleep(_LOOK_EVERY)
        if not any(each.connected.is_set() for each in self._connections):
            raise BrokerError("; ".join(f"{name}: {why}" for name, why in self.problems.items()))

    @property
    def problems(self) -> dict[str, str]:
        """Why a server is not connected now, and how to mend it, by its name."""
        return {
            each.server.name: self._problem(index, each)
            for index, each in enumerate(self._connections)
            if not each.connected.is_set()
        }

    def batches(self, timeout: float | None = None) -> Iterator[HeardBatch]:
        """What comes within so many seconds; None: what comes until `stop`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONGEST_TAKE if deadline is None else deadline - time.monotonic()
            if left < 0:
                return
            taken = self._inbox.take(min(left, _LONGEST_TAKE))
            if taken is None:
                return
            yield from self._by_server(taken)

    def stop(self) -> None:
        """Leave all servers; what was heard can still be taken."""
        made = [each for each in self._connections if each.connected.is_set()]
        for connection in self._connections:
            connection.request_stop()
        # Whoever is still on the way to a server may be there for seconds: nobody waits for that.
        for connection in made:
            connection.join(_LEAVE_TIMEOUT)
        self._inbox.close()

    def _by_server(self, taken: InboxBatch) -> Iterator[HeardBatch]:
        for index in sorted({*taken.by_server, *taken.certificates, *taken.lost}):
            yield HeardBatch(
                self.servers[index].name,
                taken.by_server.get(index) or MessageBatch(),
                taken.certificates.get(index, ()),
                taken.lost.get(index),
            )

    def _problem(self, index: int, connection: BrokerConnection) -> str:
        server, failure = connection.server, connection.failure
        if isinstance(failure, OSError):
            key = f"servers[{self._positions[index]}]"
            found = unreachable(
                failure,
                host=server.host,
                port=server.port,
                key=f"{key}.url",
                trust=f"set {key}.tls.ca_file to the PEM file of the authority that signed it",
                timeout=_TCP_TIMEOUT,
            )
            return f"{found.text}; {found.mend}"
        return connection.last_error or "no connection yet"

    # The inbox and the connections call these from the threads of connections.

    def _count_lost(self, server: int, nodes: Mapping[str, int]) -> None:
        with self._counting:
            self.lost[self.servers[server].name] += sum(nodes.values())

    def _counter(self, server: str) -> Callable[[str, int], None]:
        def count(_reason: str, messages: int) -> None:
            with self._counting:
                self.bad_topics[server] += messages

        return count


@contextlib.contextmanager
def listen(
    configuration: Configuration,
    servers: Collection[str] | None = None,
    *,
    purpose: str = "tail",
    queue_bytes: int = QUEUE_BYTES,
) -> Iterator[Listening]:
    """Listen to MQTT servers of a configuration, with their topic filters, until left.

    Args:
        configuration: names the servers; nothing else of it is used.
        servers: names of those that are wanted; None or none of them: all.
        purpose: a word in the client ids, to be seen in logs of the servers.
        queue_bytes: bound of what waits to be taken, of all servers together.

    Raises:
        ConfigurationError: there is no server of one of the names.
        BrokerError: no server could be connected.
    """
    heard = Listening(
        _chosen(configuration, servers or ()), purpose=purpose, queue_bytes=queue_bytes
    )
    try:
        heard.connect()
        yield heard
    finally:
        heard.stop()


def _chosen(configuration: Configuration, names: Collection[str]) -> dict[int, Server]:
    """The servers of these names, all if there are none, by their position."""
    known = [server.name for server in configuration.servers]
    for name in names:
        if name not in known:
            raise ConfigurationError(f"no server is called {name}; there is {', '.join(known)}")
    return {
        position: server
        for position, server in enumerate(configuration.servers)
        if not names or server.name in names
    }


def _beside_others(server: Server, purpose: str) -> Server:
    """The server, for a client that takes nothing from others who are connected to it."""
    base = server.client_id[:_LONGEST_CLIENT_ID] or "sparkplug-zerobus"
    topics = dict.fromkeys("/".join(plain_levels(each)) for each in server.topics)
    return server.model_copy(
        update={
            "client_id": f"{base}-{purpose}-{secrets.token_hex(4)}",
            "topics": tuple(topics),
        }
    )


class _Nothing:
    """Remembers nothing: whoever only listens has nothing to take up again."""

    def get(self, _key: str) -> None:
        """None, whatever was set."""

    def set(self, _key: str, _value: float | str | bytes) -> None:
        """Forget it."""


class _Silence(LogBudget):
    """Lets nothing be logged: `problems` says it instead, to whoever listens."""

    def allows(
        self, _kind: str, _of: str = "", _rate: Rate = EACH_KIND, *, ours: bool = False
    ) -> bool:
        """False."""
        del ours
        return False

    def is_due(self, _kind: str, _of: str = "", _rate: Rate = EACH_KIND) -> bool:
        """False."""
        return False
