"""What landed in the Delta table, asked with DuckDB, beside what was published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from consumer.demo.processes import DemoError
from consumer.demo.side_tables import SideTablesLanded, add_side_tables, ask_side_tables
from consumer.rows import TAG_EVENTS
from consumer.setup import latest_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


QUERY: Final = """\
SELECT e.tag_path, e.numeric_value, m.unit, e.quality, e.event_time, e.source_system_id
FROM tag_events_latest e LEFT JOIN tag_metadata_current m ON m.tag_path = e.tag_path
WHERE e.tag_path LIKE '%Ramp%'
ORDER BY e.arrival_number DESC
LIMIT 10"""

_LATEST: Final = f"CREATE VIEW tag_events_latest AS {latest_rows(TAG_EVENTS.name)}"

_MINE: Final = """\
CREATE TABLE mine AS
SELECT event_id, source_system_id FROM tag_events
WHERE event_id IN (SELECT event_id FROM published)"""
"""The rows of this run."""

_MISSING: Final = """\
SELECT event_id FROM published WHERE event_id NOT IN (SELECT event_id FROM mine)"""

_MISSING_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Landed:
    """Counts of what one run of the demo landed in its tables, and its newest rows.

    Args:
        rows: rows whose event_id this run published.
        distinct: how many different observations these rows are of.
        missing: how many published observations are not in the table.
        examples: event ids of a few that are missing.
        per_gateway: rows per source_system_id; gateways without rows included.
        total: all rows of the table, those of earlier runs included.
        columns: names of the query's columns.
        newest: the query's rows.
        side: what the side tables hold.
    """

    rows: int
    distinct: int
    missing: int
    examples: tuple[str, ...]
    per_gateway: dict[str, int]
    total: int
    columns: tuple[str, ...]
    newest: tuple[tuple[Any, ...], ...]
    side: SideTablesLanded


def count_rows(table_dir: Path) -> int:
    """Rows of the Delta table; 0 if there is no table yet.

    Raises:
        DemoError: it cannot be read.
    """
    if not DeltaTable.is_deltatable(str(table_dir)):
        return 0
    rows = _open(table_dir).count_rows()
    assert isinstance(rows, int)
    return rows


def verify(
    table_dir: Path,
    published: Collection[str],
    gateways: Sequence[str],
) -> Landed:
    """Compare the table with the event ids of what was published, and ask it `QUERY`.

    Args:
        table_dir: directory of the Delta table; the side tables are beside it.
        published: event ids of what was said, each once, computed by the publisher.
        gateways: source_system_ids that are expected.

    Raises:
        DemoError: there is no table, or it cannot be read.
    """
    with duckdb.connect() as database:
        # Not delta_scan: DuckDB would have to download its extension first.
        database.register("tag_events", _open(table_dir))
        ids = pa.array(list(published), pa.string())
        database.register("published", pa.table({"event_id": ids}))
        database.execute("SET TimeZone = 'UTC'")
        database.execute(_LATEST)
        add_side_tables(database, table_dir.parent, _open_if_there)
        database.execute(_MINE)
        [(rows, distinct)] = database.execute(
            "SELECT count(*), count(DISTINCT event_id) FROM mine"
        ).fetchall()
        missing = database.execute(_MISSING).fetchall()
        counts = database.execute(
            "SELECT source_system_id, count(*) FROM mine GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        [(total,)] = database.execute("SELECT count(*) FROM tag_events").fetchall()
        # As Arrow: DuckDB wants another package to make Python's times itself.
        newest = database.sql(QUERY).to_arrow_table()
        side = ask_side_tables(database)
    return Landed(
        rows=rows,
        distinct=distinct,
        missing=len(missing),
        examples=tuple(sorted(row[0] for row in missing)[:_MISSING_SHOWN]),
        per_gateway=dict.fromkeys(gateways, 0) | dict(counts),
        total=total,
        columns=tuple(newest.column_names),
        newest=tuple(tuple(row.values()) for row in newest.to_pylist()),
        side=side,
    )


def _open_if_there(table_dir: Path) -> Any | None:
    return _open(table_dir) if DeltaTable.is_deltatable(str(table_dir)) else None


def _open(table_dir: Path) -> Any:
    """The table as an Arrow dataset."""
    # Arrow's own file system, not deltalake's, which is written in Python: reading ahead
    # with it when the program ends aborts the process, some runs in a hundred.
    files = fs.SubTreeFileSystem(str(table_dir), fs.LocalFileSystem())
    try:
        return DeltaTable(table_dir).to_pyarrow_dataset(filesystem=files)
    except (DeltaError, OSError) as error:
        raise DemoError(f"the Delta table {table_dir} cannot be read: {error}") from error
