"""A TCP proxy in front of an MQTT server that writes down what both sides say.

A subscriber sees what was published. It does not see a will before it is needed, nor in
which order a client connects, subscribes and publishes, nor how it leaves.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.services import PATIENCE

from conformance.mqtt_packets import Connect, Conversation, MalformedPacket, Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUFFER = 65536


@dataclass(frozen=True)
class Recorded:
    """One packet, with the wall-clock time at which the proxy had it, in seconds."""

    at: float
    from_client: bool
    packet: Packet

    @property
    def at_ms(self) -> int:
        return int(self.at * 1000)


@dataclass
class Connection:
    """A connection that a client made through the proxy.

    What is recorded is in order over both directions as far as one depends on the other:
    each packet is written down before it is passed on.
    """

    client: socket.socket
    server: socket.socket
    problem: str = ""
    _recorded: list[Recorded] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _to_client: threading.Lock = field(default_factory=threading.Lock)
    _conversation: Conversation = field(default_factory=Conversation)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def recorded(self) -> list[Recorded]:
        """Everything so far. AssertionError if some of it was not MQTT."""
        with self._lock:
            assert not self.problem, self.problem
            return list(self._recorded)

    @property
    def sent(self) -> list[Recorded]:
        """What the client sent so far."""
        return [each for each in self.recorded if each.from_client]

    @property
    def connect(self) -> Connect:
        """The client's CONNECT."""
        packet = self.recorded[0].packet
        assert isinstance(packet, Connect)
        return packet

    @property
    def ended(self) -> bool:
        """Whether both directions have ended."""
        return not any(thread.is_alive() for thread in self._threads)

    def tell_client(self, data: bytes) -> None:
        """Send bytes to the client as if the server had said them; they are not recorded."""
        with self._to_client:
            self.client.sendall(data)

    def cut(self) -> None:
        """End the connection to both sides at once, as a failing network does."""
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Pass on what comes, in two threads, until both sides have ended."""
        for from_client in (True, False):
            thread = threading.Thread(target=self._pass_on, args=(from_client,), daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the connection and wait for the threads."""
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
        self.client.close()
        self.server.close()

    def _pass_on(self, from_client: bool) -> None:
        source, target = (self.client, self.server) if from_client else (self.server, self.client)
        while data := _received(source):
            self._write_down(data, from_client=from_client)
            try:
                with contextlib.nullcontext() if from_client else self._to_client:
                    target.sendall(data)
            except OSError:
                break
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _write_down(self, data: bytes, *, from_client: bool) -> None:
        now = time.time()
        with self._lock:
            if self.problem:
                return
            try:
                packets = self._conversation.feed(data, from_client=from_client)
            except MalformedPacket as error:
                self.problem = f"{'client' if from_client else 'server'}: {error}"
                return
            self._recorded += [Recorded(now, from_client, packet) for packet in packets]


class RecordingProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to a server's port."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[Connection] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where clients connect."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """URL for MQTT clients."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def connections(self) -> list[Connection]:
        """Connections so far that began with a packet, in order."""
        with self._lock:
            return [each for each in self._connections if each.recorded]

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):  # wakes accept(); not every system needs it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        for each in self._connections:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(
                    ("127.0.0.1", self._server_port), timeout=PATIENCE
                )
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client, server)
            with self._lock:
                self._connections.append(connection)
            connection.start()


def _received(source: socket.socket) -> bytes:
    """The next bytes; none once the connection has ended, in order or not."""
    try:
        return source.recv(_BUFFER)
    except OSError:
        return b""


@contextlib.contextmanager
def recording_proxy(server_port: int) -> Iterator[RecordingProxy]:
    """A proxy that is ended on leaving."""
    proxy = RecordingProxy(server_port)
    try:
        yield proxy
    finally:
        proxy.close()
