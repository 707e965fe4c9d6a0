"""Ingest: events posted as an Ignition Event Stream posts them, committed before the answer.

What is promised, the statuses and the limits are on docs/event-streams.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from consumer.foreign import json_text
from consumer.http.errors import NAMES
from consumer.pipeline import MOST_BODY_BYTES, Busy, Outcome, Post
from consumer.rows import BodyError, TakesLong, read_body
from consumer.spool import HTTP_SOURCE

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from consumer.pipeline import Consumer, Posts
    from consumer.rows import ReadBody

INGEST_PATHS: Final = frozenset(
    {"/ingest", "/ingest/batch", "/system/zerobus/ingest", "/system/zerobus/ingest/batch"}
)
"""Their bodies may be large, and are bounded while they come."""

_SMALL_BYTES: Final = 64 << 10
"""Bodies up to so many bytes are read on the event loop, if no event needs a look by itself: 400
usual events take about a millisecond."""
_COMMIT_SECONDS: Final = 20.0
"""After that a post is answered though it is not committed: before the connection is closed."""
_RETRY_SECONDS: Final = {
    Busy.SPOOL_FULL: 30,
    Busy.GATE_CLOSED: 30,
    Busy.QUEUE_HALF_FULL: 1,
    Busy.TOO_MANY_POSTS: 1,
    Busy.STOPPING: 5,
    Busy.SLOW: 5,
}
_WHY_BUSY: Final = {
    Busy.SPOOL_FULL: "the spool is nearly full, and what is left is for MQTT; "
    "see why Zerobus takes no rows, or raise spool.max_bytes",
    Busy.GATE_CLOSED: "the gate is closed: rows cannot be stored now; /status says why",
    Busy.QUEUE_HALF_FULL: "more comes over MQTT than is read, and goes first",
    Busy.TOO_MANY_POSTS: "as many posts as can be are under way; "
    "send fewer at a time, with more events each",
    Busy.STOPPING: "the consumer stops",
    Busy.SLOW: "the spool takes its time, see its disk; nothing was committed",
}
_MAY_BE_COMMITTED: Final = (
    "the spool takes its time, see its disk; "
    "the events may be committed later: post them again, their ids stay the same"
)
_TOO_MUCH_AT_A_TIME: Final = frozenset({Busy.QUEUE_HALF_FULL, Busy.TOO_MANY_POSTS})
_OF_OUTCOME: Final = {
    Outcome.NO_ROOM: Busy.SPOOL_FULL,
    Outcome.GATE_CLOSED: Busy.GATE_CLOSED,
    Outcome.STOPPED: Busy.STOPPING,
}


_EVENT: Final = {
    "type": "object",
    "required": ["tagPath"],
    "properties": {
        "tagPath": {"type": "string"},
        "tagProvider": {"type": ["string", "null"]},
        "value": {"type": ["number", "boolean", "string", "null"]},
        "quality": {"type": ["string", "null"]},
        "qualityCode": {"type": ["integer", "null"]},
        "timestamp": {"type": ["number", "null"], "description": "milliseconds since 1970 UTC"},
        "dataType": {"type": ["string", "null"]},
    },
}
_STATUSES: Final = (400, 401, 403, 413, 415, 422, 429, 500, 503)
"""Of answers, but for 200, that OpenAPI tells of."""
_EVENTS: Final = {"type": "array", "items": _EVENT}


class Sender(NamedTuple):
    """Who posts: the name of the key, and the source_system_id of the rows."""

    name: str
    source: str


class _Answer(NamedTuple):
    """A status, the JSON of the body, and after how many seconds to try again, if that helps."""

    status: int
    body: dict[str, Any]
    retry_after: int | None = None


class _NotTaken(Exception):  # noqa: N818 - an answer, not a failure
    """Raised where it is known that nothing of a post is taken."""

    def __init__(self, status: int, detail: str, busy: Busy | None = None) -> None:
        super().__init__(detail)
        body = {"error": NAMES.get(HTTPStatus(status), "failure"), "detail": detail}
        if busy is not None:
            body["reason"] = str(busy)
        self.answer = _Answer(status, body, None if busy is None else _RETRY_SECONDS[busy])


def ingest_routes(consumer: Consumer, sender_of: Callable[[Request], Sender]) -> APIRouter:
    """The routes that take events.

    Args:
        consumer: commits them.
        sender_of: says who posts a request, or raises HTTPException.
    """
    router = APIRouter()
    ingest = _Ingest(consumer)

    async def post(request: Request) -> Response:
        """Take one event, or a JSON array of events, as an Ignition Event Stream sends them."""
        answer = await ingest.answer(request, sender_of)
        headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
        return Response(json_text(answer.body), answer.status, headers, "application/json")

    for path in sorted(INGEST_PATHS):
        router.add_route(path, post, methods=["POST"])
    return router


def ingest_schema() -> dict[str, Any]:
    """The routes for OpenAPI, which does not find them: they are made without its models."""
    body = {"content": {"application/json": {"schema": {"oneOf": [_EVENT, _EVENTS]}}}}
    answers = {"200": "what became of the events: accepted, dropped, errors"} | {
        str(status): HTTPStatus(status).phrase for status in _STATUSES
    }
    operation = {
        "summary": "Take one event, or an array of events, as an Ignition Event Stream sends them",
        "tags": ["ingest"],
        "requestBody": {"required": True, **body},
        "responses": {status: {"description": text} for status, text in answers.items()},
    }
    return {path: {"post": operation} for path in sorted(INGEST_PATHS)}


class _Ingest:
    """Answers posts. Used on the event loop."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._posts: Posts = consumer.posts
        # A thread of its own: those of the loop may all wait for something else.
        self._beside = ThreadPoolExecutor(1, "posts")

    async def answer(self, request: Request, sender_of: Callable[[Request], Sender]) -> _Answer:
        """The answer to a post; events that it says are accepted are committed."""
        statuses = self._posts.statuses
        try:
            sender = sender_of(request)
        except HTTPException as error:
            statuses[str(error.status_code)] += 1
            raise
        body = _Body(request, self._posts, sender.name)
        try:
            answer = await self._take(request, sender, body)
        except _NotTaken as error:
            answer = error.answer
            with contextlib.suppress(ClientDisconnect):  # that is the answer all the same
                await body.pass_by()
        except ClientDisconnect:
            answer = _NotTaken(400, "the body did not come").answer
        except Exception:
            statuses["500"] += 1
            raise
        statuses[str(answer.status)] += 1
        return answer

    async def _take(self, request: Request, sender: Sender, body: _Body) -> _Answer:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise _NotTaken(415, "Content-Encoding is not understood; send the JSON as it is")
        _check_length(request.headers.get("content-length", ""))
        busy = self._posts.admit(sender.name)
        if busy is not None:
            raise _too_busy(busy)
        try:
            read = await self._read(await body.read(), time.time_ns() // 1_000)
            return await self._commit(read, sender.source, body)
        finally:
            if not body.leaves_later:
                body.leave()

    async def _read(self, body: bytes, received_us: int) -> ReadBody:
        try:
            if len(body) <= _SMALL_BYTES:
                try:
                    return read_body(body, received_us, at_once=True)
                except TakesLong:
                    pass
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._beside, read_body, body, received_us)
        except BodyError as error:
            if error.too_large:
                raise _NotTaken(413, str(error)) from error
            raise _NotTaken(400, f"the body is {error}") from error

    async def _commit(self, read: ReadBody, source: str, body: _Body) -> _Answer:
        if not read.events:
            return await self._nothing_to_commit(read)
        offered = _Offered(body)
        post = Post(source, read, body.held, offered.tell)
        if not self._posts.offer(post):
            raise _too_busy(Busy.STOPPING)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(offered.told, _COMMIT_SECONDS)
        finally:  # also of a request that is given up
            if offered.outcome is None and not self._posts.take_back(post):
                body.leaves_later = True
        outcome = offered.outcome
        if outcome is None:
            raise _too_busy(Busy.SLOW, _MAY_BE_COMMITTED if body.leaves_later else "")
        if outcome is Outcome.COMMITTED:
            return _Answer(200, _account(read))
        if outcome is Outcome.FAILED:
            raise _NotTaken(500, "nothing was committed; the log of the consumer has why")
        raise _too_busy(_OF_OUTCOME[outcome])

    async def _nothing_to_commit(self, read: ReadBody) -> _Answer:
        dropped = self._posts.count_dropped(read)
        if dropped:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._beside, self._book, dropped)
        return _Answer(422 if dropped else 200, _account(read))

    def _book(self, dropped: Counter[str]) -> None:
        """Not for the event loop: the ledger is locked while it is written."""
        for reason, count in dropped.items():
            self._consumer.ledger.refuse(HTTP_SOURCE, reason, count)
            self._consumer.telemetry.remarks.note(reason, count, HTTP_SOURCE)


