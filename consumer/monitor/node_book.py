"""Edge nodes for the API: a list, one node with its life, and the upper levels of the tree."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.errors import SpoolError
from consumer.monitor.events import event_row
from consumer.monitor.shown import Level, Page, milliseconds
from consumer.spool import GapsOf, read_gap_report
from sparkplug import sight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consumer.monitor.tag_book import TagBook
    from consumer.pipeline import Consumer, NodePlace, NodeStory, Source
    from consumer.spool import GapReport, NodeAccount, OwnerPlace
    from sparkplug import NodeView, SilentNode

DAY_SECONDS: Final = 86_400
_ACCOUNTS_SECONDS: Final = 5.0
_FRESH_SECONDS: Final = 0.9
_MOST_LIFE: Final = 200

STATES: Final = {
    "duplicate": Level.WRONG,
    "dead": Level.WRONG,
    "silent": Level.WARNING,
    "in_doubt": Level.WARNING,
    "never_born": Level.WARNING,
    "alive": Level.OK,
}
"""States of a node with their levels, worst first."""

NODE_STATES: Final = tuple(STATES)

_RANK: Final = {state: rank for rank, state in enumerate(STATES)}

SILENT: Final = {
    "quiet": "it says nothing for longer than it ever did",
    "unheard": "it was not heard after an absence, and answers no rebirth requests",
}
"""What each reason of a silence says."""

NODE_SORTS: Final = (
    *("state", "group", "node", "server", "rate", "tags", "gaps", "clock", "birth", "heard"),
)
"""What a list of nodes may be sorted by; with `-` before it the other way round."""


class NodeQuery(NamedTuple):
    """What is asked of the list of nodes; empty texts stand for all."""

    search: str = ""
    state: str = ""
    server: str = ""
    sort: str = "state"


class _Seen(NamedTuple):
    """All nodes at one moment: as the list shows them, as they are, and rows a second."""

    rows: list[dict[str, Any]]
    views: dict[NodePlace, NodeView]
    rates: dict[OwnerPlace, float]


class NodeBook:
    """Answers what is asked of nodes. Thread-safe.

    Args:
        consumer: whose nodes.
        tags: knows the rates.
        clock: monotonic seconds.
    """

    def __init__(
        self, consumer: Consumer, tags: TagBook, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._consumer = consumer
        self._tags = tags
        self._clock = clock
        self._lock = threading.Lock()
        self._made = _Seen([], {}, {})
        self._made_at = self._read_at = -1e9
        self._accounts: dict[NodePlace, NodeAccount] = {}
        self._topics = {each.name: each.topics for each in consumer.configuration.servers}

    # ------------------------------------------------------------------ all nodes

    def rows(self) -> list[dict[str, Any]]:
        """All nodes as the list shows them, worst first; not older than a second."""
        return self._seen().rows

    def _seen(self) -> _Seen:
        """All nodes, of one moment that is not longer ago than a second."""
        with self._lock:
            if self._clock() - self._made_at >= _FRESH_SECONDS:
                self._made = self._make()
                self._made_at = self._clock()
            return self._made

    def _make(self) -> _Seen:
        now_ms = time.time_ns() // 1_000_000
        if self._clock() - self._read_at >= _ACCOUNTS_SECONDS:
            self._read_at = self._clock()
            try:
                self._accounts = self.gap_report(DAY_SECONDS, Page(0)).nodes
            except SpoolError:
                self._accounts = {}
        stories = self._consumer.side.log.stories()
        rates = self._tags.rows_per_second()
        by_node: dict[NodePlace, float] = {}
        for (server, group_id, edge_node_id, _), rate in rates.items():
            place = (server, group_id, edge_node_id)
            by_node[place] = by_node.get(place, 0.0) + rate
        views: dict[NodePlace, NodeView] = {}
        rows = []
        for source in self._consumer.sources:
            silent = {(each.group_id, each.edge_node_id): each for each in _silent(source)}
            for view in source.fleet.node_views():
                place = (source.name, view.group_id, view.edge_node_id)
                views[place] = view
                rows.append(
                    _row(
                        view,
                        place,
                        silent.get(place[1:]),
                        stories.get(place),
                        self._accounts.get(place),
                        by_node.get(place, 0.0),
                        now_ms,
                    )
                )
        rows.sort(key=lambda row: (_RANK[row["state"]], row["group"], row["node"], row["server"]))
        return _Seen(rows, views, rates)

    def gap_report(self, seconds: int, page: Page, of: GapsOf = GapsOf()) -> GapReport:  # noqa: B008 - it cannot be changed
        """How complete the messages of nodes are, of the last so many seconds.

        Args:
            seconds: before now.
            page: which single gaps are listed.
            of: of what it is.

        Raises:
            SpoolError: the spool cannot be read.
        """
        now_us = time.time_ns() // 1_000

        def is_whole(server: str, group_id: str, edge_node_id: str) -> bool:
            topics = self._topics.get(server)
            return topics is None or sight_of(topics, group_id, edge_node_id).whole

        return read_gap_report(
            self._consumer.spool.path,
            now_us - seconds * 1_000_000,
            now_us,
            of,
            until_now=True,
            is_whole=is_whole,
            most_listed=page.limit,
            left_out=page.offset,
        )

    def listed(self, query: NodeQuery, page: Page) -> dict[str, Any]:
        """Nodes that a query finds: one page of them, and how many there are in each state."""
        rows = self.rows()
        states = dict.fromkeys(reversed(STATES), 0)
        for row in rows:
            states[row["state"]] += 1
        word = query.search.lower()
        found = [
            row
            for row in rows
            if (not query.state or row["state"] == query.state)
            and (not query.server or row["server"] == query.server)
            and (not word or word in f"{row['group']}/{row['node']}".lower())
        ]
        by = query.sort.removeprefix("-")
        if by != "state":
            _sort(found, _KEYS[by], backwards=query.sort.startswith("-"))
        elif query.sort.startswith("-"):
            found.reverse()
        return page.answer(len(found), page.of(found), states=states)

    # ------------------------------------------------------------------ one node

    def node(self, place: NodePlace) -> dict[str, Any] | None:
        """One node with its devices, its account and what happened to it; None for no such one."""
        seen, server = self._seen(), place[0]
        row = next(
            (each for each in seen.rows if (each["server"], each["group"], each["node"]) == place),
            None,
        )
        if row is None:
            return None
        view = seen.views[place]
        events = [
            each
            for each in self._consumer.side.log.events()
            if (each.server, each.event.group_id, each.event.edge_node_id) == place
        ]
        connection = next(each for each in self._consumer.connections if each.server.name == server)
        account = self._accounts.get(place)
        unmended = [
            each
            for each in self._consumer.unmended_nodes
            if (each["server"], each["group_id"], each["edge_node_id"]) == place
        ]
        return {
            "node": row,
            "bd_seq": view.bd_seq,
            "next_seq": view.next_seq,
            "ignition": view.is_ignition,
            "seen_in_part": view.is_partial,
            "may_ask": connection.connected.is_set()
            and self._consumer.configuration.host.mode != "passive",
            "devices": [
                {
                    "device": each.device_id,
                    "alive": each.is_alive,
                    "tags": each.tags,
                    "born_ms": each.born_ms,
                    "rows_per_second": round(seen.rates.get((*place, each.device_id), 0.0), 3),
                }
                for each in sorted(view.devices)
            ],
            "account": None if account is None else account.as_dictionary(),
            "life": [event_row(each) for each in reversed(events[-_MOST_LIFE:])],
            "unmended": None
            if not unmended
            else {"problem": unmended[0]["problem"], "mend": unmended[0]["mend"]},
        }

    # ------------------------------------------------------------------ the tree

    def groups(self) -> list[dict[str, Any]]:
        """The groups of all servers."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.rows():
            found.setdefault((row["server"], row["group"]), []).append(row)
        return [
            _branch("group", group, server, group, None, None, rows)
            for (server, group), rows in sorted(found.items())
        ]

    def nodes_of(self, server: str, group: str) -> list[dict[str, Any]]:
        """The nodes of a group."""
        rows = [each for each in self.rows() if (each["server"], each["group"]) == (server, group)]
        return [
            _branch("node", row["node"], server, group, row["node"], None, [row])
            for row in sorted(rows, key=lambda row: str(row["node"]))
        ]

    def devices_of(self, place: NodePlace) -> list[dict[str, Any]]:
        """The devices of a node."""
        view = self._seen().views.get(place)
        devices = () if view is None else view.devices
        return [
            {
                **_branch("device", each.device_id, *place, each.device_id, []),
                "tags": each.tags,
                "level": Level.OK if each.is_alive else Level.WRONG,
                "has_children": each.tags > 0,
            }
            for each in sorted(devices)
        ]


