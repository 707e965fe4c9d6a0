"""SQL for the landing tables: CREATE TABLE, grants, and views of the latest and the distinct.

Everything about columns comes from the tables' definitions. What the table must be
(managed Delta, no liquid clustering, no generated columns, no CHECK constraints, not
in default storage) and which grants a writer needs are those of the Databricks
documentation of Zerobus Ingest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from consumer.errors import ConfigurationError
from consumer.rows import DEFAULT_LAYOUT, SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA

if TYPE_CHECKING:
    from consumer.rows import Table, TagLayout

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_KEPT_FIRST: Final = ("is_historical", "arrival_number")
"""Columns by which copies of one observation are ordered; the first copy is kept."""

_ELSE_BY: Final = ("ingestion_timestamp", "event_time")
"""Columns for that where a table has no arrival_number."""

_LATEST_NEEDS: Final = ("tag_path", "event_time", "is_historical", "arrival_number")
_STREAMING_NEEDS: Final = ("is_historical", "arrival_number", "ingestion_timestamp")

WITH_METADATA: Final = ("unit", "low", "high", "documentation")
"""Columns of tag_metadata that the joined view adds to those of tag_events."""


def create_table(table: str, definition: Table = TAG_EVENTS) -> str:
    """CREATE TABLE for `catalog.schema.table`; tag_events unless another one is meant."""
    width = max(len(column.name) for column in definition.columns)
    lines = [
        f"  {column.name:<{width}} {column.delta_type}{'' if column.nullable else ' NOT NULL'}"
        f" COMMENT {text_literal(column.comment)}"
        for column in definition.columns
    ]
    return (
        "-- A managed Delta table. Zerobus Ingest writes neither to liquid clustering, nor to\n"
        "-- generated columns or CHECK constraints, nor to catalogs in default storage.\n"
        f"CREATE TABLE IF NOT EXISTS {quoted(table)} (\n" + ",\n".join(lines) + "\n)\n"
        "USING DELTA\n"
        f"COMMENT {text_literal(definition.comment)};\n"
    )


def grants(table: str, principal: str) -> str:
    """GRANT statements that let the service principal write to the table.

    Args:
        table: catalog.schema.table.
        principal: Application id of the service principal, a UUID.

    Raises:
        ConfigurationError: a principal that holds a backtick or a line end.
    """
    if re.search(r"[`\n\r]", principal) or not principal:
        raise ConfigurationError(
            "the principal must be the application id of a service principal, a UUID"
        )
    catalog, schema, _ = table.split(".")
    note = ""
    if not _UUID.fullmatch(principal):
        note = (
            "-- Not a UUID: grants go to the application id of the service principal, not to its\n"
            "-- display name.\n"
        )
    return note + "".join(
        f"GRANT {privilege} ON {kind} {quoted(name)} TO `{principal}`;\n"
        for privilege, kind, name in (
            ("USE CATALOG", "CATALOG", catalog),
            ("USE SCHEMA", "SCHEMA", f"{catalog}.{schema}"),
            ("MODIFY, SELECT", "TABLE", table),
        )
    )


def deduplicated_view(table: str, layout: TagLayout = DEFAULT_LAYOUT) -> str:
    """A view with one row per event_id: a present one if there is any, else the first.

    Where the table lacks what orders copies, the one that arrived first is kept, or any one.
    """
    columns = ",\n".join(f"  {column.name}" for column in layout.table.columns)
    order = [layout.names[each] for each in _KEPT_FIRST if each in layout.names]
    if "arrival_number" not in layout.names:
        order += [layout.names[each] for each in _ELSE_BY if each in layout.names]
    event_id = layout.names["event_id"]
    note = "A copy that is not\n-- historical is kept before one that is."
    if "is_historical" not in layout.names:
        note = "Which\n-- copies are historical is not in this table."
    return (
        "-- Delivery is at least once; equal event_ids are one observation. "
        f"{note}\n"
        f"CREATE OR REPLACE VIEW {quoted(deduplicated_name(table))} AS\n"
        f"SELECT\n{columns}\n"
        f"FROM {quoted(table)}\n"
        "QUALIFY ROW_NUMBER() OVER (\n"
        f"  PARTITION BY {event_id} ORDER BY {', '.join(order or [event_id])}\n"
        ") = 1;\n"
    )


def deduplicated_name(table: str) -> str:
    """Name of the view without duplicates."""
    return f"{table}_deduplicated"


def latest_name(table: str) -> str:
    """Name of the view of latest values."""
    return f"{table}_latest"


def latest_rows(source: str, layout: TagLayout = DEFAULT_LAYOUT) -> str:
    """The query behind the view of latest values; `source` is the table, as it is to be written.

    What says STALE is a present row, so the last of the present rows is the last one after it,
    if there is any, or that row itself. Of a tag with nothing but history it is the newest.
    """
    columns = ",\n".join(f"  {column.name}" for column in layout.table.columns)
    tag_path, time, historical, number = (layout.names[name] for name in _LATEST_NEEDS)
    return (
        f"SELECT\n{columns}\n"
        f"FROM {source}\n"
        "QUALIFY ROW_NUMBER() OVER (\n"
        f"  PARTITION BY {tag_path}\n"
        f"  ORDER BY {historical}, CASE WHEN {historical} THEN {time} END DESC,\n"
        f"    {number} DESC\n"
        ") = 1"
    )


def latest_view(table: str, layout: TagLayout = DEFAULT_LAYOUT) -> str:
    """A view with one row per tag: what holds of it now, and whether it is alive.

    A comment that says why in its place, where the table lacks a column that it needs.
    """
    if lacking := _lacking(layout, _LATEST_NEEDS):
        return (
            f"-- There is no view {table}_latest: the table has no\n"
            f"-- {lacking}, by which the last present row of a tag is found.\n"
        )
    return (
        "-- The table itself is read: a value that a birth repeats after a death is a copy of an\n"
        "-- older row, and the view without duplicates does not show that it came again.\n"
        + _view(latest_name(table), latest_rows(quoted(table), layout))
    )


def _lacking(layout: TagLayout, needed: tuple[str, ...]) -> str:
    return " and no ".join(name for name in needed if name not in layout.names)


def streaming(table: str, layout: TagLayout = DEFAULT_LAYOUT) -> str:
    """How to remove duplicates of large tables, as comments: it runs in a pipeline."""
    if lacking := _lacking(layout, _STREAMING_NEEDS):
        return (
            "-- How to remove duplicates in a pipeline is not shown: the table has no\n"
            f"-- {lacking}, by which copies are ordered there.\n"
        )
    key, historical, number, time = (layout.names[name] for name in ("event_id", *_STREAMING_NEEDS))
    name = quoted(table)
    unique = table.split(".")[2] + "_unique"
    target, flow, ranked = (quoted(unique + end) for end in ("", "_flow", "_ranked"))
    return (
        "-- The view reads the whole table. For large ones remove duplicates as they come, in a\n"  # noqa: S608 - comments for people
        "-- Lakeflow pipeline. In SQL, over any distance in time; what is kept is the row of the\n"
        "-- greatest rank, which is the one that the view keeps:\n"
        "--\n"
        f"--   CREATE TEMPORARY VIEW {ranked} AS\n"
        f"--   SELECT *, CASE WHEN {historical} THEN 0 ELSE 1 END AS present_rank,\n"
        f"--     -{number} AS arrival_rank\n"
        f"--   FROM STREAM({name});\n"
        f"--   CREATE OR REFRESH STREAMING TABLE {target};\n"
        f"--   CREATE FLOW {flow}\n"
        f"--   AS AUTO CDC INTO {target}\n"
        f"--   FROM STREAM({ranked})\n"
        f"--   KEYS ({key})\n"
        "--   SEQUENCE BY STRUCT(present_rank, arrival_rank)\n"
        "--   COLUMNS * EXCEPT (present_rank, arrival_rank)\n"
        "--   STORED AS SCD TYPE 1;\n"
        "--\n"
        "-- (AUTO CDC was called APPLY CHANGES before.) In Python, cheaper, for duplicates within\n"
        "-- an hour of each other; rows come out when that hour is over:\n"
        "--\n"
        "--   from pyspark.sql import functions as F\n"
        f"--   (spark.readStream.table({_python_text(table)})\n"
        f'--       .withWatermark("{time}", "1 hour")\n'
        f'--       .groupBy("{key}", F.session_window("{time}", "1 hour"))\n'
        f'--       .agg(F.min_by(F.struct("*"), F.struct("{historical}", "{number}"))\n'
        '--            .alias("kept"))\n'
        '--       .select("kept.*"))\n'
    )


def _python_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


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


def joined(rows: str, metadata: str, layout: TagLayout = DEFAULT_LAYOUT) -> str:
    """The query that gives every row of tag_events its unit.

    `rows` and `metadata` are the view without duplicates and that of current metadata.
    """
    columns = [f"  e.{c.name}" for c in layout.table.columns] + [
        f"  m.{name}" for name in WITH_METADATA
    ]
    return (
        "SELECT\n" + ",\n".join(columns) + "\n"
        f"FROM {rows} AS e\n"
        f"LEFT JOIN {metadata} AS m ON m.tag_path = e.{layout.names['tag_path']}"
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


def unit_view(table: str, rows: str, metadata: str, layout: TagLayout = DEFAULT_LAYOUT) -> str:
    """A view of tag_events with the unit of each value.

    Args:
        table: full name of tag_events, which the view is named after.
        rows: full name of its view without duplicates.
        metadata: full name of tag_metadata.
        layout: columns of the table; without tag_path it is a comment that says so.
    """
    if lacking := _lacking(layout, ("tag_path",)):
        return f"-- There is no view {table}_with_unit: the table has no {lacking}.\n"
    return "-- Every observation with the unit that its tag has now.\n" + _view(
        f"{table}_with_unit", joined(quoted(rows), quoted(current_name(metadata)), layout)
    )


def current_name(table: str) -> str:
    """Name of the view of current metadata."""
    return f"{table}_current"


def _view(name: str, query: str) -> str:
    return f"CREATE OR REPLACE VIEW {quoted(name)} AS\n{query};\n"


def quoted(name: str) -> str:
    """A name with dots, backticks around the parts that need them."""
    return ".".join(
        part if _PLAIN_NAME.fullmatch(part) else f"`{part}`" for part in name.split(".")
    )


def text_literal(text: str) -> str:
    """A string literal; Spark SQL escapes with a backslash, '' would join two literals."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
