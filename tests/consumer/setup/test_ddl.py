"""The SQL that users run: it must make the table that the consumer writes."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from support import program

from consumer.errors import ConfigurationError
from consumer.rows.tables import COLUMNS, SPARKPLUG_EVENTS, TAG_EVENTS_SCHEMA, TAG_METADATA
from consumer.setup import ddl

TABLE = "ignition_demo.scada_data.tag_events"
EVENTS = "ignition_demo.scada_data.sparkplug_events"
METADATA = "ignition_demo.scada_data.tag_metadata"
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
SIDE_CONFIG = CONFIG.replace(
    f"  table: {TABLE}\n",
    f"  table: {TABLE}\n  events_table: {EVENTS}\n  metadata_table: {METADATA}\n",
)


def run(tmp_path, *arguments, config=CONFIG):
    path = tmp_path / "c.yaml"
    path.write_text(config, encoding="utf-8")
    return program.run("ddl", "--config", str(path), *arguments)


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
        ddl.latest_view(TABLE),
        ddl.streaming(TABLE),
    ]
    assert done.stdout == "\n".join(parts)


def test_the_command_can_print_the_views_alone(tmp_path):
    views = ddl.deduplicated_view(TABLE), ddl.latest_view(TABLE)
    assert run(tmp_path, "--view-only").stdout == "\n".join(views)


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


# Side tables


@pytest.mark.parametrize("table", [SPARKPLUG_EVENTS, TAG_METADATA], ids=lambda table: table.name)
def test_create_table_of_a_side_table_makes_the_table_that_its_arrow_schema_makes(tmp_path, table):
    DeltaTable.create(tmp_path, table.arrow_schema)
    made = [(f.name, f.type.type, f.nullable) for f in DeltaTable(tmp_path).schema().fields]
    assert columns_of(ddl.create_table("a.b.c", table)) == made


def test_the_command_prints_tables_grants_and_views_of_the_side_tables(tmp_path):
    done = run(tmp_path, config=SIDE_CONFIG)
    assert (done.returncode, done.stderr) == (0, "")
    parts = [
        *(ddl.create_table(TABLE), ddl.grants(TABLE, UUID)),
        *(ddl.create_table(EVENTS, SPARKPLUG_EVENTS), ddl.grants(EVENTS, UUID)),
        *(ddl.create_table(METADATA, TAG_METADATA), ddl.grants(METADATA, UUID)),
        ddl.deduplicated_view(TABLE),
        ddl.latest_view(TABLE),
        ddl.events_view(EVENTS),
        ddl.metadata_view(METADATA),
        ddl.unit_view(TABLE, f"{TABLE}_deduplicated", METADATA),
        ddl.streaming(TABLE),
    ]
    assert done.stdout == "\n".join(parts)
    views = run(tmp_path, "--view-only", config=SIDE_CONFIG).stdout
    assert views == "\n".join(parts[6:11])


@pytest.mark.parametrize(("key", "view"), [("events", "_latest"), ("metadata", "_current")])
def test_each_side_table_can_be_on_by_itself(tmp_path, key, view):
    name = {"events": EVENTS, "metadata": METADATA}[key]
    config = CONFIG.replace(f"  table: {TABLE}", f"  table: {TABLE}\n  {key}_table: {name}")
    views = run(tmp_path, "--view-only", config=config).stdout
    assert f"VIEW {name}{view} AS" in views
    assert views.count("CREATE") == {"events": 3, "metadata": 4}[key]


def of(table, rows):
    """Rows of a table, of which only what a test is about is given."""
    fillers = {"STRING": "", "TIMESTAMP": START, "BOOLEAN": False}
    whole = [
        {
            c.name: each.get(c.name, None if c.nullable else fillers[c.delta_type])
            for c in table.columns
        }
        for each in rows
    ]
    return pa.Table.from_pylist(whole, schema=table.arrow_schema)


def at(seconds):
    return START + timedelta(seconds=seconds)


def asked(sql, **tables):
    """What a view shows, over tables under the names that it was made for."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        for name, table in tables.items():
            database.register(name, table)
        database.execute(re.sub(r"\w+\.\w+\.", "", sql))
        view = re.search(r"VIEW (\S+) AS", re.sub(r"\w+\.\w+\.", "", sql))[1]
        return database.sql(f"SELECT * FROM {view}").to_arrow_table().to_pylist()