def _branch(  # noqa: PLR0917 - a row of the tree
    kind: str,
    label: str,
    server: str,
    group: str,
    node: str | None,
    device: str | None,
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    levels = [row["level"] for row in rows]
    worst = next((each for each in (Level.WRONG, Level.WARNING) if each in levels), Level.OK)
    return {
        "kind": kind,
        "label": label,
        "server": server,
        "group": group,
        "node": node,
        "device": device,
        "folder": "",
        "name": None,
        "tags": sum(row["tags"] for row in rows),
        "level": worst,
        "has_children": True,
    }


def _silent(source: Source) -> Iterable[SilentNode]:
    return source.fleet.absence.silences.nodes


def _row(  # noqa: PLR0917 - all that is known of a node
    view: NodeView,
    place: NodePlace,
    silent: SilentNode | None,
    story: NodeStory | None,
    account: NodeAccount | None,
    rate: float,
    now_ms: int,
) -> dict[str, Any]:
    died_ms = milliseconds(story.last_death_us) if story else None
    state, since_ms, text = _state(view, silent, died_ms)
    heard = view.heard_seconds
    return {
        "server": place[0],
        "group": place[1],
        "node": place[2],
        "state": state,
        "level": STATES[state],
        "state_text": text,
        "since_ms": since_ms,
        "devices": len(view.devices),
        "devices_alive": sum(each.is_alive for each in view.devices),
        "tags": view.tags,
        "rows_per_second": round(rate, 3),
        "births": story.births if story else 0,
        "deaths": story.deaths if story else 0,
        "last_birth_ms": (milliseconds(story.last_birth_us) if story else None) or view.born_ms,
        "last_death_ms": died_ms,
        "last_heard_ms": None if heard is None else now_ms - int(heard * 1000),
        "seq_errors": account.sums.gaps if account else 0,
        "gaps_open": account.open if account else 0,
        "gaps_healed": account.sums.gaps - account.open if account else 0,
        "missing": account.missing if account and account.whole else 0,
        "clock_offset_seconds": None if view.skew_seconds is None else round(view.skew_seconds, 3),
        "rebirths_asked": story.rebirths_asked if story else 0,
    }


def _state(
    view: NodeView, silent: SilentNode | None, died_ms: int | None
) -> tuple[str, int | None, str]:
    """The state of a node, since when, and in words."""
    if view.is_duplicate:
        return "duplicate", None, "two publishers seem to use its id"
    if view.is_born is None:
        return "never_born", None, "heard, but no birth of it came yet"
    if not view.is_born:
        return "dead", died_ms, f"dead{_since(died_ms)}"
    if silent is not None:
        since_ms = milliseconds(silent.since_us)
        return "silent", since_ms, f"silent{_since(since_ms)}: {SILENT[str(silent.reason)]}"
    if view.in_doubt:
        return "in_doubt", None, "alive, but what its aliases stand for is known with its birth"
    return "alive", None, "alive"


def _since(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    return f" since {datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


_KEYS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "group": lambda row: row["group"],
    "node": lambda row: row["node"],
    "server": lambda row: row["server"],
    "rate": lambda row: row["rows_per_second"],
    "tags": lambda row: row["tags"],
    "gaps": lambda row: (row["gaps_open"], row["seq_errors"]),
    "clock": lambda row: row["clock_offset_seconds"],
    "birth": lambda row: row["last_birth_ms"],
    "heard": lambda row: row["last_heard_ms"],
}


def _sort(
    rows: list[dict[str, Any]], key: Callable[[dict[str, Any]], Any], *, backwards: bool
) -> None:
    """Sort rows; those without a value come last either way."""
    known = [row for row in rows if key(row) is not None]
    unknown = [row for row in rows if key(row) is None]
    known.sort(key=key, reverse=backwards)
    rows[:] = known + unknown
