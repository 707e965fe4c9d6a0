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
from consumer.rows import COLUMNS, SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA

if TYPE_CHECKING:
    from consumer.rows import Table

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_KEPT_FIRST: Final = ("is_historical", "arrival_number")
"""Columns by which copies of one observation are ordered; the first copy is kept."""

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


def deduplicated_view(table: str) -> str:
    """A view with one row per event_id: a present one if there is any, else the first."""
    columns = ",\n".join(f"  {column.name}" for column in COLUMNS)
    return (
        "-- Delivery is at least once; equal event_ids are one observation. A copy that is not\n"
        "-- historical is kept before one that is.\n"
        f"CREATE OR REPLACE VIEW {quoted(deduplicated_name(table))} AS\n"
        f"SELECT\n{columns}\n"
        f"FROM {quoted(table)}\n"
        "QUALIFY ROW_NUMBER() OVER (\n"
        f"  PARTITION BY event_id ORDER BY {', '.join(_KEPT_FIRST)}\n"
        ") = 1;\n"
    )


def deduplicated_name(table: str) -> str:
    """Name of the view without duplicates."""
    return f"{table}_deduplicated"


def latest_rows(source: str) -> str:
    """The query behind the view of latest values; `source` is the table, as it is to be written.

    What says STALE is a present row, so the last of the present rows is the last one after it,
    if there is any, or that row itself. Of a tag with nothing but history it is the newest.
    """
    columns = ",\n".join(f"  {column.name}" for column in COLUMNS)
    return (
        f"SELECT\n{columns}\n"
        f"FROM {source}\n"
        "QUALIFY ROW_NUMBER() OVER (\n"
        "  PARTITION BY tag_path\n"
        "  ORDER BY is_historical, CASE WHEN is_historical THEN event_time END DESC,\n"
        "    arrival_number DESC\n"
        ") = 1"
    )


def latest_view(table: str) -> str:
    """A view with one row per tag: what holds of it now, and whether it is alive."""
    return (
        "-- The table itself is read: a value that a birth repeats after a death is a copy of an\n"
        "-- older row, and the view without duplicates does not show that it came again.\n"
        + _view(f"{table}_latest", latest_rows(quoted(table)))
    )


def streaming(table: str) -> str:
    """How to remove duplicates of large tables, as comments: it runs in a pipeline."""
    name = quoted(table)
    unique = table.split(".")[2] + "_unique"
    target, flow, ranked = (quoted(unique + end) for end in ("", "_flow", "_ranked"))
    return (
        "-- The view reads the whole table. For large ones remove duplicates as they come, in a\n"  # noqa: S608 - comments for people
        "-- Lakeflow pipeline. In SQL, over any distance in time; what is kept is the row of the\n"
        "-- greatest rank, which is the one that the view keeps:\n"
        "--\n"
        f"--   CREATE TEMPORARY VIEW {ranked} AS\n"
        "--   SELECT *, CASE WHEN is_historical THEN 0 ELSE 1 END AS present_rank,\n"
        "--     -arrival_number AS arrival_rank\n"
        f"--   FROM STREAM({name});\n"
        f"--   CREATE OR REFRESH STREAMING TABLE {target};\n"
        f"--   CREATE FLOW {flow}\n"
        f"--   AS AUTO CDC INTO {target}\n"
        f"--   FROM STREAM({ranked})\n"
        "--   KEYS (event_id)\n"
        "--   SEQUENCE BY STRUCT(present_rank, arrival_rank)\n"
        "--   COLUMNS * EXCEPT (present_rank, arrival_rank)\n"
        "--   STORED AS SCD TYPE 1;\n"
        "--\n"
        "-- (AUTO CDC was called APPLY CHANGES before.) In Python, cheaper, for duplicates within\n"
        "-- an hour of each other; rows come out when that hour is over:\n"
        "--\n"
        "--   from pyspark.sql import functions as F\n"
        f"--   (spark.readStream.table({_python_text(table)})\n"
        '--       .withWatermark("ingestion_timestamp", "1 hour")\n'
        '--       .groupBy("event_id", F.session_window("ingestion_timestamp", "1 hour"))\n'
        '--       .agg(F.min_by(F.struct("*"), F.struct("is_historical", "arrival_number"))\n'
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


def quoted(name: str) -> str:
    """A name with dots, backticks around the parts that need them."""
    return ".".join(
        part if _PLAIN_NAME.fullmatch(part) else f"`{part}`" for part in name.split(".")
    )


def text_literal(text: str) -> str:
    """A string literal; Spark SQL escapes with a backslash, '' would join two literals."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
