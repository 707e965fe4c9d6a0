"""HTTP with an Ignition gateway: one request, one bounded answer, errors that say what to do.

Nothing is followed elsewhere, and nothing goes through a proxy: the key is for this gateway alone.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import Future
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from consumer.credentials import masked
from consumer.errors import ConfigurationError, GatewayError, NoGatewayError
from consumer.network import check_pem_files, direct_opener, one_line, read_address, unreachable

HEADER: Final = "X-Ignition-API-Token"
"""Header with the API key, by vendor documentation."""

_MOST_BYTES: Final = 32 * 1024 * 1024
_PIECE: Final = 64 * 1024
_FIRST_REDIRECT: Final = 300
_FIRST_REFUSAL: Final = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered: HTTP status and body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None if it is none, such as the HTML of a 404 or the empty 401."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Calls:
    """Asks one gateway.

    Args:
        url: of the gateway, such as https://gateway:8043.
        key: for the REST API; empty for none.
        ca_file: PEM file of the authority that signed the gateway's certificate; empty for those
            that Python trusts.
        timeout: longest time for one answer, in seconds.

    Attributes:
        url: without a slash at its end.
        is_secure: whether it is https.
        is_loopback: whether it is this machine.
        has_key: whether a key is sent.

    Raises:
        ConfigurationError: one of these cannot be used.
    """

    def __init__(self, url: str, key: str, ca_file: str, timeout: float) -> None:
        self._host, self._port = _address(url)
        self.url = url.rstrip("/")
        self.is_secure = url.lower().startswith("https:")
        if not key.isascii() or not key.isprintable() or " " in key:
            # Without its text: a header that cannot be sent is quoted by who refuses it.
            raise ConfigurationError("the API key holds characters that no key has")
        address = read_address(self._host)
        self.is_loopback = self._host == "localhost" or bool(address and address.is_loopback)
        self.has_key = bool(key)
        self._secrets = (key, key.rpartition(":")[2])
        self._headers = {"Accept": "application/json", **({HEADER: key} if key else {})}
        self._timeout = timeout
        self._opener = direct_opener(_context(ca_file) if self.is_secure else None)

    def ask(
        self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Answer:
        """Send one request; return the answer, whatever its status.

        Args:
            method: GET, POST or PUT.
            path: below the gateway's address, quoted.
            query: parameters, unquoted.
            body: sent as JSON unless it is None.

        Raises:
            NoGatewayError: nobody answers, or not in time, or TLS does not work.
            GatewayError: the answer is too long, or names another address.
        """
        url = self.url + path + (f"?{urlencode(query)}" if query else "")
        content = None if body is None else json.dumps(body).encode()
        headers = dict(self._headers)
        if content is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - http or https, see _address
        # In a thread of its own: names, TLS and heads of answers may take longer than a socket's
        # timeout, which each byte begins anew. One that never ends does not keep the program.
        answer: Future[Answer] = Future()
        threading.Thread(
            target=self._send, args=(request, answer), name="gateway", daemon=True
        ).start()
        try:
            return answer.result(self._timeout)
        except TimeoutError as error:
            raise self._unreachable(error) from None

    def quoted(self, text: str) -> str:
        """What the gateway said, on one line, without the key if it repeats it."""
        for secret in self._secrets:
            text = masked(text, secret)
        return one_line(text)

    def _send(self, request: urllib.request.Request, answer: Future[Answer]) -> None:
        try:
            answer.set_result(self._answer(request))
        except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
            answer.set_exception(error)

    def _answer(self, request: urllib.request.Request) -> Answer:
        deadline = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return self._read(answer, deadline)
        except urllib.error.HTTPError as error:
            with error:
                if _FIRST_REDIRECT <= error.code < _FIRST_REFUSAL:
                    to = self.quoted(error.headers.get("Location", "another address"))
                    raise GatewayError(
                        f"{self.url} answers with a redirect to {to}: give --gateway the address "
                        "that answers itself; the key is sent nowhere else"
                    ) from None
                return self._refusal(error, deadline)
        except urllib.error.URLError as error:
            reason = error.reason
            raise self._unreachable(
                reason if isinstance(reason, OSError) else OSError(str(reason))
            ) from None
        except OSError as error:
            raise self._unreachable(error) from None
        except (HTTPException, ValueError) as error:
            raise NoGatewayError(
                f"{self.url} does not answer as a gateway: {one_line(type(error).__name__)}; "
                "correct --gateway"
            ) from None

    def _refusal(self, error: urllib.error.HTTPError, deadline: float) -> Answer:
        try:
            return self._read(error.fp, deadline)
        except (OSError, HTTPException):
            return Answer(error.code, b"")

    def _read(self, answer: HTTPResponse | Any, deadline: float) -> Answer:
        content = bytearray()
        while piece := answer.read1(_PIECE):
            content += piece
            if len(content) > _MOST_BYTES:
                raise GatewayError(f"{self.url} answers with more than 32 MiB; nothing was used")
            if time.monotonic() > deadline:
                raise TimeoutError
        return Answer(answer.status, bytes(content))

    def _unreachable(self, error: OSError) -> NoGatewayError:
        trouble = unreachable(
            error,
            host=self._host,
            port=self._port,
            key="--gateway",
            trust="name the PEM file of the authority that signed it with --ca-file",
            timeout=self._timeout,
        )
        return NoGatewayError(f"{trouble.text}; {trouble.mend}")


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError("--gateway: is no address") from None
    if "@" in parts.netloc:
        raise ConfigurationError("--gateway: holds a user name or password; a key is wanted")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("--gateway: must begin with http:// or https:// and name a host")
    if parts.path.strip("/") or parts.query or parts.fragment or not url.isprintable():
        raise ConfigurationError("--gateway: must end behind the host and the port")
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        check_pem_files(ca_file)
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--ca-file: {ca_file} cannot be used: {error.__class__.__name__}; let it name a PEM "
            "file with certificates"
        ) from None
