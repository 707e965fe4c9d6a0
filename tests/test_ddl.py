"""The SQL that users run: it must make the table that the consumer writes."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from consumer import ddl
from consumer.errors import ConfigurationError
from consumer.schema import COLUMNS, TAG_EVENTS_SCHEMA

TABLE = "ignition_demo.scada_data.tag_events"
UUID = "11111111-2222-3333-4444-555555555555"
START = datetime(2026, 1, 1, tzinfo=UTC)
# Types as Databricks SQL names them -> as the Delta protocol does.
DELTA = {"BIGINT": "long", "INT": "integer"}

CONFIG = f"""
servers: [{{name: a, url: mqtt://localhost, password_file: /nowhere}}]
zerobus:
  endpoint: http://127.0.0.1:9001
  workspace_url: http://127.0.0.1:9002
  table: {TABLE}
  client_id: {UUID}
  client_secret: ${{NOT_SET}}
"""


def run(tmp_path, *arguments, config=CONFIG):
    path = tmp_path / "c.yaml"
    path.write_text(config, encoding="utf-8")
    program = [sys.executable, "-c", "from consumer.cli import main; main()"]
    return subprocess.run(
        [*program, "ddl", "--config", str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def columns_of(sql):
    """(name, Delta type, nullable) of every column of a CREATE TABLE text."""
    body = sql[sql.index("(\n") + 2 : sql.index("\n)")]
    pattern = r"\s*(\w+)\s+(\w+)( NOT NULL)? COMMENT '((?:[^'\\]|\\.)*)',?"
    matches = [re.fullmatch(pattern, line) for line in body.splitlines()]
    assert all(matches)
    return [(m[1], DELTA.get(m[2], m[2].lower()), m[3] is None) for m in matches]


def test_create_table_makes_exactly_the_table_that_the_arrow_schema_makes(tmp_path):
    DeltaTable.create(tmp_path, TAG_EVENTS_SCHEMA)
    made = [(f.name, f.type.type, f.nullable) for f in DeltaTable(tmp_path).schema().fields]
    assert columns_of(ddl.create_table(TABLE)) == made


def test_create_table_asks_for_nothing_that_zerobus_refuses():
    statement = re.sub(r"--[^\n]*|'(?:[^'\\]|\\.)*'", "", ddl.create_table(TABLE)).upper()
    assert "USING DELTA" in statement
    for refused in ("CLUSTER", "GENERATED", "CHECK", "PARTITIONED", "LOCATION", "EXTERNAL"):
        assert refused not in statement


def test_comments_with_a_quote_are_escaped_as_spark_does():
    assert any("'" in column.comment for column in COLUMNS)
    assert "payload\\'s" in ddl.create_table(TABLE)


def test_grants_name_the_catalog_the_schema_and_the_table():
    assert ddl.grants(TABLE, UUID).splitlines() == [
        f"GRANT USE CATALOG ON CATALOG ignition_demo TO `{UUID}`;",
        f"GRANT USE SCHEMA ON SCHEMA ignition_demo.scada_data TO `{UUID}`;",
        f"GRANT MODIFY, SELECT ON TABLE {TABLE} TO `{UUID}`;",
    ]


def test_a_principal_that_is_no_uuid_gets_a_note():
    assert ddl.grants(TABLE, "my principal").startswith("-- Not a UUID")


@pytest.mark.parametrize("principal", ["a`; DROP TABLE x; --", "a\nb", ""])
def test_a_principal_cannot_end_its_quotes(principal):
    with pytest.raises(ConfigurationError, match="application id"):
        ddl.grants(TABLE, principal)


def test_names_that_need_it_are_quoted():
    assert "FROM `my-catalog`.`1st`.t\n" in ddl.deduplicated_view("my-catalog.1st.t")
    assert "VIEW `my-catalog`.`1st`.t_deduplicated AS" in ddl.deduplicated_view("my-catalog.1st.t")


def row(event_id, ingested, arrival_number, **changes):
    values = {
        "event_id": event_id,
        "event_time": START,
        "tag_path": "[MQTT Engine]Edge Nodes/G/N/Ramp",
        "quality": "GOOD",
        "data_type": "Double",
        "source_system_id": "G/N",
        "metric_name": "Ramp",
        "message_type": "NDATA",
        "is_historical": False,
        "ingestion_timestamp": START + timedelta(seconds=ingested),
        "arrival_number": arrival_number,
    }
    return {name: (values | changes).get(name) for name in TAG_EVENTS_SCHEMA.names}


def test_the_view_keeps_the_row_of_each_event_id_that_arrived_first(tmp_path):
    landed = [
        row("b", 5, 9),
        row("a", 2, 7, message_type="second copy"),
        row("a", 1, 2, message_type="first"),
        row("a", 1, 3, message_type="same time, later number"),
        row("c", 1, 1),
        row("c", 1, 1),  # sent twice by the SDK: alike in everything
        row("d", 4, 4, numeric_value=1.5, seq=3),
    ]
    path = tmp_path / "landed"
    for half in (landed[:4], landed[4:]):
        batch = pa.Table.from_pylist(half, schema=TAG_EVENTS_SCHEMA)
        write_deltalake(path, batch, mode="append")

    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        database.register("landed", DeltaTable(path).to_pyarrow_table())
        sql = ddl.deduplicated_view(TABLE)
        database.execute(sql.replace(f"{TABLE}_deduplicated", "one").replace(TABLE, "landed"))
        seen = database.sql("SELECT * FROM one ORDER BY event_id").to_arrow_table()

    assert seen.column_names == TAG_EVENTS_SCHEMA.names
    kept = {r["event_id"]: r for r in seen.to_pylist()}
    assert sorted(kept) == seen.column("event_id").to_pylist() == ["a", "b", "c", "d"]
    assert (kept["a"]["message_type"], kept["a"]["arrival_number"]) == ("first", 2)
    assert (kept["d"]["numeric_value"], kept["d"]["seq"]) == (1.5, 3)


def test_the_streaming_variants_are_comments_and_name_the_table():
    text = ddl.streaming(TABLE)
    assert all(line.startswith("--") for line in text.splitlines())
    assert f"FROM STREAM({TABLE})" in text
    assert f'spark.readStream.table("{TABLE}")' in text
    assert "CREATE FLOW `a-b_unique_flow`" in ddl.streaming("c.s.a-b")


def test_the_command_prints_everything_to_stdout_and_needs_no_secrets(tmp_path):
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    parts = [
        ddl.create_table(TABLE),
        ddl.grants(TABLE, UUID),
        ddl.deduplicated_view(TABLE),
        ddl.streaming(TABLE),
    ]
    assert done.stdout == "\n".join(parts)


def test_the_command_can_print_the_view_alone(tmp_path):
    assert run(tmp_path, "--view-only").stdout == ddl.deduplicated_view(TABLE)


def test_the_command_can_grant_to_another_principal(tmp_path):
    other = UUID.replace("1", "9")
    done = run(tmp_path, "--grants-principal", other)
    assert ddl.grants(TABLE, other) in done.stdout
    assert UUID not in done.stdout


def test_the_command_names_what_is_wrong_with_the_principal(tmp_path):
    done = run(tmp_path, "--grants-principal", "`")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --grants-principal: the principal must be")


def test_the_command_names_what_is_wrong_with_the_configuration(tmp_path):
    done = run(tmp_path, config=CONFIG.replace("table:", "tabel:"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "zerobus.tabel: unknown key; did you mean 'table'?" in done.stderr
    assert len(done.stderr.splitlines()) == 1
