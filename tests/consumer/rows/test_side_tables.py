"""The side tables' columns: one definition, and what is checked against it."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from google.protobuf.descriptor import FieldDescriptor as Field

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.tables import SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA
from zerobus_local import LocalZerobus

PAGE = (Path(__file__).parents[3] / "docs" / "side-tables.md").read_text(encoding="utf-8")
SIDE_TABLES = [SPARKPLUG_EVENTS, TAG_METADATA]
TABLES = [TAG_EVENTS, *SIDE_TABLES]
COLUMNS = [(table, column) for table in TABLES for column in table.columns]
# What Zerobus takes for a column of each Delta type.
PROTOBUF_TYPE = {
    "STRING": Field.TYPE_STRING,
    "TIMESTAMP": Field.TYPE_INT64,
    "DOUBLE": Field.TYPE_DOUBLE,
    "BIGINT": Field.TYPE_INT64,
    "INT": Field.TYPE_INT32,
    "BOOLEAN": Field.TYPE_BOOL,
}


def named(parameter):
    return getattr(parameter, "name", None)


@pytest.mark.parametrize("table", SIDE_TABLES, ids=named)
def test_the_documented_table_is_the_definition(table):
    section = PAGE[PAGE.index(f"## {table.name}\n") :]
    lines = section[section.index("| column |") :].splitlines()
    end = next(n for n, line in enumerate(lines) if not line.startswith("|"))
    header, _, *rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[:end]
    ]
    assert header == ("column", "Delta type", "null", "meaning")
    assert rows == [
        (column.name, column.delta_type, "yes" if column.nullable else "no", column.comment)
        for column in table.columns
    ]


@pytest.mark.parametrize("table", TABLES, ids=named)
def test_the_descriptor_has_the_columns_in_their_order(table):
    assert [field.name for field in table.descriptor.fields] == [c.name for c in table.columns]
    numbers = sorted(field.number for field in table.descriptor.fields)
    assert numbers == list(range(1, len(table.columns) + 1))


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=named)
def test_a_field_has_the_type_of_its_column_and_is_required_where_it_is_not_null(table, column):
    field = table.descriptor.fields_by_name[column.name]
    assert field.type == PROTOBUF_TYPE[column.delta_type]
    assert field.is_required is not column.nullable
    assert not field.is_repeated


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=named)
def test_every_column_has_a_comment_that_sql_and_markdown_can_show(table, column):
    assert column.comment, table.name
    assert not re.search(r"[|\n\\`]", column.comment)


def test_what_is_constant_for_a_tag_is_encoded_alike_in_both_tables():
    def numbers(table, descriptor):
        return {
            column.name: descriptor.fields_by_name[column.name].number
            for column in table.columns
            if column.constant_per_tag
        }

    assert numbers(TAG_METADATA, TAG_METADATA.descriptor) == numbers(
        TAG_EVENTS, TagEvent.DESCRIPTOR
    )


@pytest.mark.parametrize("table", SIDE_TABLES, ids=named)
def test_the_local_server_lands_a_table_of_this_schema(tmp_path, table):
    with LocalZerobus(tmp_path) as server:
        server.create_table("main.plant.side", table.arrow_schema)
    landed = pa.schema(DeltaTable(str(tmp_path / "main" / "plant" / "side")).schema().to_arrow())
    assert [(f.name, f.type, f.nullable) for f in landed] == [
        (c.name, c.arrow_type, c.nullable) for c in table.columns
    ]
