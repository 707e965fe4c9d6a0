"""What holds for every answer and request: headers against misuse, bounds of size and number."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NoReturn

from consumer.http.connections import STREAM_PATH
from consumer.http.errors import NAMES, Refused, refusal

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from consumer.http.access import Access

MOST_BODY_BYTES: Final = 64 * 1024
MOST_AT_A_TIME: Final = 64
"""Requests that are answered at a time, beside those that cost next to nothing, and posts, which
have bounds of their own."""

HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Of every answer, unless it has one of the same name."""

_BUSY: Final = "more is asked at a time than can be answered; try again in a moment"
_RETRY: Final = {"Retry-After": "1"}
_UNCOUNTED: Final = frozenset({"/healthz", STREAM_PATH})


class Guard:
    """Wraps the application.

    Args:
        app: answers.
        access: counts what is refused here.
        large: paths that bound their bodies, and how many are under way, by themselves.
    """

    def __init__(self, app: ASGIApp, access: Access, large: AbstractSet[str] = frozenset()) -> None:
        self._app = app
        self._access = access
        self._large = large
        self._present = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.setdefault("headers", [])
                names = {name.lower() for name, _ in given}
                message["headers"] = [*given, *(each for each in HEADERS if each[0] not in names)]
            await send(message)

        if scope["path"] in _UNCOUNTED or scope["path"] in self._large:
            await self._app(scope, receive, send_guarded)
            return
        if self._present >= MOST_AT_A_TIME:
            busy = refusal(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY, _RETRY)
            self._access.refused[NAMES[HTTPStatus.SERVICE_UNAVAILABLE]] += 1
            await busy(scope, receive, send_guarded)
            return
        self._present += 1
        try:
            await self._app(scope, self._bounded(scope, receive), send_guarded)
        finally:
            self._present -= 1

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Receive a body of no more than MOST_BODY_BYTES."""
        lengths = [v for k, v in scope["headers"] if k == b"content-length"]
        size = max((int(v) for v in lengths if v.isdigit() and len(v) < 20), default=0)
        came = 0

        async def receive_bounded() -> Message:
            nonlocal came
            if size <= MOST_BODY_BYTES:
                message = await self._wait(receive)
                # One in chunks may say what it likes of its length.
                came += len(message.get("body", b""))
            if max(size, came) > MOST_BODY_BYTES:
                self._refuse(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body has more than {MOST_BODY_BYTES // 1024} KiB",
                    {"Connection": "close"},
                )
            return message

        return receive_bounded

    async def _wait(self, receive: Receive) -> Message:
        """Wait for more of a body; who sends it by the drop keeps nobody else from asking."""
        self._present -= 1
        try:
            message = await receive()
        finally:
            self._present += 1
        if self._present > MOST_AT_A_TIME:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY, _RETRY)
        return message

    def _refuse(self, status: HTTPStatus, detail: str, headers: dict[str, str]) -> NoReturn:
        self._access.refused[NAMES[status]] += 1
        raise Refused(status, detail, headers)
