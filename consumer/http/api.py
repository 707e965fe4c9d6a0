"""What the page and scripts read: lists, single things, the whole picture. Nothing is changed."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations

from consumer.config import not_default, shown
from consumer.http.access import needs
from consumer.http.errors import Refused, answer
from consumer.http.keys import Role
from consumer.http.version import PRODUCT, VERSION
from consumer.monitor import (
    EVENT_KINDS,
    NODE_SORTS,
    NODE_STATES,
    TAG_SORTS,
    Looking,
    NodeQuery,
    Of,
    Page,
    TagQuery,
    event_row,
    event_rows,
    gap_page,
    letter,
    letter_page,
)
from consumer.pipeline import Consumer
from consumer.spool import GapsOf, balance_of_file
from sparkplug import Healing

_MOST_SEARCH: Final = 200
_MOST_NAME: Final = 4_096
"""Characters of ids, names and folders: no topic and no name of a metric has more."""
_MONTH_SECONDS: Final = 31 * 86_400


def _one_of(words: tuple[str, ...], *, turned: bool = False) -> str:
    """A pattern for one of some words, or for none; `turned`: perhaps with `-` before it."""
    return f"^({'-?' if turned else ''}({'|'.join(words)}))?$"


Name = Annotated[str, Query(max_length=_MOST_NAME)]
Search = Annotated[str, Query(max_length=_MOST_SEARCH)]
Limit = Annotated[int, Query(ge=1, le=500)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
NodeSort = Annotated[str, Query(pattern=_one_of(NODE_SORTS, turned=True))]
NodeState = Annotated[str, Query(pattern=_one_of(NODE_STATES))]
EventKind = Annotated[str, Query(pattern=_one_of(EVENT_KINDS))]
HealingName = Annotated[str, Query(pattern=_one_of(tuple(map(str, Healing))))]

router: Final = APIRouter(prefix="/api", tags=["api"], dependencies=[Depends(needs(Role.READER))])


def looking_of(request: Request) -> Looking:
    """What looks at the consumer that a request is about."""
    looking: Looking = request.app.state.looking
    return looking


def consumer_of(request: Request) -> Consumer:
    """The consumer that a request is about."""
    consumer: Consumer = request.app.state.consumer
    return consumer


LookingAt = Annotated[Looking, Depends(looking_of)]
TheConsumer = Annotated[Consumer, Depends(consumer_of)]


@router.get("/overview")
def overview(looking: LookingAt) -> Any:
    """The whole picture, with samples of 15 minutes."""
    return answer({"product": PRODUCT, "version": VERSION, **looking.picture()})


@router.get("/servers")
def servers(looking: LookingAt) -> Any:
    """The MQTT servers."""
    return answer({"items": looking.servers()})


@router.get("/nodes")
def nodes(
    looking: LookingAt,
    *,
    search: Search = "",
    state: NodeState = "",
    server: Name = "",
    sort: NodeSort = "state",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Any:
    """A page of the edge nodes, worst first unless another order is asked for."""
    query = NodeQuery(search, state, server, sort or "state")
    return answer(looking.nodes.listed(query, Page(limit, offset)))


@router.get("/node")
def node(looking: LookingAt, server: Name, group: Name, node: Name) -> Any:
    """One edge node with its devices and its life."""
    found = looking.nodes.node((server, group, node))
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such edge node; see /api/nodes")
    return answer(found)


@router.get("/tree")
def tree(
    looking: LookingAt,
    *,
    server: Name = "",
    group: Name = "",
    node: Name = "",
    device: Name = "",
    folder: Name = "",
    limit: Limit = 500,
    offset: Offset = 0,
) -> Any:
    """The children of one level of groups, nodes, devices, folders and tags."""
    if not server:
        found = looking.nodes.groups()
    elif not node:
        found = looking.nodes.nodes_of(server, group)
    else:
        found = looking.tags.below((server, group, node, device), folder)
        if not device and not folder:
            found = looking.nodes.devices_of((server, group, node)) + found
    page = Page(limit, offset)
    return answer(page.answer(len(found), page.of(found)))


class TagParameters(BaseModel):
    """Which tags are asked for, in which order, and which part of them."""

    search: str = Field(default="", max_length=_MOST_SEARCH)
    server: str = Field(default="", max_length=_MOST_NAME)
    group: str = Field(default="", max_length=_MOST_NAME)
    node: str = Field(default="", max_length=_MOST_NAME)
    device: str | None = Field(default=None, max_length=_MOST_NAME)
    folder: str = Field(default="", max_length=_MOST_NAME)
    quality: Literal["", "GOOD", "UNCERTAIN", "BAD", "STALE"] = ""
    sort: str = Field(default="path", pattern=_one_of(TAG_SORTS, turned=True))
    limit: int = Field(default=50, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=1_000_000)


@router.get("/tags")
def tags(looking: LookingAt, asked: Annotated[TagParameters, Query()]) -> Any:
    """A page of the tags that a search finds."""
    of = Of(asked.server, asked.group, asked.node, asked.device, asked.folder)
    query = TagQuery(asked.search, of, asked.quality, asked.sort or "path")
    return answer(looking.tags.listed(query, Page(asked.limit, asked.offset)))


@router.get("/tag")
def tag(
    looking: LookingAt, *, server: Name, group: Name, node: Name, name: Name, device: Name = ""
) -> Any:
    """One tag with its last values and what its birth says of it."""
    found = looking.tags.tag((server, group, node, device), name)
    if found is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such tag; see /api/tags")
    return answer(found)


@router.get("/gaps")
def gaps(
    looking: LookingAt,
    *,
    since_seconds: Annotated[int, Query(ge=1, le=_MONTH_SECONDS)] = 86_400,
    server: Name = "",
    group: Name = "",
    node: Name = "",
    healing: HealingName = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Any:
    """A page of the gaps in what edge nodes sent, newest first."""
    page = Page(limit, offset)
    of = GapsOf(server, group, node, healing)
    return answer(gap_page(looking.nodes.gap_report(since_seconds, page, of), page))


@router.get("/letters")
def letters(
    consumer: TheConsumer,
    *,
    reason: Name = "",
    kind: Literal["", "row", "message"] = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> Any:
    """A page of the dead letters, newest first, and how many there are of each reason."""
    page = Page(limit, offset)
    return answer(letter_page(consumer.spool.path, reason=reason, kind=kind, page=page))


@router.get("/letter")
def one_letter(consumer: TheConsumer, name: Annotated[str, Query(max_length=40)]) -> Any:
    """One dead letter with its content."""
    return answer(letter(consumer.spool.path, name))


@router.get("/ledger")
def ledger(consumer: TheConsumer) -> Any:
    """What became of every message and row."""
    balance = balance_of_file(consumer.spool.path)
    return answer({**balance.to_dict(), "lines": balance.lines()})


@router.get("/events")
def events(
    consumer: TheConsumer,
    *,
    server: Name = "",
    group: Name = "",
    node: Name = "",
    kind: EventKind = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    limit: Limit = 50,
) -> Any:
    """The last events, newest first."""
    found = event_rows(
        consumer.side.log.events(), server=server, group=group, node=node, kind=kind, before=before
    )
    items = [event_row(each) for each in found[:limit]]
    return answer({"total": len(found), "limit": limit, "items": items})


@router.get("/config")
def configuration(consumer: TheConsumer) -> Any:
    """The configuration in force, its secrets masked."""
    return answer(effective(consumer))


def effective(consumer: Consumer) -> dict[str, Any]:
    """The answer of `/config`."""
    configuration = consumer.configuration
    return {
        "configuration": shown(configuration),
        "warnings": list(configuration.warnings),
        "changed": not_default(configuration),
    }
