"""Who asks, and whether he may: keys, cookies, loopback, and what a browser may be made to do.

`needs(Role.READER)` is a dependency of routes, and gives the `Caller`.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations

from consumer.http.errors import NAMES, Refused
from consumer.http.keys import LOCAL, Key, Keys, Role
from consumer.network import read_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import HTTPConnection

    from consumer.config import Http

SESSION_SECONDS: Final = 12 * 3600
_MOST_SESSIONS: Final = 100
"""Of one key: who signs in again and again ends sessions of his own key, and no others."""
_FORWARDED: Final = ("forwarded", "x-forwarded-", "x-real-ip", "via")
"""How the names of headers begin that a proxy adds."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SCHEME: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: of the key, `local` where none is needed.
        role: what he may do.
        source_system_id: of rows that he sends; empty for that of `http.source_system_id`.
        address: from where, empty if that is not known.
        until: when the sign-in ends, seconds since 1970; None without one.
    """

    name: str
    role: Role
    source_system_id: str = ""
    address: str = ""
    until: float | None = None


class _SignedIn(NamedTuple):
    key: Key
    digest: bytes
    until: float


class Access:
    """Decides who may ask what. Used on the event loop of one server.

    Args:
        http: keys, names of the server, and whether `/metrics` is open.
        address: what the server is bound to.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.

    Attributes:
        keys: those in force.
        refused: requests that were refused, by reason.
    """

    def __init__(
        self,
        http: Http,
        address: tuple[str, int],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = Keys(http.all_keys, clock)
        self.is_secure = bool(http.tls.cert_file)
        self.metrics_open = http.metrics == "open"
        self._is_open = not self.keys and _is_loopback(address[0])
        self._hosts = {"localhost", address[0].lower(), socket.gethostname().lower(), *http.hosts}
        self.cookie = f"sparkplug-zerobus-{address[1]}"  # browsers tell ports apart by no means
        self._wall_clock = wall_clock
        self._sessions: dict[str, _SignedIn] = {}
        self.refused = Counter(
            dict.fromkeys(
                ("unauthorized", "forbidden", "wrong_host", "too_many", "too_large", "unavailable"),
                0,
            )
        )

    @property
    def needs_key(self) -> bool:
        """Whether anybody needs a key."""
        return not self._is_open

    def allow(self, request: HTTPConnection, role: Role) -> Caller:
        """Who asks, if he may.

        Raises:
            Refused: he may not.
        """
        caller = self.caller(request)
        if caller is None:
            self.refuse(HTTPStatus.UNAUTHORIZED, self._how_to_sign_in(request))
        if not caller.role.may(role):
            self.refuse(
                HTTPStatus.FORBIDDEN,
                f"the key {caller.name!r} is of the role {caller.role}; this needs {role}",
            )
        return caller

    def caller(self, request: HTTPConnection) -> Caller | None:
        """Who asks; None for nobody.

        Raises:
            Refused: the key is wrong, or not taken from there; or the request may be another
                site's, made with the browser of somebody who may ask.
        """
        address = request.client.host if request.client else ""
        authorization = request.headers.get("authorization", "")
        if self._is_open:
            self.check_browser(request)
            if not _is_loopback(address) or _came_through_proxy(request):
                return None
            self.keys.requests[LOCAL] += 1
            return Caller(LOCAL, Role.OPERATOR, address=address)
        if authorization:
            scheme, text = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :].strip()
            key = self.key(text if scheme.lower() == _SCHEME else "", address)
            self.keys.requests[key.name] += 1
            return Caller(key.name, key.role, key.source_system_id, address)
        signed_in = self._signed_in(request)
        if signed_in is None:
            return None
        self.check_browser(request)
        key = signed_in.key
        if not key.is_taken_from(address):
            return None
        self.keys.requests[key.name] += 1
        return Caller(key.name, key.role, key.source_system_id, address, signed_in.until)

    def key(self, text: str, address: str) -> Key:
        """The key that a text is.

        Raises:
            Refused: it is none, or is not taken from this address.
        """
        key = self.keys.find(text)
        if key is None:
            if self.keys.is_guessing(address):
                self.refuse(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many wrong keys came from this address; try again in a minute",
                    {"Retry-After": "60"},
                )
            self.refuse(HTTPStatus.UNAUTHORIZED, "the key is not one of http.keys")
        if not key.is_taken_from(address):
            self.refuse(
                HTTPStatus.FORBIDDEN,
                f"the key {key.name!r} is not taken from {address or 'there'}; "
                "see its addresses in http.keys",
            )
        return key

    # ------------------------------------------------------------------ signing in

    def sign_in(self, key: Key) -> tuple[str, float]:
        """Begin a session; returns the value of its cookie, and until when it is good."""
        value, until = secrets.token_urlsafe(32), self._wall_clock() + SESSION_SECONDS
        own = [each for each, session in self._sessions.items() if session.key.name == key.name]
        for oldest in own[: max(0, len(own) + 1 - _MOST_SESSIONS)]:
            del self._sessions[oldest]
        self._sessions[value] = _SignedIn(key, key.digest, until)
        return value, until

    def sign_out(self, request: HTTPConnection) -> None:
        """End the session that the request has a cookie of."""
        self._sessions.pop(request.cookies.get(self.cookie, ""), None)

    def _signed_in(self, request: HTTPConnection) -> _SignedIn | None:
        # Looked up by a value of 256 random bits: how long that takes tells nothing.
        value = request.cookies.get(self.cookie, "")
        found = self._sessions.get(value)
        if found is None:
            return None
        if self._wall_clock() >= found.until or not self.keys.holds(found.key.name, found.digest):
            del self._sessions[value]
            return None
        return found

    # ------------------------------------------------------------------ browsers

    def check_browser(self, request: HTTPConnection) -> None:
        """Refuse what another site makes a browser ask.

        Raises:
            Refused: the name of the server is not one of its own, or the page another site's.
        """
        host = request.headers.get("host", "")
        if not self._is_own(host):
            self.refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server is not called so; add the name to http.hosts, or use its address",
            )
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none")
        foreign = origin is not None and _authority(origin) != host.lower()
        method = request.scope.get("method", "GET")
        if method not in _SAFE and (foreign or site not in ("none", "same-origin")):
            self.refuse(HTTPStatus.FORBIDDEN, "the page of another site asks for this")

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        # An address is not in the hands of who owns a name.
        return name in self._hosts or read_address(name) is not None

    def _how_to_sign_in(self, request: HTTPConnection) -> str:
        if self._is_open and _came_through_proxy(request):
            return "this came through a proxy, and without http.keys only this machine may ask"
        if self._is_open:
            return "without http.keys only programs on this machine may ask"
        return "send Authorization: Bearer <key> with a key of http.keys, or sign in"

    def refuse(
        self, status: HTTPStatus, detail: str, headers: dict[str, str] | None = None
    ) -> NoReturn:
        """Refuse a request, and count that.

        Raises:
            Refused: always.
        """
        self.refused[NAMES[status]] += 1
        if status is HTTPStatus.UNAUTHORIZED:
            headers = {"WWW-Authenticate": "Bearer"}
        raise Refused(status, detail, headers)


def needs(role: Role) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that gives the `Caller`, who has the role, or refuses the request."""

    async def allowed(request: Request) -> Caller:
        access: Access = request.app.state.access
        return access.allow(request, role)

    return allowed


def _came_through_proxy(request: HTTPConnection) -> bool:
    return any(name.startswith(_FORWARDED) for name in request.headers)


def _is_loopback(host: str) -> bool:
    address = read_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _authority(origin: str) -> str:
    """Host and port of an origin; empty for `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
