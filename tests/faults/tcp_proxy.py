"""A TCP proxy on 127.0.0.1 that can be a bad network: it cuts, refuses, or says nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from support.services import PATIENCE, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUFFER = 65536


class TcpProxy:
    """Passes connections on to a port of 127.0.0.1, until told otherwise."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        # While it refuses nobody listens there, and no other may.
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.connections = 0
        """How many connections were passed on so far."""
        self._passing = threading.Event()
        self._passing.set()
        self._refusing = False
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._begin()

    def cut(self) -> int:
        """End all connections at once, as a failing network does; returns how many ends."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(ends)

    def hold(self) -> None:
        """Accept new connections and let them wait, until `release`."""
        self._passing.clear()

    def release(self) -> None:
        """Pass on again; those that waited too."""
        self._passing.set()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, until `accept`."""
        self._refusing = True
        self._stop_listening()
        self.cut()

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._refusing = False
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._begin()

    def close(self) -> None:
        """End everything."""
        self.refuse()
        self.release()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _begin(self) -> None:
        self._accepting = self._thread(self._accept, self._listener)

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):  # wakes accept(); not every system needs it
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(PATIENCE)

    def _thread(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
            thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._thread(self._join, client)

    def _join(self, client: socket.socket) -> None:
        self._passing.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port), timeout=PATIENCE)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {client, server}
            self.connections += 1
        back = self._thread(self._pass_on, server, client)
        if self._refusing:  # it was accepted before that, and is cut after it
            self.cut()
        self._pass_on(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BUFFER):
                target.sendall(data)
        for end in (target, source):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR if end is target else socket.SHUT_RD)


@contextlib.contextmanager
def tcp_proxy(target_port: int) -> Iterator[TcpProxy]:
    """A proxy that passes on; ended on leaving."""
    proxy = TcpProxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