class _Body:
    """The body of one request while it comes.

    Attributes:
        held: bytes that are counted for it.
        leaves_later: they are counted until it is known what became of its events, which are
            being committed, though nobody waits for that any more.
    """

    def __init__(self, request: Request, posts: Posts, sender: str) -> None:
        self._stream = request.stream()
        # Who asks whether to send it has not sent it.
        self._is_coming = "expect" not in request.headers
        self._posts = posts
        self._sender = sender
        self.held = 0
        self.leaves_later = False

    async def read(self) -> bytes:
        """The whole body."""
        chunks: list[bytes] = []
        async for chunk in self._stream:
            if self.held + len(chunk) > MOST_BODY_BYTES:
                raise _too_large()
            if not self._posts.hold(self._sender, len(chunk)):
                raise _too_busy(Busy.TOO_MANY_POSTS)
            self.held += len(chunk)
            chunks.append(chunk)
        return b"".join(chunks)

    def leave(self) -> None:
        """Count the post, which was let in, as answered."""
        self._posts.leave(self._sender, self.held)

    async def pass_by(self) -> None:
        """Let the rest come, and go: who is still sending does not look for an answer."""
        size = 0
        if self._is_coming:
            async for chunk in self._stream:
                size += len(chunk)
                if size > 2 * MOST_BODY_BYTES:
                    break


