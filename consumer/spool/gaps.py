"""Gaps and completeness in the spool's file. Everything runs inside a transaction of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug import HEALABLE_GAPS, Gap, GapReason, Healing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.spool.types import Transaction
    from sparkplug import NodeKey

HOUR_US: Final = 3_600_000_000
KEPT_HOURS: Final = 31 * 24
MOST_GAPS: Final = 100_000
"""Records of each server; of older gaps the hourly sums remain."""

MOST_HOURLY_ROWS: Final = 1_000_000
"""Hourly rows of all nodes, some 30 MB: 31 days of 1,300 nodes, or four days of 10,000."""

MOST_NODES: Final = 100_000
_OF_SPOOL: Final = 48
"""Gaps, nodes, and hourly rows take this part of the spool at most, each of the three."""
_OF_ROOM: Final = 16
"""New names take this part of what room there is: each is in a row, an index and the log, and long
ones have a page for themselves in each of them."""
_EARLY: Final = 8
"""A trim is due at once when this part of the bound, `_OF_SPOOL`, came since the last one."""

_HOURLY_ROW_BYTES: Final = 64
# Names are in the row and in an index.
_GAP_BYTES: Final = 256
_NODE_BYTES: Final = 128
_NAMES: Final = "length(CAST(server || group_id || edge_node_id AS BLOB))"
_FIRST_HOUR: Final = 262_968
"""The year 2000: a clock that tells of an earlier one has not been set."""

_NEVER: Final = 2**62 // HOUR_US
_BITMAP_BYTES: Final = 32
_REASONS: Final = frozenset(map(str, GapReason))


@dataclass(slots=True)
class HourlySums:
    """What an hour adds to the account of one node; columns of the table `completeness`.

    Args:
        received: messages that took part in seq.
        missing: messages missing in the gaps found in this hour.
        late: of these, those that came late.
        flushed: of these, those of gaps that history was flushed for.
        gaps: found in this hour; so many of them of unknown size, and so many without record.
        late_arrival, history_flush, rebirth_snapshot, not_at_all: how these gaps are healed.
        sessions_missed: whole sessions that were not seen.
        history_rows: that came for these gaps.
        longest: messages missing in the largest of these gaps.
    """

    received: int = 0
    missing: int = 0
    late: int = 0
    flushed: int = 0
    gaps: int = 0
    unknown: int = 0
    unlisted: int = 0
    late_arrival: int = 0
    history_flush: int = 0
    rebirth_snapshot: int = 0
    not_at_all: int = 0
    sessions_missed: int = 0
    history_rows: int = 0
    longest: int = 0


COLUMNS: Final = tuple(each.name for each in fields(HourlySums))
TOTALS: Final = ", ".join(f"{'max' if name == 'longest' else 'sum'}({name})" for name in COLUMNS)
"""The columns of several rows, put together."""

_amounts = attrgetter(*COLUMNS)

_OR_ADD: Final = (
    "ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in COLUMNS if name != "longest")
    + ", longest = max(longest, excluded.longest)"
)
_NODE_ID: Final = (
    "SELECT node_id FROM edge_nodes WHERE server = ? AND group_id = ? AND edge_node_id = ?"
)
_ADD_SUMS: Final = (
    f"INSERT INTO completeness (hour, node_id, {', '.join(COLUMNS)}) "  # noqa: S608 - names of our own
    f"VALUES (?, ?, {', '.join('?' * len(COLUMNS))}) {_OR_ADD}"
)


class LastHeard(NamedTuple):
    """When the last message of a node came, and when it was sent; µs since 1970 UTC."""

    came_us: int
    sent_us: int


class GapStore:
    """Gaps and completeness of one MQTT server's nodes. Methods run inside a transaction.

    Args:
        server: the name of the MQTT server.
        spool_bytes: bound of the whole spool.
    """

    def __init__(self, server: str, spool_bytes: int) -> None:
        self._server = server
        self._most_bytes = spool_bytes // _OF_SPOOL
        self._grown = 0  # bytes that came since the last trim, at most

    @property
    def has_grown(self) -> bool:
        """Whether so much was added that `trim` is due."""
        return self._grown > self._most_bytes // _EARLY

    def away_key(self) -> str:
        """Key of the spool's state: when the host began to listen, or lost the server, in µs."""
        return f"away_since/{self._server}"

    def write_away(self, db: Transaction, at_us: int) -> None:
        """Note when the host lost a server, in µs."""
        db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (self.away_key(), at_us))

    def write_gaps(
        self, db: Transaction, gaps: Iterable[Gap], newest: int, room: int | None = None
    ) -> None:
        """Write records, in place of what was known of the same gaps; the oldest go.

        `newest` is the highest number given so far. What is too much for one commit, or for the
        `room` of file and log together, is left out.
        """
        gaps = self._latest(gaps, room)
        db.executemany(
            "INSERT OR REPLACE INTO gaps "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((self._server, *_record(gap)) for gap in gaps),
        )
        db.execute(
            "DELETE FROM gaps WHERE server = ? AND number <= ?", (self._server, newest - MOST_GAPS)
        )

    def _latest(self, gaps: Iterable[Gap], room: int | None) -> list[Gap]:
        """The newest gaps that fit the bound at once: what a commit writes is in the log, too."""
        latest: list[Gap] = []
        left = most = self._most_at_once(room)
        for gap in sorted(gaps, key=lambda each: each.number, reverse=True):
            size = _GAP_BYTES + _name_bytes(gap.key)
            if size > left:
                break
            left -= size
            latest.append(gap)
        self._grown += most - left
        return latest[::-1]

    def _most_at_once(self, room: int | None) -> int:
        """Bytes of names that one commit adds at most, to each of two tables."""
        if room is None:
            return self._most_bytes
        return min(self._most_bytes, room // _OF_ROOM)

    def write_heard(self, db: Transaction, heard: Mapping[NodeKey, LastHeard]) -> None:
        """Note when the last message of nodes came and was sent."""
        db.executemany(
            "INSERT INTO edge_nodes (server, group_id, edge_node_id, last_us, sent_us) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (server, group_id, edge_node_id) "
            "DO UPDATE SET last_us = excluded.last_us, sent_us = excluded.sent_us",
            ((self._server, *key, *times) for key, times in heard.items()),
        )

    def write_sums(
        self,
        db: Transaction,
        sums: Mapping[tuple[NodeKey, int], HourlySums],
        known: Mapping[NodeKey, int],
        room: int | None = None,
    ) -> dict[NodeKey, int]:
        """Add to the accounts of nodes, by node and hour.

        Args:
            db: in a transaction.
            sums: to be added.
            known: ids of nodes, from earlier calls that were committed.
            room: bytes that the file and its log may still grow by, together.

        Returns:
            The ids of the other nodes. Of nodes that are new to the file and do not fit within
            its part, all in one commit, there is none, and no account.
        """
        new: dict[NodeKey, int] = {}
        without: set[NodeKey] = set()
        left = most = self._most_at_once(room)
        for key, hour in sums:
            if key in known or key in new or key in without:
                continue
            node = (self._server, *key)
            found = db.execute(_NODE_ID, node).fetchone()
            if found is None:
                size = _NODE_BYTES + 2 * _name_bytes(key)
                if size > left:
                    without.add(key)
                    continue
                left -= size
                inserted = db.execute(
                    "INSERT INTO edge_nodes (server, group_id, edge_node_id, last_us, sent_us) "
                    "VALUES (?, ?, ?, ?, 0)",
                    (*node, hour * HOUR_US),
                )
                found = (inserted.lastrowid,)
            new[key] = found[0]
        self._grown += most - left
        self._grown += _HOURLY_ROW_BYTES * len(sums)
        ids = {**known, **new} if new else known
        db.executemany(
            _ADD_SUMS,
            (
                (hour, ids[key], *_amounts(each))
                for (key, hour), each in sums.items()
                if key not in without
            ),
        )
        return new

    def trim(self, db: Transaction, hour: int, *, settled: bool = True) -> None:
        """Forget the oldest of what is too much, and what is older than is kept. Of all servers.

        Args:
            db: in a transaction.
            hour: the present one.
            settled: whether that is known beyond doubt. Otherwise nothing counts as old. What
                is dated later than now was written while a clock was ahead, and what is dated
                before the year 2000 while there was none: it gets the date of the present hour.
        """
        if hour >= _FIRST_HOUR:
            _move(db, (0, _FIRST_HOUR), hour)
        if settled:
            _move(db, (hour + 2, _NEVER), hour)
            _forget_old(db, hour - KEPT_HOURS)
        most_rows = min(MOST_HOURLY_ROWS, self._most_bytes // _HOURLY_ROW_BYTES)
        rows = 0
        for each, count in db.execute(
            "SELECT hour, count(*) FROM completeness GROUP BY hour ORDER BY hour DESC"
        ).fetchall():
            rows += count
            if rows > most_rows and rows > count:  # the last hour stays
                db.execute("DELETE FROM completeness WHERE hour <= ?", (each,))
                break
        [(nodes,)] = db.execute("SELECT count(*) FROM edge_nodes")
        if nodes > MOST_NODES:
            db.execute(
                "DELETE FROM edge_nodes WHERE node_id IN "
                "(SELECT node_id FROM edge_nodes ORDER BY last_us LIMIT ?)",
                (nodes - MOST_NODES,),
            )
        size = f"{_NODE_BYTES} + 2 * {_NAMES}"
        _forget_beyond(db, "edge_nodes", size, "last_us, node_id", self._most_bytes)
        size = f"{_GAP_BYTES} + {_NAMES}"
        _forget_beyond(db, "gaps", size, "found_us, server, number", self._most_bytes)
        self._grown = 0

    def newest_number(self, db: Transaction) -> int:
        """The highest number given to a gap, 0 if there is none."""
        [(number,)] = db.execute(
            "SELECT coalesce(max(number), 0) FROM gaps WHERE server = ?", (self._server,)
        )
        return int(number)

    def read_healable(self, db: Transaction) -> list[Gap]:
        """Gaps that a late message, a birth or history may still heal, oldest first."""
        rows = db.execute(
            "SELECT number, group_id, edge_node_id, reason, found_us, first_seq, missing, late, "
            "missing_seqs, from_us, to_us, sessions_missed, closed, healed_us, history_rows FROM "
            "(SELECT *, row_number() OVER "
            "(PARTITION BY group_id, edge_node_id ORDER BY number DESC) AS age "
            "FROM gaps WHERE server = ? AND closed IN (?, ?)) "
            "WHERE age <= ? OR closed = ? ORDER BY number",
            (self._server, Healing.OPEN, Healing.REBIRTH_SNAPSHOT, HEALABLE_GAPS, Healing.OPEN),
        )
        return [
            Gap(
                group_id,
                edge_node_id,
                GapReason(reason),
                found_us,
                first,
                count,
                missing=_seqs(seqs, (count or 0) - late),
                from_us=from_us,
                to_us=to_us,
                sessions=sessions,
                ended_by=Healing(closed),
                healed_us=healed_us,
                late=late,
                history_rows=history_rows,
                number=number,
            )
            for (
                number,
                group_id,
                edge_node_id,
                reason,
                found_us,
                first,
                count,
                late,
                seqs,
                from_us,
                to_us,
                sessions,
                closed,
                healed_us,
                history_rows,
            ) in rows
            if reason in _REASONS  # else the file is damaged there
        ]

    def read_sent(self, db: Transaction) -> dict[NodeKey, int]:
        """When the last message of each node was sent, in microseconds since 1970 UTC."""
        rows = db.execute(
            "SELECT group_id, edge_node_id, sent_us FROM edge_nodes WHERE server = ?",
            (self._server,),
        )
        return {(group_id, edge_node_id): sent_us for group_id, edge_node_id, sent_us in rows}


def _name_bytes(key: NodeKey) -> int:
    return sum(len(each.encode("utf-8", "surrogatepass")) for each in key)


def _forget_beyond(db: Transaction, table: str, size: str, age: str, most_bytes: int) -> None:
    """Delete the oldest rows of a table until the others take so many bytes."""
    [(total,)] = db.execute(f"SELECT coalesce(sum({size}), 0) FROM {table}")  # noqa: S608 - ours
    if total <= most_bytes:
        return
    youngest_first = ", ".join(f"{column} DESC" for column in age.split(", "))
    db.execute(
        f"DELETE FROM {table} WHERE ({age}) IN (SELECT {age} FROM (SELECT {age}, "  # noqa: S608 - ours
        f"sum({size}) OVER (ORDER BY {youngest_first}) AS size FROM {table}) WHERE size > ?)",
        (most_bytes,),
    )


def _move(db: Transaction, hours: tuple[int, int], hour: int) -> None:
    """Give what is dated in these hours, from one until before another, the date of one hour."""
    db.execute(
        f"INSERT INTO completeness (hour, node_id, {', '.join(COLUMNS)}) "  # noqa: S608 - names of our own
        f"SELECT ?, node_id, {TOTALS} FROM completeness WHERE hour >= ? AND hour < ? "
        f"GROUP BY node_id {_OR_ADD}",
        (hour, *hours),
    )
    db.execute("DELETE FROM completeness WHERE hour >= ? AND hour < ?", hours)
    first_us, end_us = (each * HOUR_US for each in hours)
    for table, column in (("gaps", "found_us"), ("gaps", "healed_us"), ("edge_nodes", "last_us")):
        db.execute(
            f"UPDATE {table} SET {column} = ? WHERE {column} >= ? AND {column} < ?",  # noqa: S608 - see above
            (hour * HOUR_US, max(first_us, 1), end_us),
        )


def _forget_old(db: Transaction, hour: int) -> None:
    """Forget what is older than an hour."""
    db.execute("DELETE FROM completeness WHERE hour < ?", (hour,))
    db.execute(
        "DELETE FROM edge_nodes WHERE last_us < ? AND NOT EXISTS "
        "(SELECT 1 FROM births WHERE births.server = edge_nodes.server "
        "AND births.group_id = edge_nodes.group_id "
        "AND births.edge_node_id = edge_nodes.edge_node_id AND device_id = '')",
        (hour * HOUR_US,),
    )


def _record(gap: Gap) -> tuple[object, ...]:
    seqs = None
    if gap.missing and gap.ended_by is Healing.OPEN:
        seqs = sum(1 << seq for seq in gap.missing).to_bytes(_BITMAP_BYTES, "little")
    return (
        gap.number,
        *gap.key,
        str(gap.reason),
        gap.found_us,
        gap.first,
        gap.count,
        gap.late,
        seqs,
        gap.from_us,
        gap.to_us,
        gap.sessions,
        str(gap.healing),
        str(gap.ended_by),
        gap.healed_us,
        gap.history_rows,
    )


def _seqs(bitmap: bytes | None, most: int) -> set[int]:
    """The numbers that a bitmap has; none if there are more than can be: it is damaged then."""
    bits = int.from_bytes(bitmap or b"", "little")
    seqs = {seq for seq in range(8 * _BITMAP_BYTES) if bits >> seq & 1}
    return seqs if len(seqs) <= most else set()
