"""Drills over HTTP: how they stand, what they showed, and how one is asked for."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from consumer.http.access import needs
from consumer.http.actions import Operator, audited
from consumer.http.api import Limit, Name, Offset, TheConsumer  # noqa: TC001 - FastAPI reads them
from consumer.http.errors import Refused, answer
from consumer.http.keys import Role
from consumer.monitor import Page
from consumer.pipeline import LEAST_SECONDS, MOST_SECONDS, MOST_WAIT, DrillRefused, DrillWanted

if TYPE_CHECKING:
    from consumer.pipeline import Consumer

_MOST_ID: Final = 4_096
_MOST_NAMED: Final = 50
_SECONDS: Final = 45
_WAIT: Final = 60

router: Final = APIRouter(prefix="/api", tags=["drill"])

_READS: Final = [Depends(needs(Role.READER))]


class Drill(BaseModel):
    """For how long the host is to be offline, of which server, and how long history is awaited."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    seconds: StrictInt | StrictFloat = Field(default=_SECONDS, ge=LEAST_SECONDS, le=MOST_SECONDS)
    wait: StrictInt | StrictFloat = Field(default=_WAIT, ge=1, le=MOST_WAIT)
    server: str | None = Field(default=None, max_length=_MOST_ID)
    yes: StrictBool = False


class Nothing(BaseModel):
    """An object without keys."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@router.get("/drill", dependencies=_READS)
def drill(consumer: TheConsumer, server: Name = "") -> Any:
    """The drill that is on, the last one, and which edge nodes might lose data in a next one."""
    servers = _servers(consumer, server)
    refusal = consumer.drill.refusal(servers)
    may_lose = None if consumer.drill.is_on else _may_lose(consumer, servers)
    return answer({**consumer.drill.status(), "refusal": refusal, "may_lose": may_lose})


@router.get("/drill/results", dependencies=_READS)
def results(
    consumer: TheConsumer,
    *,
    server: Name = "",
    verdict: Literal["", "kept", "partly", "lost", "not_known"] = "",
    since_ms: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Any:
    """A page of the last result of each edge node, worst first."""
    found = [
        each
        for each in consumer.drill.results(_servers(consumer, server))
        if verdict in ("", each.verdict) and each.at_ms >= since_ms
    ]
    page = Page(limit, offset)
    items = [
        {
            "server": each.server,
            "group": each.group_id,
            "node": each.edge_node_id,
            "verdict": each.verdict,
            "text": each.text,
            "at_ms": each.at_ms,
            "rows": each.rows,
            "first_ms": each.first_ms,
            "last_ms": each.last_ms,
            "window_seconds": each.window_seconds,
            "kept_ms": each.kept_ms,
        }
        for each in page.of(found)
    ]
    return answer(page.answer(len(found), items))


@router.post("/actions/drill", status_code=HTTPStatus.ACCEPTED)
def begin(caller: Operator, consumer: TheConsumer, given: Drill) -> Any:
    """Take the host offline for some seconds, to see which edge nodes keep their data."""
    servers = _servers(consumer, given.server or "")
    what = f"{', '.join(servers)} for {given.seconds} s"
    with audited(caller, "drill", what):
        if not given.yes:
            number = len(consumer.drill.may_lose(servers))
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                f"{number} edge nodes may lose what they publish in the {given.seconds} s "
                "(GET /api/drill names them): say yes",
            )
        wanted = DrillWanted(servers, float(given.seconds), float(given.wait), caller.name)
        try:
            begun_ms = consumer.drill.ask(wanted)
        except DrillRefused as error:
            raise Refused(HTTPStatus.CONFLICT, f"no drill now: {error}") from error
    text = f"STATE goes offline in {given.seconds} s, for as long"
    return answer({"begun_ms": begun_ms, "text": text}, HTTPStatus.ACCEPTED)


@router.post("/actions/drill/end")
def end(caller: Operator, consumer: TheConsumer, given: Nothing) -> Any:  # noqa: ARG001 - its form is checked
    """Let the host be online again at once."""
    with audited(caller, "end drill", "the drill that is on"):
        ended = consumer.drill.end()
    return answer({"ended": ended})


def _may_lose(consumer: Consumer, servers: tuple[str, ...]) -> dict[str, Any]:
    """How many edge nodes may lose data in a drill, and the names of some."""
    nodes = consumer.drill.may_lose(servers)
    named = [
        {"server": name, "group": group, "node": node} for name, group, node in nodes[:_MOST_NAMED]
    ]
    return {"total": len(nodes), "items": named}


def _servers(consumer: Consumer, server: str) -> tuple[str, ...]:
    """The server of a name, or all."""
    names = consumer.drill.servers
    if server and server not in names:
        raise Refused(HTTPStatus.NOT_FOUND, f"there is no such server, only {', '.join(names)}")
    return (server,) if server else names
