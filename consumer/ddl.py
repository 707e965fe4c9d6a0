"""SQL for the landing tables: CREATE TABLE, grants, the view without duplicates.

Everything about columns comes from the tables' definitions. What the table must be
(managed Delta, no liquid clustering, no generated columns, no CHECK constraints, not
in default storage) and which grants a writer needs are those of the Databricks
documentation of Zerobus Ingest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from consumer.errors import ConfigurationError
from consumer.schema import COLUMNS, TAG_EVENTS
from consumer.sql import quoted, text_literal

if TYPE_CHECKING:
    from consumer.table import Table

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


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
    """What the service principal needs to write to the table.

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
    """A view with one row per event_id: the one that arrived first."""
    columns = ",\n".join(f"  {column.name}" for column in COLUMNS)
    return (
        "-- Delivery is at least once; equal event_ids are one observation.\n"
        f"CREATE OR REPLACE VIEW {quoted(deduplicated_name(table))} AS\n"
        f"SELECT\n{columns}\n"
        f"FROM {quoted(table)}\n"
        "QUALIFY ROW_NUMBER() OVER (\n"
        "  PARTITION BY event_id ORDER BY ingestion_timestamp, arrival_number\n"
        ") = 1;\n"
    )


def deduplicated_name(table: str) -> str:
    """Name of the view without duplicates."""
    return f"{table}_deduplicated"


def streaming(table: str) -> str:
    """The same for large tables, as comments: it runs in a pipeline, not in an editor."""
    name = quoted(table)
    target = quoted(table.split(".")[2] + "_unique")
    return (
        "-- The view reads the whole table. For large ones remove duplicates as they come, in a\n"
        "-- Lakeflow pipeline. In SQL, over any distance in time:\n"
        "--\n"
        f"--   CREATE OR REFRESH STREAMING TABLE {target};\n"
        f"--   CREATE FLOW {target[:-1] + '_flow`' if target[0] == '`' else target + '_flow'}\n"
        f"--   AS AUTO CDC INTO {target}\n"
        f"--   FROM STREAM({name})\n"
        "--   KEYS (event_id)\n"
        "--   SEQUENCE BY STRUCT(ingestion_timestamp, arrival_number)\n"
        "--   STORED AS SCD TYPE 1;\n"
        "--\n"
        "-- (AUTO CDC was called APPLY CHANGES before; it keeps the row that arrived last, which\n"
        "-- is the same observation.) In Python, cheaper, for duplicates within an hour:\n"
        "--\n"
        f"--   (spark.readStream.table({_python_text(table)})\n"
        '--       .withWatermark("ingestion_timestamp", "1 hour")\n'
        '--       .dropDuplicatesWithinWatermark(["event_id"]))\n'
    )


def _python_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
