"""One definition of the columns: what is derived from it, and what is checked against it."""

import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from oracle.messages import metric
from support.columnar import Columnar, change, message, tag

from consumer.rows.tables import COLUMNS, TAG_EVENTS, TAG_EVENTS_SCHEMA
from zerobus_local import LocalZerobus

PAGE = (Path(__file__).parents[3] / "docs" / "table.md").read_text(encoding="utf-8")
TIMESTAMP = pa.timestamp("us", tz="UTC")
SEEN_IN = {"STRING": pa.string(), "TIMESTAMP": TIMESTAMP, "DOUBLE": pa.float64()}
SEEN_IN |= {"BIGINT": pa.int64(), "INT": pa.int32(), "BOOLEAN": pa.bool_()}


def documented():
    """The cells of the table of columns on the page."""
    section = PAGE[PAGE.index("## Columns") : PAGE.index("## Reading values")]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def test_the_documented_table_is_the_definition():
    header, _, *rows = documented()
    assert header == ("column", "Delta type", "null", "meaning")
    assert rows == [
        (column.name, column.delta_type, "yes" if column.nullable else "no", column.comment)
        for column in COLUMNS
    ]


def test_the_arrow_schema_is_the_definition():
    assert [(f.name, f.type, f.nullable) for f in TAG_EVENTS_SCHEMA] == [
        (column.name, SEEN_IN[column.delta_type], column.nullable) for column in COLUMNS
    ]


def test_the_descriptor_has_the_columns_in_their_order():
    assert [field.name for field in TAG_EVENTS.descriptor.fields] == [c.name for c in COLUMNS]


def test_the_local_server_lands_a_table_of_this_schema(tmp_path):
    with LocalZerobus(tmp_path) as server:
        server.create_table("main.plant.tag_events", TAG_EVENTS_SCHEMA)
    table = DeltaTable(str(tmp_path / "main" / "plant" / "tag_events"))
    landed = pa.schema(table.schema().to_arrow())
    assert [(f.name, f.type, f.nullable) for f in landed] == [
        (f.name, f.type, f.nullable) for f in TAG_EVENTS_SCHEMA
    ]
    delta = {field.name: field.type.type for field in table.schema().fields}
    spelled = {"BIGINT": "long", "INT": "integer"}
    assert delta == {c.name: spelled.get(c.delta_type, c.delta_type.lower()) for c in COLUMNS}


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_every_column_has_a_comment_that_sql_and_markdown_can_show(column):
    assert column.comment
    assert not re.search(r"[|\n\\`]", column.comment)


# What the page says about reading


def test_the_query_for_the_latest_values_finds_them():
    def at(milliseconds, value, **fields):
        return metric(alias=0, timestamp=milliseconds, double_value=value, **fields)

    seen = Columnar()
    seen.feed(
        message("NBIRTH", tag("Ramp", 0), metric("Text", 12, alias=1, string_value="a")),
        message("NDATA", at(1_800_000_000_000, 1.0), seq=1),
        message("NDATA", at(1_750_000_000_000, 2.0, is_historical=True), seq=2),
        message("NDATA", at(1_800_000_000_000, 3.0), metric(alias=1, string_value="b"), seq=3),
    )
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    with duckdb.connect() as connection:
        connection.register("tag_events", pa.Table.from_pylist(seen.rows))
        found = connection.sql(query).fetchall()
    assert {(row[0].rsplit("/", 1)[1], row[3], row[4]) for row in found} == {
        ("Ramp", 3.0, None),
        ("Text", None, "b"),
    }
    assert len(found) == 2


def test_values_stand_in_the_columns_that_the_page_names():
    shown = {
        "Int8 to Int64, UInt8 to UInt32": (3, {"int_value": 7}),
        "UInt64 above 9223372036854775807": (8, {"long_value": 2**63}),
        "Float, Double": (10, {"double_value": 1.5}),
        "Float, Double that is no finite number": (9, {"float_value": float("inf")}),
        "Boolean": (11, {"boolean_value": False}),
        "String, Text, UUID": (12, {"string_value": "x"}),
        "DateTime": (13, {"long_value": 0}),
    }
    section = PAGE[PAGE.index("## Reading values") : PAGE.index("## Latest")]
    header, _, *rows = [
        [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert [row[0] for row in rows] == list(shown)
    for name, *cells in rows:
        datatype, wire = shown[name]
        (row,) = Columnar().feed(message("NBIRTH", metric("T", datatype, **wire)))
        assert [row[column] is not None for column in header[1:]] == [bool(c) for c in cells]


def test_a_boolean_becomes_a_number_as_the_page_says():
    seen = Columnar()
    seen.feed(message("NBIRTH", metric("Run", 11, alias=0, boolean_value=True)))
    expression = re.search(r"`(CAST\(.*?\))`", PAGE)[1]
    with duckdb.connect() as connection:
        connection.register("tag_events", pa.Table.from_pylist(seen.rows))
        assert connection.sql(f"SELECT {expression} FROM tag_events").fetchall() == [(1.0,)]


def test_only_the_time_of_arrival_is_finer_than_milliseconds():
    seen = Columnar()
    rows = seen.feed(
        message("NBIRTH", tag("Ramp", 0), received_us=1_700_000_000_000_123),
        message(
            "NDATA",
            {**change(0, 1.0), "timestamp": None},
            seq=1,
            timestamp=None,
            received_us=1_700_000_000_000_456,
        ),
    )
    assert [row["event_time"] % 1000 for row in rows] == [0, 456]
    assert [row["ingestion_timestamp"] % 1000 for row in rows] == [123, 456]
    assert rows[0]["payload_timestamp"] % 1000 == 0
