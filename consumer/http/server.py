"""Runs the HTTP application on a thread, bound before anything else starts."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from consumer.errors import ConfigurationError
from consumer.http.app import make_app

if TYPE_CHECKING:
    from consumer.pipeline import Consumer


class HttpServer:
    """Serves one consumer on `address` (host, port; port 0 takes a free one).

    Raises:
        ConfigurationError: the address cannot be used (at construction).
    """

    def __init__(self, consumer: Consumer, address: tuple[str, int]) -> None:
        host, port = address
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family)
            # asyncio does not do it for sockets that it did not make; without it every
            # answer waits 40 ms for the client's acknowledgement of its head.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
            reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
            raise ConfigurationError(
                f"http.listen: cannot listen on {host}:{port}: {reason}; "
                "choose another port, or '' to switch HTTP off"
            ) from error
        config = uvicorn.Config(make_app(consumer), log_config=None, lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Answer requests in the background."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop answering."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])