def test_the_view_of_events_shows_the_last_word_on_each():
    rows = [
        {"event_id": "a", "healing": "rebirth_snapshot", "ingestion_timestamp": at(2)},
        {"event_id": "a", "healing": "open", "ingestion_timestamp": at(1)},
        {"event_id": "b", "healing": "open", "ingestion_timestamp": at(3)},
        {"event_id": "b", "healing": "open", "ingestion_timestamp": at(3)},  # delivered twice
    ]
    seen = asked(ddl.events_view(EVENTS), sparkplug_events=of(SPARKPLUG_EVENTS, rows))
    assert sorted((row["event_id"], row["healing"]) for row in seen) == [
        ("a", "rebirth_snapshot"),
        ("b", "open"),
    ]
    assert list(seen[0]) == SPARKPLUG_EVENTS.arrow_schema.names


def version(tag, unit, begin, end=None, made=None):
    return {
        "metadata_id": f"{tag} {begin}",
        "tag_path": tag,
        "unit": unit,
        "valid_from": at(begin),
        "valid_to": None if end is None else at(end),
        "ingestion_timestamp": at(begin if end is None else end) if made is None else at(made),
    }


VERSIONS = [
    version("changed", "bar", 0),
    version("changed", "bar", 0, 10),
    version("changed", "psi", 10),
    version("changed", "psi", 10),  # delivered twice
    version("gone", "bar", 0),
    version("gone", "bar", 0, 10),
    version("returned", "bar", 0),
    version("returned", "bar", 0, 10),
    version("returned", "mm", 20),
    version("other spool", "bar", 0),  # whose end nobody knew
    version("other spool", "psi", 30),
]


def test_the_view_of_metadata_shows_what_holds_of_each_tag():
    seen = asked(ddl.metadata_view(METADATA), tag_metadata=of(TAG_METADATA, VERSIONS))
    assert sorted((row["tag_path"], row["unit"]) for row in seen) == [
        ("changed", "psi"),
        ("other spool", "psi"),
        ("returned", "mm"),
    ]
    assert "valid_to" not in seen[0]


def test_the_joined_view_gives_every_row_its_unit_and_loses_none():
    rows = [row("a", 0, 1, tag_path="changed"), row("b", 0, 2, tag_path="unknown")]
    rows += [row("c", 0, 3, tag_path="gone"), row("d", 0, 4, tag_path="changed")]
    current = of(TAG_METADATA, [version("changed", "psi", 10), version("x", "mm", 0)])
    seen = asked(
        ddl.unit_view(TABLE, f"{TABLE}_deduplicated", METADATA),
        tag_events_deduplicated=pa.Table.from_pylist(rows, schema=TAG_EVENTS_SCHEMA),
        tag_metadata_current=current,
    )
    assert sorted((each["event_id"], each["unit"]) for each in seen) == [
        ("a", "psi"),
        ("b", None),
        ("c", None),
        ("d", "psi"),
    ]
    assert list(seen[0]) == [*TAG_EVENTS_SCHEMA.names, *ddl.WITH_METADATA]


PAGE = (Path(__file__).parents[3] / "docs" / "side-tables.md").read_text(encoding="utf-8")


def test_the_queries_of_the_page_find_what_they_say():
    gaps, units = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    of_gap = {"event_type": "gap", "group_id": "P", "edge_node_id": "E", "missing_messages": 3}
    events = [
        of_gap | {"event_id": "a", "healing": "rebirth_snapshot"},
        of_gap | {"event_id": "b", "healing": "open"},
        of_gap | {"event_id": "c", "healing": "late_arrival"},
        {"event_type": "node_birth"},
    ]
    rows = [
        row("early", 0, 1, tag_path="changed", event_time=at(5)),
        row("late", 0, 2, tag_path="changed", event_time=at(10)),
        row("before", 0, 3, tag_path="changed", event_time=at(-1)),
        row("unknown", 0, 4, tag_path="unknown"),
    ]
    with duckdb.connect() as database:
        database.register("sparkplug_events_latest", of(SPARKPLUG_EVENTS, events))
        database.register("tag_events", pa.Table.from_pylist(rows, schema=TAG_EVENTS_SCHEMA))
        database.register("tag_metadata", of(TAG_METADATA, VERSIONS))
        assert database.sql(gaps).fetchall() == [("P", "E", 2, 6)]
        found = database.sql(units).to_arrow_table().to_pylist()
    assert sorted((each["event_time"], each["unit"]) for each in found if each["unit"]) == [
        (at(5), "bar"),
        (at(10), "psi"),
    ]
    assert len(found) == len(rows)
