"""The HTTP port: tokens, health, and (only if asked for) faults."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zerobus_local.due_faults import FaultError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from zerobus_local.counters import Tally
    from zerobus_local.faults import Faults
    from zerobus_local.oauth import Tokens

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_CONNECTIONS = 100
_PAUSE_SECONDS = 0.1
TOKEN_PATH = "/oidc/v1/token"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Parts that the HTTP port serves: tokens and counters; faults with `expose_faults`."""

    tokens: Tokens
    faults: Faults
    tally: Tally
    expose_faults: bool


class HttpPort:
    """An HTTP server in threads of its own, listening from construction on.

    Raises (at construction):
        OSError: the address cannot be bound.
    """

    def __init__(
        self, address: tuple[str, int], endpoints: Endpoints, tls: ssl.SSLContext | None
    ) -> None:
        handler = type("Handler", (_Handler,), {"endpoints": endpoints})
        self._server = _Server(address, handler)
        if tls is not None:
            # The handshake is made by the connection's own thread, at its first read.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="http",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """A thread for each connection, of at most MAX_CONNECTIONS: the newest are served."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, object]:
        try:
            return super().get_request()
        except OSError:
            # Without descriptors it would be tried again at once, and as often as can be.
            time.sleep(_PAUSE_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = None
            if len(self._open) > MAX_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                # Its thread reads the end, and closes it. Not in order, if it speaks TLS.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        log.debug("HTTP connection of %s failed: %s", client_address, sys.exc_info()[1])


class _Handler(BaseHTTPRequestHandler):
    endpoints: Endpoints
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        if self._path == "/healthz":
            counters = asdict(self.endpoints.tally.read())
            self._answer(200, {"status": "ok", "counters": counters})
        else:
            self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self._path.endswith(TOKEN_PATH):
            self._token(body)
        elif self._path == "/faults" and self.endpoints.expose_faults:
            self._apply_faults(body)
        else:
            self._answer(404, {"error": "not_found"})

    def do_DELETE(self) -> None:
        if self._path == "/faults" and self.endpoints.expose_faults:
            self.endpoints.faults.clear()
            self._answer(200, {})
        else:
            self._answer(404, {"error": "not_found"})

    @property
    def _path(self) -> str:
        return urlsplit(self.path).path

    def _token(self, body: bytes) -> None:
        status = self.endpoints.faults.due.oauth_status()
        if status is not None:
            self.endpoints.tally.count(tokens_refused=1)
            self._answer(status, {"error": "temporarily_unavailable"})
            return
        answer = self.endpoints.tokens.request(
            self.headers.get("Authorization", ""), body.decode("utf-8", "replace")
        )
        if answer.status == 200:
            self.endpoints.tally.count(tokens_issued=1)
        else:
            self.endpoints.tally.count(tokens_refused=1)
        self._answer(answer.status, answer.body)

    def _apply_faults(self, body: bytes) -> None:
        try:
            description = json.loads(body)
            if not isinstance(description, dict) or not all(
                isinstance(arguments, dict) for arguments in description.values()
            ):
                raise FaultError("expected an object of objects")  # noqa: TRY301
            self.endpoints.faults.apply(description)
        except (FaultError, ValueError, RecursionError) as error:
            self._answer(400, {"error": str(error)})
        else:
            self._answer(200, {})

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413 if length.isdecimal() else 411, {"error": "invalid_request"})
            return None
        return self.rfile.read(int(length))

    def _answer(self, status: int, body: Mapping[str, object]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        log.debug(format, *args)
