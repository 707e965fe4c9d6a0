"""Rows of both tables out of messages, and the views for analysis over them, in DuckDB."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import sqlglot
from oracle.messages import ARRIVED
from sqlglot import exp

from consumer.pb.tag_metadata_pb2 import TagMetadata as MetadataRow
from consumer.rows import TAG_EVENTS, TAG_METADATA, MetadataRows, VersionStore
from consumer.setup import (
    instances_view,
    known_locally,
    latest_view,
    metadata_view,
    template_models,
    template_views,
    trend_view,
)
from support.host_side import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consumer.setup import Known, TemplateModel

SCHEMA = "plant.scada"
TABLE = f"{SCHEMA}.tag_events"
METADATA = f"{SCHEMA}.tag_metadata"


class Landing(Server):
    """What a consumer writes of one server's messages: rows of tag_events and tag_metadata."""

    def __init__(self, **options: Any) -> None:
        super().__init__(describe_tags=True, **options)
        self.metadata: list[dict[str, Any]] = []
        self._state: dict[str, bytes] = {}
        self._store = VersionStore(self._state.get)
        self._describes = MetadataRows(self.tags, self._store)
        self._stamp = 0

    def _take(self, decoded):
        for metadata in decoded.metadata:
            self._stamp += 1
            for piece in self._describes.encode(metadata, ARRIVED + self._stamp):
                found = [MetadataRow.FromString(each) for each in piece.to_pylist()]
                self.metadata += [
                    {field.name: value for field, value in each.ListFields()} for each in found
                ]
            self._state |= self._store.state()
            self._store.settle()
        return super()._take(decoded)

    def hears(self, *messages):
        """Messages that come one after the other."""
        for message in messages:
            self.at(0.0, message)

    def tables(self) -> dict[str, pa.Table]:
        """Both tables, as they are in Delta."""
        return {
            "tag_events": pa.Table.from_pylist(self.rows, schema=TAG_EVENTS.arrow_schema),
            "tag_metadata": pa.Table.from_pylist(
                [
                    {name: row.get(name) for name in TAG_METADATA.arrow_schema.names}
                    for row in self.metadata
                ],
                schema=TAG_METADATA.arrow_schema,
            ),
        }


def in_duckdb(text: str) -> list[str]:
    """Statements of Databricks SQL as DuckDB writes them; each has been understood."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # the key of a JSON path begins with @
    statements = [each for each in sqlglot.parse(text, dialect="databricks") if each]
    for each in statements:
        assert not [*each.find_all(exp.Command)], each
    return [each.sql(dialect="duckdb", comments=False) for each in statements]


@contextlib.contextmanager
def analysed(
    tables: dict[str, pa.Table], models: list[TemplateModel]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with both tables and all views over them."""
    texts = [
        latest_view(TABLE),
        metadata_view(METADATA),
        instances_view(METADATA),
        trend_view(TABLE, METADATA),
    ]
    for model in models:
        texts += template_views(TABLE, METADATA, model)
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute("ATTACH ':memory:' AS plant; CREATE SCHEMA plant.scada; USE plant.scada")
        for name, rows in tables.items():
            database.register("landed", rows)
            database.execute(f"CREATE TABLE {name} AS SELECT * FROM landed")
        for statement in in_duckdb("\n".join(texts)):
            database.execute(statement)
        yield database


def known_on_disk(directory: Path) -> Known:
    """What a Delta table of metadata knows of templates."""
    return known_locally(directory)


def models_on_disk(directory: Path, prefix: str = "udt_") -> list[TemplateModel]:
    """The templates that it knows."""
    return template_models(known_on_disk(directory).declared, prefix)


def understood(text: str) -> list[tuple[str, exp.Expression]]:
    """Name and query of each view that a text of Databricks SQL makes; it makes nothing else."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    found = []
    for each in sqlglot.parse(text, dialect="databricks"):
        if each is None or isinstance(each, exp.Semicolon):  # comments behind the last one
            continue
        assert isinstance(each, exp.Create), each
        assert each.kind == "VIEW"
        assert each.args["replace"]
        found.append((each.this.sql(dialect="databricks"), each.expression))
    return found
