"""An MQTT server that greets as it should and then sends what no server may."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNACK = bytes.fromhex("20 03 00 00 00")
SUBACK = bytes.fromhex("90 05 00 01 00 01 01")  # packet 1, two topic filters


class RudeServer(socketserver.ThreadingTCPServer):
    """Greets every client over MQTT 5, then sends it `content`, and waits for its end."""

    daemon_threads = True
    content = b""
    hates = b""  # a client that sends this is left at once
    greeted = 0


class _Rude(socketserver.BaseRequestHandler):
    server: RudeServer

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for answer in (CONNACK, SUBACK + self.server.content):
                packet = self.request.recv(65536)
                if not packet or (self.server.hates and self.server.hates in packet):
                    return
                self.request.sendall(answer)
            self.server.greeted += 1
            while self.request.recv(65536):
                pass


@contextlib.contextmanager
def rude_server(content: bytes, hates: bytes = b"") -> Iterator[RudeServer]:
    """A running server of this kind on a free port."""
    with RudeServer(("127.0.0.1", 0), _Rude) as server:
        server.content, server.hates = content, hates
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)
