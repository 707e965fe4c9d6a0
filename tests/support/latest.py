"""What a plant says now: rows in a Delta table, and the view of latest values over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.setup import deduplicated_view, latest_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TABLE = "plant.scada.tag_events"


def asked(rows: Any, query: str) -> list[tuple[Any, ...]]:
    """The answer to a query over landed rows and the views that `ddl` prints."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute("ATTACH ':memory:' AS plant; CREATE SCHEMA plant.scada; USE plant.scada")
        database.register("landed", rows)
        database.execute("CREATE TABLE tag_events AS SELECT * FROM landed")
        for view in (deduplicated_view(TABLE), latest_view(TABLE)):
            database.execute(view)
        return database.sql(query).fetchall()


def said_now(rows: Any, also: str = "TRUE") -> dict[str, tuple[str, float | None]]:
    """Quality and number of each tag by its device and name, as the view shows them."""
    found = asked(
        rows,
        "SELECT concat_ws('/', device_id, metric_name), quality, numeric_value "
        f"FROM tag_events_latest WHERE {also}",
    )
    return {name: (quality, number) for name, quality, number in found}


def landed(directory: Path, *batches: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows with times in microseconds, appended batch by batch to a Delta table."""
    path = directory / "tag_events"
    for rows in batches:
        write_deltalake(
            path, pa.Table.from_pylist(list(rows), schema=TAG_EVENTS_SCHEMA), mode="append"
        )
    return DeltaTable(path).to_pyarrow_table()
