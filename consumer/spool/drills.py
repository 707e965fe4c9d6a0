"""Drills in the spool's file: the one that is on, and the last result of each edge node.

They are single values of the spool's state, one for each server: another release that does not know
them leaves them alone.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.spool import file as spool_file
from sparkplug import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from consumer.spool.state import SpoolState
    from sparkplug import NodeKey

GOOD_DAYS: Final = 90
"""So long a good result says that an edge node keeps its data: set-ups change."""

_DAY_MS: Final = 86_400_000
_RUNNING_KEY: Final = "drill"
_RESULTS: Final = "drill_results/"
_MOST_NODES: Final = 10_000
_OF_SPOOL: Final = 256
"""The results of one server take this part of the spool at most, or `_LEAST_BYTES`."""
_LEAST_BYTES: Final = 64 << 10
_MOST_TEXT: Final = 300
_AFTER_LEAVING: Final = 3 / 4


class DrillResult(NamedTuple):
    """What the last drill showed of one edge node. Times are milliseconds since 1970 UTC.

    Args:
        server: name of the MQTT server.
        group_id, edge_node_id: of the node.
        at_ms: when that drill was asked for, by the clock of the consumer.
        verdict: one of `Verdict`.
        text: why, for people.
        rows: values of history from within the time in which the host was offline.
        first_ms, last_ms: the earliest and the latest of them, by the clock of the node.
        window_seconds: how long the host was offline to the node; None: not known.
        kept_ms: when a drill last showed that the node keeps its data; None: none did, or a later
            one said otherwise.
    """

    server: str
    group_id: str
    edge_node_id: str
    at_ms: int
    verdict: str
    text: str = ""
    rows: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    window_seconds: float | None = None
    kept_ms: int | None = None

    def is_good(self, now_ms: int) -> bool:
        """Whether the node kept its data, not too long ago, and nothing speaks against it."""
        if self.kept_ms is None or self.verdict in (Verdict.LOST, Verdict.PARTLY):
            return False
        return abs(now_ms - self.kept_ms) <= GOOD_DAYS * _DAY_MS


class UnprovenNodes(NamedTuple):
    """Edge nodes without a good result.

    Args:
        known: how many edge nodes there are in all.
        nodes: (server, group id, edge node id) of those that may lose data, in order.
    """

    known: int
    nodes: list[tuple[str, str, str]]


class DrillStore:
    """Keeps drills in the state of a spool. Thread-safe.

    Args:
        state: of the spool.
        spool_bytes: bound of the whole spool.
    """

    def __init__(self, state: SpoolState, spool_bytes: int) -> None:
        self._state = state
        self._most_bytes = max(_LEAST_BYTES, spool_bytes // _OF_SPOOL)

    def running(self) -> dict[str, Any] | None:
        """The drill that was on when it was written last; None if none was.

        Raises:
            SpoolError: the file cannot be read.
        """
        found = _unpacked(self._state.get(_RUNNING_KEY))
        return found if isinstance(found, dict) and found else None

    def write_running(self, drill: Mapping[str, Any] | None) -> None:
        """Commit which drill is on; None: none is.

        Raises:
            SpoolError: the file cannot be written.
        """
        self._state.set(_RUNNING_KEY, _packed(drill or {}))

    def results(self, server: str) -> dict[NodeKey, DrillResult]:
        """The last result of each edge node of a server.

        Raises:
            SpoolError: the file cannot be read.
        """
        return _results(server, self._state.get(_RESULTS + server))

    def write_results(self, server: str, results: Iterable[DrillResult]) -> None:
        """Commit results in place of all that a server had; the oldest are left out if too many.

        Raises:
            SpoolError: the file cannot be written.
        """
        newest = sorted(results, key=lambda each: each.at_ms, reverse=True)[:_MOST_NODES]
        while True:
            content = _packed([_cut(each)[1:] for each in newest])
            if len(content) <= self._most_bytes or not newest:
                break
            newest = newest[: int(len(newest) * _AFTER_LEAVING)]
        self._state.set(_RESULTS + server, content)


def unproven_nodes_of_file(path: Path, servers: Sequence[str], now_ms: int) -> UnprovenNodes:
    """The edge nodes of these servers that a spool's file knows, and who of them may lose data.

    Args:
        path: of the file, which a consumer may be using.
        servers: names of MQTT servers.
        now_ms: milliseconds since 1970 UTC.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or it cannot be read.
    """
    try:
        with contextlib.closing(spool_file.open_existing(path, read_only=True)) as db:
            db.execute("BEGIN")
            return unproven_nodes(db, servers, now_ms)
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error


def unproven_nodes(db: sqlite3.Connection, servers: Collection[str], now_ms: int) -> UnprovenNodes:
    """As `unproven_nodes_of_file`, over a connection to the file."""
    known, nodes = 0, []
    for server in servers:
        kept = db.execute("SELECT value FROM state WHERE key = ?", (_RESULTS + server,)).fetchone()
        results = _results(server, kept[0] if kept else None)
        for group_id, edge_node_id in db.execute(
            "SELECT group_id, edge_node_id FROM edge_nodes WHERE server = ? "
            "ORDER BY group_id, edge_node_id",
            (server,),
        ):
            known += 1
            result = results.get((group_id, edge_node_id))
            if result is None or not result.is_good(now_ms):
                nodes.append((server, group_id, edge_node_id))
    return UnprovenNodes(known, nodes)


def _results(server: str, content: object) -> dict[NodeKey, DrillResult]:
    found = _unpacked(content)
    try:
        results = [DrillResult(server, *each) for each in found] if isinstance(found, list) else []
    except TypeError:  # of a later release: nothing is known, which costs a drill and no start
        return {}
    return {(each.group_id, each.edge_node_id): each for each in results}


def _cut(result: DrillResult) -> DrillResult:
    return result._replace(text=result.text[:_MOST_TEXT])


def _packed(content: Any) -> bytes:
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode())


def _unpacked(content: object) -> Any:
    """What was packed; None for what nobody packed."""
    if not isinstance(content, bytes):
        return None
    try:
        return json.loads(zlib.decompress(content))
    except (zlib.error, ValueError):
        return None
