"""A running system whose consumer writes the side tables, and readers of what landed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from consumer.rows.tables import SPARKPLUG_EVENTS, TAG_METADATA
from end_to_end.world import LandedTable, World, world

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EVENTS = "main.plant.sparkplug_events"
METADATA = "main.plant.tag_metadata"
SIDE_TABLES = {EVENTS: SPARKPLUG_EVENTS, METADATA: TAG_METADATA}


@contextlib.contextmanager
def side_world(
    directory: Path, *, create: Sequence[str] = (EVENTS, METADATA), **changes: Any
) -> Iterator[World]:
    """A system with both side tables in the configuration; `create` are those that exist."""
    names = {"events_table": EVENTS, "metadata_table": METADATA}
    changes["zerobus"] = names | changes.get("zerobus", {})
    with world(directory, **changes) as system:
        for name in create:
            system.zerobus.create_table(name, SIDE_TABLES[name].arrow_schema)
        yield system


def landed(directory: Path, name: str) -> LandedTable:
    """What is in a side table, in the order in which its rows were made."""
    schema = SIDE_TABLES[name].arrow_schema
    return LandedTable(directory / "lake", name, schema, "ingestion_timestamp")


def told(rows: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of rows."""
    return [tuple(row[name] for name in names) for row in rows]
