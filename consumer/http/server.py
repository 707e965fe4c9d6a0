"""Runs the HTTP application on a thread, bound before anything else starts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from consumer.errors import ConfigurationError
from consumer.http.access import Access
from consumer.http.app import make_app
from consumer.http.connections import ConnectionLimits, Connections, HttpConnection, Listener
from consumer.http.numbers import ACCESS_NUMBERS, NUMBERS
from consumer.http.stream import MOST_SUBSCRIBERS, Hub
from consumer.http.watch import Watch
from consumer.monitor import Looking, expose

if TYPE_CHECKING:
    from consumer.pipeline import Consumer

_LEAVING_SECONDS: Final = 2
"""After that a stop waits for no answer any more."""
_MOST_HEAD_BYTES: Final = 128 * 1024
"""Of a request, before its body: ids may be long, and have up to twelve characters for one."""
_TICK: Final = 1.0
"""Seconds between two looks at the date that answers bear."""


class HttpServer:
    """Serves one consumer.

    Args:
        consumer: what is asked about.
        address: host and port; port 0 takes a free one.
        limits: what clients may take; by default as much as leaves enough to the consumer.

    Raises:
        ConfigurationError: the address, or a file of http.tls, cannot be used (at construction).
    """

    def __init__(
        self, consumer: Consumer, address: tuple[str, int], limits: ConnectionLimits | None = None
    ) -> None:
        host, port = address
        self._host = host
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            made = socket.create_server((host, port), family=family)
            # asyncio does not do it for sockets that it did not make; without it every
            # answer waits 40 ms for the client's acknowledgement of its head.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
            reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
            raise ConfigurationError(
                f"http.listen: cannot listen on {host}:{port}: {reason}; "
                "choose another port, or '' to switch HTTP off"
            ) from error
        self._connections = Connections(
            limits or ConnectionLimits.of_process(),
            consumer.telemetry.log_budget,
            is_secure=bool(consumer.configuration.http.tls.cert_file),
        )
        self._socket = Listener(made, self._connections)
        http = consumer.configuration.http
        self.access = Access(http, (host, self.port))
        looking = Looking(consumer)
        most = min(MOST_SUBSCRIBERS, self._connections.limits.connections // 4)
        self._hub = Hub(looking, max(1, most))
        config = uvicorn.Config(
            make_app(consumer, self.access, looking, self._hub),
            # uvicorn takes whatever makes a protocol; its own name for the type is narrower.
            http=HttpConnection.of(self._connections),
            # More requests than connections are those of clients that have left already.
            limit_concurrency=2 * self._connections.limits.connections,
            log_config=None,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
            access_log=False,  # whoever may ask may ask often
            server_header=False,
            proxy_headers=False,  # what they say is anybody's word
            ssl_certfile=http.tls.cert_file or None,
            ssl_keyfile=http.tls.key_file or None,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_LEAVING_SECONDS,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            self._socket.close()
            why = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
            raise ConfigurationError(
                f"http.tls: cert_file and key_file cannot be used: {why}; they must be PEM "
                "files of one certificate and its unencrypted key"
            ) from error
        self._server = _UvicornServer(config)
        expose(consumer.telemetry.registry, [NUMBERS], lambda: self._connections)
        expose(consumer.telemetry.registry, [ACCESS_NUMBERS], lambda: self.access)
        self._watch = Watch([self.access.keys.look, looking.look, self._hub.look])
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Scheme, host and port that it is reached by, as far as it is known here."""
        scheme = "https" if self.access.is_secure else "http"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}"

    def start(self) -> None:
        """Answer requests in the background."""
        self._watch.start()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop answering."""
        self._watch.stop()
        self._hub.close()
        self._server.leave()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._socket.close()

    def _serve(self) -> None:
        # Not uvicorn's choice of a loop: another one would not ask our socket for connections.
        asyncio.run(self._answer())

    async def _answer(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_on_failure)
        await self._server.serve(sockets=[self._socket])


class _UvicornServer(uvicorn.Server):
    """uvicorn, but told to stop: by itself it asks for that ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def leave(self) -> None:
        """Stop answering, soon. From any thread."""
        self.should_exit = True
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Serve until told to leave, and see to it at once; uvicorn looks ten times a second."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._told.wait()


def _on_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error outside of requests; a lack of descriptors is logged where it is met."""
    if not isinstance(context.get("exception"), OSError) or "socket" not in context:
        loop.default_exception_handler(context)
