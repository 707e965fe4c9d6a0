"""What landed in the side tables: events by kind, and tags with their units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consumer.rows import SPARKPLUG_EVENTS, TAG_METADATA
from consumer.setup import current_metadata, latest_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_VIEWS: Final = (
    f"CREATE VIEW sparkplug_events_latest AS {latest_events(SPARKPLUG_EVENTS.name)}",
    f"CREATE VIEW tag_metadata_current AS {current_metadata(TAG_METADATA.name)}",
)
_EVENTS: Final = """\
SELECT event_type, count(*) FROM sparkplug_events_latest GROUP BY ALL ORDER BY ALL"""
_TAGS: Final = "SELECT count(*), count(unit) FROM tag_metadata_current"


@dataclass(frozen=True, slots=True)
class SideTablesLanded:
    """Counts of what the side tables hold, earlier runs included.

    Args:
        events: how many events there are of each kind.
        tags: how many tags have metadata.
        tags_with_unit: how many of these tags have a unit.
    """

    events: dict[str, int] = field(default_factory=dict)
    tags: int = 0
    tags_with_unit: int = 0


def add_side_tables(database: Any, schema_dir: Path, read: Callable[[Path], Any | None]) -> None:
    """Make the side tables and their views known to DuckDB, under their usual names.

    Args:
        database: a connection.
        schema_dir: the directory that holds the tables.
        read: opens a Delta table; None if there is none, which is then empty.
    """
    for table in (SPARKPLUG_EVENTS, TAG_METADATA):
        found = read(schema_dir / table.name)
        database.register(table.name, table.arrow_schema.empty_table() if found is None else found)
    for view in _VIEWS:
        database.execute(view)


def ask_side_tables(database: Any) -> SideTablesLanded:
    """Count what is in them; after `add_side_tables`."""
    [(tags, tags_with_unit)] = database.execute(_TAGS).fetchall()
    return SideTablesLanded(dict(database.execute(_EVENTS).fetchall()), tags, tags_with_unit)
