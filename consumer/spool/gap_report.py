"""How complete the messages of each edge node are: read from the spool's file.

The file may be in use by a running consumer; nothing is written to it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.spool import file as spool_file
from consumer.spool.gaps import COLUMNS, HOUR_US, TOTALS, HourlySums
from sparkplug import Healing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MOST_LISTED: Final = 10_000
"""Records of single gaps in a report, the newest."""

_NEVER: Final = 2**62 // HOUR_US
_HEALINGS: Final = tuple(each.value for each in Healing if each is not Healing.OPEN)


class GapsOf(NamedTuple):
    """Of what a report is to be: everything that is not empty must be so.

    Args:
        server, group_id, edge_node_id: of the edge nodes.
        healing: of single gaps; accounts are of all of them.
    """

    server: str = ""
    group_id: str = ""
    edge_node_id: str = ""
    healing: str = ""

    def of_nodes(self) -> tuple[str, tuple[str, ...]]:
        """A condition on the columns of edge nodes, begun with AND, and its values."""
        return _condition(
            (
                ("server", self.server),
                ("group_id", self.group_id),
                ("edge_node_id", self.edge_node_id),
            )
        )

    def of_records(self) -> tuple[str, tuple[str, ...]]:
        """A condition on the columns of single gaps, begun with AND, and its values."""
        text, values = self.of_nodes()
        more, healing = _condition((("healing", self.healing),))
        return text + more, values + healing


def _condition(columns: Sequence[tuple[str, str]]) -> tuple[str, tuple[str, ...]]:
    given = [(name, value) for name, value in columns if value]
    return "".join(f" AND {name} = ?" for name, _ in given), tuple(value for _, value in given)


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """The account of one node, or of all nodes together, over the period of a report.

    Args:
        sums: the hourly sums of the period, added up.
        last_us: when the last message came, microseconds since 1970 UTC; None if that is not
            known.
        unheard_since_us: since when nothing is known of a node that was alive when the
            connection was lost or the consumer started; None if something is.
        whole: whether all that the node publishes is subscribed to; else nobody knows what
            is missing.
    """

    sums: HourlySums
    last_us: int | None = None
    unheard_since_us: int | None = None
    whole: bool = True

    @property
    def missing(self) -> int:
        """Messages that never came, by seq."""
        return self.sums.missing - self.sums.late

    @property
    def expected(self) -> int:
        """Messages that were sent, by seq."""
        return self.sums.received + self.missing

    @property
    def percent(self) -> float | None:
        """How many of 100 messages came; None if there were none, or nobody knows."""
        return 100.0 * self.sums.received / self.expected if self.expected and self.whole else None

    @property
    def open(self) -> int:
        """Gaps that nothing was done for yet."""
        healed: int = sum(getattr(self.sums, each) for each in _HEALINGS)
        return self.sums.gaps - healed

    def as_dictionary(self) -> dict[str, Any]:
        """The account for JSON: expected, received and missing messages, gaps by healing."""
        sums = self.sums
        return {
            "expected": self.expected if self.whole else None,
            "received": sums.received,
            "missing": self.missing if self.whole else None,
            "percent": None if self.percent is None else round(self.percent, 4),
            "came_late": sums.late,
            "missing_with_history": sums.flushed,
            "history_rows": sums.history_rows,
            "sessions_missed": sums.sessions_missed,
            "longest_gap": sums.longest,
            "gaps": {
                "found": sums.gaps,
                "open": self.open,
                **{each: getattr(sums, each) for each in _HEALINGS},
                "of_unknown_size": sums.unknown,
                "without_record": sums.unlisted,
            },
            "last_message": _iso(self.last_us),
            "unheard_since": _iso(self.unheard_since_us),
        }


@dataclass(frozen=True, slots=True)
class GapRow:
    """One record of a gap (docs/gaps.md). Times are microseconds since 1970 UTC."""

    server: str
    group_id: str
    edge_node_id: str
    reason: str
    found_us: int
    first_seq: int | None
    missing: int | None
    late: int
    from_us: int | None
    to_us: int | None
    sessions_missed: int
    healing: str
    healed_us: int | None
    history_rows: int

    def as_dictionary(self) -> dict[str, Any]:
        """The record for JSON: times as ISO 8601 text; numbers missing are modulo 256."""
        found = asdict(self)
        for name in ("found", "from", "to", "healed"):
            found[name] = _iso(found.pop(f"{name}_us"))
        found["missing_is_modulo_256"] = self.missing is not None
        return found


@dataclass(frozen=True, slots=True)
class GapReport:
    """What came and what did not from `since_us` on, until before `until_us`.

    Whole hours: accounts are kept by the hour. `kept_from_us` is the first hour that any
    account is kept of, None if there is none at all; `listed` are those records of single gaps
    that were asked for, newest first, of `records` in all.
    """

    since_us: int
    until_us: int
    kept_from_us: int | None
    nodes: dict[tuple[str, str, str], NodeAccount]
    listed: list[GapRow] = field(default_factory=list)
    records: int = 0

    @property
    def total(self) -> NodeAccount:
        """The account of all nodes together; if any is seen whole, of those that are."""
        sums = HourlySums()
        known = [account for account in self.nodes.values() if account.whole]
        for account in known or self.nodes.values():
            for name in COLUMNS:
                step = getattr(account.sums, name)
                value = max(sums.longest, step) if name == "longest" else getattr(sums, name) + step
                setattr(sums, name, value)
        return NodeAccount(sums, whole=bool(known) or not self.nodes)

    @property
    def seen_in_part(self) -> int:
        """The number of nodes of which not all that they publish is subscribed to."""
        return sum(not account.whole for account in self.nodes.values())

    def as_dictionary(self) -> dict[str, Any]:
        """The whole report for JSON: period, totals, nodes and the newest records."""
        total = self.total.as_dictionary()
        del total["last_message"], total["unheard_since"]
        unheard = sum(each.unheard_since_us is not None for each in self.nodes.values())
        return {
            "since": _iso(self.since_us),
            "until": _iso(self.until_us),
            "kept_from": _iso(self.kept_from_us),
            "missing_is_modulo_256": True,
            "nodes": [
                {
                    "server": server,
                    "group_id": group_id,
                    "edge_node_id": edge_node_id,
                    **account.as_dictionary(),
                }
                for (server, group_id, edge_node_id), account in self.nodes.items()
            ],
            "total": {
                **total,
                "nodes": len(self.nodes),
                "nodes_unheard": unheard,
                "nodes_seen_in_part": self.seen_in_part,
            },
            "gaps": [row.as_dictionary() for row in self.listed],
            "gaps_left_out": self.records - len(self.listed),
        }


def read_gap_report(
    path: Path,
    since_us: int,
    until_us: int,
    of: GapsOf = GapsOf(),  # noqa: B008 - it cannot be changed
    *,
    until_now: bool = False,
    is_whole: Callable[[str, str, str], bool] = lambda *_: True,
    most_listed: int = MOST_LISTED,
    left_out: int = 0,
) -> GapReport:
    """The report of a period, of all edge nodes or of some.

    Times are microseconds since 1970 UTC; hours that the period touches count as a whole.
    `until_now` says that nothing can be later than the period: what is dated later all the
    same was written while a clock was ahead, and belongs to it. `is_whole` tells by server,
    group id and edge node id whether all that a node publishes is subscribed to. Of single gaps the
    newest `most_listed` are listed, after the `left_out` newest ones.

    Raises:
        SpoolError: there is no such file, it is no spool of this layout, or cannot be read.
    """
    try:
        with contextlib.closing(spool_file.open_existing(path, read_only=True)) as db:
            db.execute("BEGIN")  # all that is read is of one moment
            report = _read(
                db,
                (since_us // HOUR_US, -(-until_us // HOUR_US)),
                of,
                until_now=until_now,
                page=(most_listed, left_out),
            )
            nodes = {
                key: replace(account, whole=is_whole(*key)) for key, account in report.nodes.items()
            }
            return replace(report, nodes=nodes)
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error


def oldest_open_gap(path: Path) -> int | None:
    """When the oldest gap was found that is not healed, microseconds since 1970 UTC.

    Raises:
        SpoolError: as with `read_gap_report`.
    """
    try:
        with contextlib.closing(spool_file.open_existing(path, read_only=True)) as db:
            found = db.execute(
                "SELECT found_us FROM gaps WHERE healing = ? ORDER BY found_us LIMIT 1",
                (Healing.OPEN,),
            ).fetchone()
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error
    return found[0] if found else None


def _read(
    db: sqlite3.Connection,
    hours: tuple[int, int],
    of: GapsOf,
    *,
    until_now: bool,
    page: tuple[int, int],
) -> GapReport:
    since, until = hours
    end = _NEVER if until_now else until
    only, of_node = of.of_nodes()
    only_records, of_records = of.of_records()
    sums = {
        tuple(names): HourlySums(*values)
        for *names, values in (
            (*row[:3], row[3:])
            for row in db.execute(
                f"SELECT server, group_id, edge_node_id, {TOTALS} "  # noqa: S608 - names of our own
                "FROM completeness JOIN edge_nodes USING (node_id) "
                f"WHERE hour >= ? AND hour < ?{only} GROUP BY node_id",
                (since, end, *of_node),
            )
        )
    }
    heard = {
        tuple(names): last_us
        for *names, last_us in db.execute(
            f"SELECT server, group_id, edge_node_id, last_us FROM edge_nodes WHERE 1{only}",  # noqa: S608 - see above
            of_node,
        )
    }
    unheard = {
        tuple(names): away_us
        for *names, away_us in db.execute(
            "SELECT server, group_id, edge_node_id, state.value FROM births "  # noqa: S608 - see above
            "JOIN state ON state.key = 'away_since/' || server "
            f"WHERE device_id = '' AND alive{only}",
            of_node,
        )
        if heard.get(tuple(names), 0) < away_us
    }
    nodes = {
        key: NodeAccount(sums.get(key, HourlySums()), heard.get(key) or None, unheard.get(key))
        for key in sorted({*sums, *unheard})
    }
    period = (since * HOUR_US, end * HOUR_US, *of_records)
    [(records,)] = db.execute(
        f"SELECT count(*) FROM gaps WHERE found_us >= ? AND found_us < ?{only_records}",  # noqa: S608 - see above
        period,
    )
    columns = ", ".join(GapRow.__dataclass_fields__)
    listed = [
        GapRow(*row)
        for row in db.execute(
            f"SELECT {columns} FROM gaps WHERE found_us >= ? AND found_us < ?{only_records} "  # noqa: S608 - see above
            "ORDER BY found_us DESC, number DESC LIMIT ? OFFSET ?",
            (*period, *page),
        )
    ]
    [(first,)] = db.execute("SELECT min(hour) FROM completeness")
    kept_from = None if first is None else first * HOUR_US
    return GapReport(since * HOUR_US, until * HOUR_US, kept_from, nodes, listed, records)


def _iso(at_us: int | None) -> str | None:
    """A time as ISO 8601, UTC; None if there is none, or it is beyond the year 9999."""
    if at_us is None:
        return None
    try:
        at = datetime.fromtimestamp(at_us / 1e6, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