class _Offered:
    """Hears what becomes of a post. Used on the event loop, but for `tell`.

    Attributes:
        told: is done when that is known; cancelled when nobody waits for it any more.
        outcome: what became of it; None as long as that is not known.
    """

    def __init__(self, body: _Body) -> None:
        self._loop = asyncio.get_running_loop()
        self._body = body
        self.told: asyncio.Future[None] = self._loop.create_future()
        self.outcome: Outcome | None = None

    def tell(self, outcome: Outcome) -> None:
        """Say what became of it, from any thread."""
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop has ended
            self._loop.call_soon_threadsafe(self._hear, outcome)

    def _hear(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if not self.told.done():
            self.told.set_result(None)
        elif self._body.leaves_later:
            self._body.leave()


def _check_length(declared: str) -> None:
    """Refuse a body that is too large before it comes."""
    if declared.isdecimal() and (len(declared) > 9 or int(declared) > MOST_BODY_BYTES):
        raise _too_large()


def _too_large() -> _NotTaken:
    return _NotTaken(
        413,
        f"a body has at most {MOST_BODY_BYTES >> 20} MiB; send fewer events at a time",
    )


def _too_busy(busy: Busy, detail: str = "") -> _NotTaken:
    status = 429 if busy in _TOO_MUCH_AT_A_TIME else 503
    return _NotTaken(status, detail or _WHY_BUSY[busy], busy)


def _account(read: ReadBody) -> dict[str, Any]:
    """What became of the events of a body."""
    account: dict[str, Any] = {
        "accepted": len(read.events),
        "dropped": read.dropped.total(),
        "errors": [asdict(each) for each in read.refused],
    }
    if read.notes:
        account["notes"] = {str(note): count for note, count in read.notes.items()}
    return account
