"""`ddl` for the tables that users have: their columns, and the views that these allow."""

import re

import duckdb
import pyarrow as pa

from consumer.rows.layouts import layout_of_columns, layout_of_module
from consumer.rows.tables import COLUMNS
from consumer.setup import create_table, deduplicated_view, latest_view, streaming, unit_view

TABLE = "main.plant.mine"
MODULE = layout_of_module(18, "source_system", "BIGINT")
RENAMED = layout_of_columns([(c.name, f"x_{c.name}") for c in reversed(COLUMNS)])
NARROW = layout_of_columns([("numeric_value", "v"), ("event_id", "id")])


def query_of(view):
    """The SELECT of a view, its table under a plain name."""
    text = view[view.index("SELECT") :].rstrip(";\n")
    return text.replace(TABLE, "mine")


def columns_of(sql, layout):
    with duckdb.connect() as database:
        database.register("mine", layout.table.arrow_schema.empty_table())
        database.register("mine_deduplicated", layout.table.arrow_schema.empty_table())
        return database.sql(sql).columns


def test_create_table_has_the_columns_of_the_layout():
    line = re.compile(r"^  (\w+) +(\w+)( NOT NULL)? COMMENT", re.MULTILINE)
    found = line.findall(create_table(TABLE, MODULE.table))
    assert found[0] == ("event_id", "STRING", " NOT NULL")
    assert found[1] == ("event_time", "BIGINT", "")
    assert [name for name, *_ in found] == MODULE.table.arrow_schema.names


def test_views_name_the_columns_of_the_layout():
    for layout in (MODULE, RENAMED, NARROW):
        sql = query_of(deduplicated_view(TABLE, layout))
        assert columns_of(sql, layout) == layout.table.arrow_schema.names
    sql = query_of(latest_view(TABLE, RENAMED))
    assert columns_of(sql, RENAMED) == RENAMED.table.arrow_schema.names


def test_the_copy_that_came_first_is_kept_where_there_are_no_arrival_numbers():
    sql = query_of(deduplicated_view(TABLE, MODULE))
    rows = [{"event_id": "a", "ingestion_timestamp": n, "event_time": 0} for n in (7, 5, 6)]
    with duckdb.connect() as database:
        database.register("mine", pa.Table.from_pylist(rows, schema=MODULE.table.arrow_schema))
        (row,) = database.sql(sql).fetchall()
    assert row[MODULE.table.arrow_schema.names.index("ingestion_timestamp")] == 5


def test_a_view_that_needs_a_column_which_is_not_there_is_a_comment_that_says_so():
    for text in (
        latest_view(TABLE, MODULE),
        streaming(TABLE, MODULE),
        unit_view(TABLE, "main.plant.rows", "main.plant.meta", NARROW),
    ):
        assert all(line.startswith("--") for line in text.splitlines())
    assert "is_historical and no arrival_number, by which" in latest_view(TABLE, MODULE)
    assert "the table has no tag_path" in unit_view(TABLE, "a.b.c", "a.b.m", NARROW)
