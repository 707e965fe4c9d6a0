"""What operators may do. Each action leaves a line in the log: who, from where, what, how it ended.

The logger is `consumer.audit`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from starlette.exceptions import HTTPException

from consumer.config import format_duration
from consumer.errors import SpoolError
from consumer.foreign import escaped
from consumer.http.access import Caller, needs
from consumer.http.api import LookingAt, TheConsumer  # noqa: TC001 - FastAPI reads them
from consumer.http.errors import Refused, answer
from consumer.http.keys import Role
from consumer.spool import dead_letters_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.delivery import TableDelivery
    from consumer.pipeline import Consumer
    from consumer.spool import DeadLetters

_LOG = logging.getLogger("consumer.audit")

_MOST_SECONDS: Final = 86_400
_MOST_DRAIN_SECONDS: Final = 20
_MOST_NAMES: Final = 1_000
_MOST_SHOWN: Final = 10
_MOST_ID: Final = 4_096
_MOST_LONG: Final = 4
_LONG: Final = threading.BoundedSemaphore(_MOST_LONG)

router: Final = APIRouter(prefix="/api/actions", tags=["actions"])

Operator = Annotated[Caller, Depends(needs(Role.OPERATOR))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Rebirth(_Body):
    """The edge node that is to be asked for its births."""

    server: str = Field(max_length=_MOST_ID)
    group: str = Field(max_length=_MOST_ID)
    node: str = Field(max_length=_MOST_ID)


class Letters(_Body):
    """Dead letters: by their names, or all, perhaps of one reason."""

    names: list[Annotated[str, Field(max_length=40)]] = Field(default=[], max_length=_MOST_NAMES)
    all: StrictBool = False
    reason: str | None = Field(default=None, max_length=200)


class Pause(_Body):
    """Which table's delivery is to pause, for how long, and why."""

    table: str | None = Field(default=None, max_length=1_000)
    seconds: StrictInt | StrictFloat = Field(ge=1, le=_MOST_SECONDS)
    why: str = Field(default="", max_length=200)


class Table(_Body):
    """A table; none for all."""

    table: str | None = Field(default=None, max_length=1_000)


class Drain(_Body):
    """For how long it is waited until nothing waits any more."""

    table: str | None = Field(default=None, max_length=1_000)
    seconds: StrictInt | StrictFloat = Field(default=10, ge=0, le=_MOST_DRAIN_SECONDS)


@router.post("/rebirth", status_code=HTTPStatus.ACCEPTED)
def rebirth(caller: Operator, consumer: TheConsumer, given: Rebirth) -> Any:
    """Ask an edge node for its births."""
    place = f"{given.group}/{given.node}"
    with audited(caller, "rebirth", f"{place} of {given.server}"):
        try:
            consumer.ask_rebirth(given.server, given.group, given.node)
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
    every = format_duration(consumer.configuration.host.rebirth.per_node)
    is_connected = any(
        each.connected.is_set() for each in consumer.connections if each.server.name == given.server
    )
    if is_connected:
        text = f"{place} is asked for its births within a second, at most every {every}"
    else:
        text = f"{given.server} is not connected: {place} is asked for its births when it is"
    return answer({"asked": True, "text": text}, HTTPStatus.ACCEPTED)


@router.post("/letters/retry")
def retry(caller: Operator, consumer: TheConsumer, given: Letters) -> Any:
    """Try dead letters again."""
    with (
        audited(caller, "retry letters", _in_words(given)),
        dead_letters_of(consumer.spool.path) as letters,
    ):
        count = letters.retry(_names(letters, given, to_retry=True))
    return answer({"letters": count})


@router.post("/letters/drop")
def drop(caller: Operator, consumer: TheConsumer, given: Letters) -> Any:
    """Delete dead letters for good."""
    with (
        audited(caller, "drop letters", _in_words(given)),
        dead_letters_of(consumer.spool.path) as letters,
    ):
        count = letters.drop(_names(letters, given, to_retry=False))
    return answer({"letters": count})


@router.post("/pause")
def pause(caller: Operator, consumer: TheConsumer, looking: LookingAt, given: Pause) -> Any:
    """Send nothing to Zerobus for a while; a pause ends by itself."""
    with audited(caller, "pause", f"{given.table or 'all tables'} for {given.seconds} s"):
        for each in _deliveries(consumer, given.table):
            each.pause(float(given.seconds), caller.name, given.why)
    return answer({"pauses": looking.pauses()})


@router.post("/resume")
def resume(caller: Operator, consumer: TheConsumer, looking: LookingAt, given: Table) -> Any:
    """End a pause."""
    with audited(caller, "resume", given.table or "all tables"):
        for each in _deliveries(consumer, given.table):
            each.resume()
    return answer({"pauses": looking.pauses()})


@router.post("/drain")
def drain(caller: Operator, consumer: TheConsumer, given: Drain) -> Any:
    """Send without waiting for fuller calls until nothing waits, or for so long."""
    with audited(caller, "drain", f"{given.table or 'all tables'} for {given.seconds} s"):
        found = _deliveries(consumer, given.table)
        with _one_of_few():
            left = [each.drain(float(given.seconds) / len(found)) for each in found]
    return answer({"rows_waiting": sum(left), "drained": not any(left)})


@contextlib.contextmanager
def _one_of_few() -> Iterator[None]:
    """Keep a thread for long, which few may do at a time: others are to be answered, too."""
    if not _LONG.acquire(blocking=False):
        raise Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{_MOST_LONG} drains are under way already; wait for their end",
            {"Retry-After": "5"},
        )
    try:
        yield
    finally:
        _LONG.release()


@contextlib.contextmanager
def audited(caller: Caller, action: str, what: str) -> Iterator[None]:
    """Log who did what, and how it ended."""
    ended = "failed"
    try:
        yield
        ended = "done"
    except (HTTPException, SpoolError) as error:
        ended = f"refused: {getattr(error, 'detail', error)}"
        raise
    finally:
        _LOG.info(
            "%s (%s, %s): %s: %s: %s",
            caller.name,
            caller.role,
            caller.address,
            action,
            escaped(what),
            escaped(ended),
            extra={"by": caller.name, "address": caller.address, "action": action},
        )


def _deliveries(consumer: Consumer, table: str | None) -> list[TableDelivery]:
    found = [each for each in consumer.deliveries if table in (None, each.table)]
    if not found:
        tables = ", ".join(each.table for each in consumer.deliveries)
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no such table, only {tables}")
    return found


def _names(letters: DeadLetters, given: Letters, *, to_retry: bool) -> list[str]:
    if bool(given.names) == given.all:
        raise Refused(HTTPStatus.BAD_REQUEST, "name letters, or say all")
    if given.names and given.reason is not None:
        raise Refused(HTTPStatus.BAD_REQUEST, "reason goes with all")
    if given.names:
        return given.names
    found = letters.list(given.reason)
    return [each.name for each in found if each.may_be_retried or not to_retry]


def _in_words(given: Letters) -> str:
    if given.all:
        return f"all of {given.reason}" if given.reason else "all"
    shown = ", ".join(given.names[:_MOST_SHOWN])
    return shown if len(given.names) <= _MOST_SHOWN else f"{shown} and others"
