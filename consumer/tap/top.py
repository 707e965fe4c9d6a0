"""One look at a running consumer over its HTTP API: the whole, its servers, its nodes worst first.

Keys of the answers are those of docs/http.md. Nothing is shown here: see `top_screen`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Ask: TypeAlias = Callable[[str, Mapping[str, str | int]], dict[str, Any]]
"""Reads what a route below /api tells for some parameters."""

SORTS: Final = {
    "state": "state",
    "rate": "-rate",
    "tags": "-tags",
    "gaps": "-gaps",
    "clock": "-clock",
    "heard": "heard",
    "birth": "-birth",
    "group": "group",
    "node": "node",
    "server": "server",
}
"""What nodes may be sorted by, and what /api/nodes is asked for, so that the first are the ones
that are looked for: worst, most, longest ago; for births the newest."""

_LEVELS: Final = ("wrong", "warning", "unknown", "ok")
_PAGE: Final = 500
_MOST_SEARCH: Final = 200
_FRESH_SAMPLES: Final = 60


class Wanted(NamedTuple):
    """Which nodes are looked at.

    Args:
        sort: one of `SORTS`; with `-` before it the other way round.
        glob: of `group/node`, such as `Plant/*`; empty for all.
        most: how many at most; None for all of them.
    """

    sort: str = "state"
    glob: str = ""
    most: int | None = None


class Picture(NamedTuple):
    """What was seen in one look; items are those of the API.

    Args:
        overview: without its samples.
        latency: seconds from arrival to acknowledgement, p50 and p99, of the newest second of
            the last minute that has them; None where there was none.
        servers: worst first.
        nodes: in the order that was asked for.
        states: how many of the nodes that were looked for, shown or not, are in each state.
    """

    overview: dict[str, Any]
    latency: tuple[float, float] | None
    servers: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    states: dict[str, int]

    @property
    def total(self) -> int:
        """How many nodes were found, shown or not."""
        return sum(self.states.values())

    def as_dictionary(self) -> dict[str, Any]:
        """The picture for JSON."""
        p50, p99 = self.latency or (None, None)
        return {
            **self.overview,
            "latency_p50_seconds": p50,
            "latency_p99_seconds": p99,
            "servers": self.servers,
            "nodes": {"total": self.total, "states": self.states, "items": self.nodes},
        }


def look(ask: Ask, wanted: Wanted) -> Picture:
    """Look once.

    Raises:
        What `ask` raises.
    """
    overview = ask("overview", {})
    latency = _latency(overview.pop("samples"))
    servers = sorted(ask("servers", {})["items"], key=lambda each: _LEVELS.index(each["level"]))
    found = _by_glob(ask, wanted) if wanted.glob else _nodes(ask, wanted)
    return Picture(overview, latency, servers, *found)


def _latency(samples: Mapping[str, list[Any]]) -> tuple[float, float] | None:
    both = zip(samples["latency_p50_seconds"], samples["latency_p99_seconds"], strict=True)
    fresh = list(both)[-_FRESH_SAMPLES:]
    return next((each for each in reversed(fresh) if None not in each), None)


def _nodes(ask: Ask, wanted: Wanted) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The first nodes of all, and how many there are in each state."""
    if wanted.sort != "state":
        return _read(ask, {"sort": _asked(wanted.sort)}, wanted.most)
    nodes, states = _read(ask, {"sort": "state"}, wanted.most)
    troubled = sum(states.values()) - states["alive"]
    if troubled >= len(nodes):
        return nodes, states
    # Those that are alive come by name: among them the worst have most gaps.
    rest = len(nodes) - troubled
    alive, _ = _read(ask, {"state": "alive", "sort": "-gaps"}, rest)
    # In between one may have died, or been born.
    unlike = {_place(each): each for each in (*nodes[:troubled], *alive)}
    return list(unlike.values()), states


def _by_glob(ask: Ask, wanted: Wanted) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The first nodes that a glob finds, and how many of those are in each state."""
    # The API looks for a text: the longest one that the glob has makes few of them.
    texts = re.split(r"\[.*?\]|[*?\[\]]", wanted.glob)
    search = max(texts, key=len)[:_MOST_SEARCH]
    everything, states = _read(ask, {"sort": _asked(wanted.sort), "search": search}, None)
    found = [each for each in everything if fnmatchcase(name_of(each), wanted.glob)]
    if wanted.sort == "state":
        alive = [each for each in found if each["state"] == "alive"]
        found = [each for each in found if each["state"] != "alive"]
        found += sorted(alive, key=lambda each: -int(each["seq_errors"]))
    counted = Counter(each["state"] for each in found)
    return found[: wanted.most], {state: counted[state] for state in states}


def _asked(sort: str) -> str:
    by = SORTS[sort.removeprefix("-")]
    if not sort.startswith("-"):
        return by
    return by.removeprefix("-") if by.startswith("-") else f"-{by}"


def _read(
    ask: Ask, query: Mapping[str, str | int], most: int | None
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """So many nodes of a list, page by page, and how many are in each state, found or not."""
    states: dict[str, int] = {}
    items: list[dict[str, Any]] = []
    for page in _pages(ask, query, most):
        states = page["states"]
        items += page["items"]
    return items[:most], states


def _pages(ask: Ask, query: Mapping[str, str | int], most: int | None) -> Iterator[dict[str, Any]]:
    offset, left = 0, most
    while True:
        limit = _PAGE if left is None else max(1, min(left, _PAGE))
        page = ask("nodes", {**query, "limit": limit, "offset": offset})
        yield page
        offset += limit
        left = None if left is None else left - limit
        if offset >= page["total"] or (left is not None and left <= 0):
            return


def name_of(node: Mapping[str, Any]) -> str:
    """A node as people call it, `group/node`; not escaped."""
    return f"{node['group']}/{node['node']}"


def _place(node: Mapping[str, Any]) -> tuple[str, str, str]:
    return node["server"], node["group"], node["node"]
