"""Server-sent events: the whole picture once a second, made once for all who listen."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations
from starlette.responses import Response, StreamingResponse

from consumer.foreign import json_text
from consumer.http.connections import STREAM_PATH
from consumer.http.errors import refusal
from consumer.http.keys import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from consumer.http.access import Access
    from consumer.monitor import Looking

MOST_SUBSCRIBERS: Final = 50
FULL: Final = "as many listen as may; close a page that is not needed"
RETRY: Final = {"Retry-After": "10"}

_LOOK_EVERY: Final = 10
"""Events between two looks whether who listens still may."""

router: Final = APIRouter(tags=["api"])


class Hub:
    """Who listens. On the event loop, but for `look` and `close`.

    Args:
        looking: makes the picture.
        most: who may listen at a time.
    """

    def __init__(self, looking: Looking, most: int = MOST_SUBSCRIBERS) -> None:
        self.most = most
        self.closing = False
        self._looking = looking
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening: set[Subscriber] = set()

    @property
    def present(self) -> int:
        """How many listen."""
        return len(self._listening)

    @property
    def is_full(self) -> bool:
        """Whether nobody else may listen."""
        return self.present >= self.most or self.closing

    def add(self, subscriber: Subscriber) -> None:
        """Let somebody listen."""
        self._loop = asyncio.get_running_loop()
        self._listening.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Somebody has left."""
        self._listening.discard(subscriber)

    def event(self) -> bytes:
        """The picture as an event."""
        return _event("now", self._looking.update())

    def look(self) -> None:
        """Tell all who listen, if any do. From the thread that looks after things."""
        if self._listening and self._loop is not None:
            event = self.event()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._publish, event)

    def close(self) -> None:
        """Send all away, soon. From any thread."""
        self.closing = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # see above
                self._loop.call_soon_threadsafe(self._publish, None)

    def _publish(self, event: bytes | None) -> None:
        for each in self._listening:
            each.tell(event)


class Subscriber:
    """One who listens: has the newest event only, whatever he missed."""

    def __init__(self) -> None:
        self._event: bytes | None = None
        self._told = asyncio.Event()

    def tell(self, event: bytes | None) -> None:
        """Hand over the newest event; None for no further one."""
        self._event = event
        self._told.set()

    async def next(self) -> bytes | None:
        """The next event, when it comes."""
        await self._told.wait()
        self._told.clear()
        return self._event


class _Events(Response):
    """An answer without an end, until who listens leaves or may not listen any more."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, may_listen: Callable[[], bool]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._hub = hub
        self._may_listen = may_listen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events. One that is not read in time ends the connection (connections.py)."""
        if self._hub.is_full:  # others came in between
            await refusal(HTTPStatus.TOO_MANY_REQUESTS, FULL, RETRY)(scope, receive, send)
            return
        subscriber = Subscriber()
        self._hub.add(subscriber)
        left = asyncio.ensure_future(_left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            first = b"retry: 2000\n\n" + await run_in_threadpool(self._hub.event)
            await _send(send, first)
            why = await self._go_on(subscriber, send, left)
            if why:
                await _send(send, _event("closing", {"why": why}))
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._hub.remove(subscriber)
            left.cancel()

    async def _go_on(self, subscriber: Subscriber, send: Send, left: asyncio.Future[None]) -> str:
        """Send events until there is a reason not to; empty if nobody listens any more."""
        count = 0
        while not self._hub.closing:
            following = asyncio.ensure_future(subscriber.next())
            both: list[asyncio.Future[Any]] = [following, left]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                following.cancel()
                return ""
            event = following.result()
            if event is None:
                break
            count += 1
            if count % _LOOK_EVERY == 0 and not self._may_listen():
                return "signed_out"
            await _send(send, event)
        return "stopping"


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _event(kind: str, content: Any) -> bytes:
    return f"event: {kind}\ndata: {json_text(content)}\n\n".encode()


@router.get(STREAM_PATH, response_class=StreamingResponse)
async def stream(request: Request) -> Response:
    """The picture now, and its changes once a second, as server-sent events."""
    access: Access = request.app.state.access
    hub: Hub = request.app.state.hub
    access.allow(request, Role.READER)
    if hub.is_full:
        access.refuse(HTTPStatus.TOO_MANY_REQUESTS, FULL, RETRY)

    def may_listen() -> bool:
        try:
            access.allow(request, Role.READER)
        except HTTPException:
            return False
        return True

    return _Events(hub, may_listen)
