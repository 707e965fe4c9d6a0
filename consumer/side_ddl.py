"""SQL for the side tables: the views that show the latest word, and the join with units."""

from __future__ import annotations

from consumer.schema import COLUMNS
from consumer.side_schema import SPARKPLUG_EVENTS, TAG_METADATA
from consumer.sql import quoted

WITH_METADATA = ("unit", "low", "high", "documentation")
"""Columns of tag_metadata that the joined view adds to those of tag_events."""


def latest_events(source: str) -> str:
    """The query behind the view of events; `source` is the table, as it is to be written."""
    columns = ",\n".join(f"  {column.name}" for column in SPARKPLUG_EVENTS.columns)
    return (
        f"SELECT\n{columns}\n"
        f"FROM {source}\n"
        "QUALIFY ROW_NUMBER() OVER (\n"
        "  PARTITION BY event_id ORDER BY ingestion_timestamp DESC\n"
        ") = 1"
    )


def current_metadata(source: str) -> str:
    """The query behind the view of metadata; `source` is the table, as it is to be written."""
    columns = ",\n".join(f"  {c.name}" for c in TAG_METADATA.columns if c.name != "valid_to")
    return (
        f"SELECT\n{columns}\n"  # noqa: S608 - text for people, of checked names
        "FROM (\n"
        f"  SELECT * FROM {source}\n"
        "  QUALIFY ROW_NUMBER() OVER (\n"
        "    PARTITION BY tag_path ORDER BY valid_from DESC, ingestion_timestamp DESC\n"
        "  ) = 1\n"
        ") AS latest\n"
        "WHERE valid_to IS NULL"
    )


def joined(rows: str, metadata: str) -> str:
    """The query that gives every row of tag_events its unit.

    `rows` and `metadata` are the view without duplicates and that of current metadata.
    """
    columns = [f"  e.{c.name}" for c in COLUMNS] + [f"  m.{name}" for name in WITH_METADATA]
    return (
        "SELECT\n" + ",\n".join(columns) + "\n"
        f"FROM {rows} AS e\n"
        f"LEFT JOIN {metadata} AS m ON m.tag_path = e.tag_path"
    )


def events_view(table: str) -> str:
    """A view with one row per event: the last word on it."""
    return "-- A gap has a row when it is found, and another when it has ended.\n" + _view(
        f"{table}_latest", latest_events(quoted(table))
    )


def metadata_view(table: str) -> str:
    """A view with one row per tag: what the last birth says of it."""
    return (
        "-- A version that ended is written again with its end; tags that no birth declares any\n"
        "-- more have no row here.\n" + _view(current_name(table), current_metadata(quoted(table)))
    )


def unit_view(table: str, rows: str, metadata: str) -> str:
    """A view of tag_events with the unit of each value.

    Args:
        table: full name of tag_events, which the view is named after.
        rows: full name of its view without duplicates.
        metadata: full name of tag_metadata.
    """
    return "-- Every observation with the unit that its tag has now.\n" + _view(
        f"{table}_with_unit", joined(quoted(rows), quoted(current_name(metadata)))
    )


def current_name(table: str) -> str:
    """Name of the view of current metadata."""
    return f"{table}_current"


def _view(name: str, query: str) -> str:
    return f"CREATE OR REPLACE VIEW {quoted(name)} AS\n{query};\n"
