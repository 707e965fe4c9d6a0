"""Compares acknowledged rows with the records that the platform says it committed, by hour."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FORM: Final = "%Y-%m-%d %H:%M:%S"
_FALLBACK: Final = "_zerobus/table_rejected_parquets in the table's storage"


class HourCount(NamedTuple):
    """Rows of one table in one hour, in UTC.

    `acknowledged` by the ledger, `committed` by the platform; `errors` are commits with errors.
    """

    table: str
    hour: datetime
    acknowledged: int
    committed: int
    errors: int

    @property
    def difference(self) -> int:
        """Committed beyond what was acknowledged; below 0: acknowledged, and not committed."""
        return self.committed - self.acknowledged

    def as_json(self) -> dict[str, Any]:
        """The hour as a program reads it."""
        return {
            "table": self.table,
            "hour": self.hour.isoformat(),
            "acknowledged": self.acknowledged,
            "committed": self.committed,
            "difference": self.difference,
            "errors": self.errors,
        }


def committed_sql(tables: Iterable[str], since: datetime) -> str:
    """The platform's count of committed records by table and hour, as one SELECT.

    Names are in small letters, as the catalog has them, whatever the configuration writes.
    Streams are not joined: their id can be a placeholder, so table and time are what there is.
    Columns: table_name, hour (since 1970, UTC), committed records, commits with errors.

    Args:
        tables: full names.
        since: begin, of which the whole hour is counted.
    """
    start = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    names = ", ".join(
        "'" + each.lower().replace("\\", "\\\\").replace("'", "\\'") + "'" for each in tables
    )
    return (
        "SELECT\n"
        "  LOWER(table_name) AS table_name,\n"
        "  CAST(FLOOR(UNIX_SECONDS(commit_time) / 3600) AS BIGINT) AS hour,\n"
        "  SUM(committed_records) AS committed,\n"
        "  SUM(CASE WHEN SIZE(errors) > 0 THEN 1 ELSE 0 END) AS with_errors\n"
        "FROM system.lakeflow.zerobus_ingest\n"
        f"WHERE commit_time >= TIMESTAMP '{start.strftime(_FORM)}+00:00'\n"
        f"  AND LOWER(table_name) IN ({names})\n"
        "GROUP BY 1, 2\n"
        "ORDER BY 1, 2"
    )


def compare(
    acknowledged: Mapping[tuple[str, datetime], int], committed: Sequence[Sequence[str | None]]
) -> list[HourCount]:
    """Both counts side by side, by table and hour.

    Args:
        acknowledged: rows by table and hour.
        committed: rows of `committed_sql`, values as text.
    """
    there: dict[tuple[str, datetime], tuple[int, int]] = {}
    for table, hour, rows, errors in committed:
        at = datetime.fromtimestamp(3600 * int(hour or 0), UTC)
        there[(table or "").lower(), at] = int(rows or 0), int(errors or 0)
    ours: Counter[tuple[str, datetime]] = Counter()
    for (table, at), count in acknowledged.items():
        ours[table.lower(), at] += count
    return [HourCount(*key, ours[key], *there.get(key, (0, 0))) for key in sorted({*ours, *there})]


def meaning(counts: Sequence[HourCount], one: HourCount, now: datetime) -> str:
    """What the difference of one hour can mean; empty where there is none.

    Args:
        counts: all hours.
        one: that of the difference.
        now: the system table lags behind it by some minutes.
    """
    if not one.difference:
        return ""
    if now - one.hour < timedelta(hours=2):
        return "too early to tell: the platform's count lags, and the hour may go on"
    near = (one.hour - timedelta(hours=1), one.hour + timedelta(hours=1))
    around = sum(
        each.difference for each in counts if each.table == one.table and each.hour in near
    )
    if one.difference + around == 0:
        return "the hour's edge: an hour beside it has as many the other way round"
    if one.difference > 0:
        return (
            "rows that were sent again (an acknowledgement was lost; equal event_ids), or "
            "another writer, or a spool that was replaced"
        )
    return f"acknowledged and not in the table: look into {_FALLBACK}, and at errors of the hour"
