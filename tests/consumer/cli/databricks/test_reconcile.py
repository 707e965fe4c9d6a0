"""`databricks reconcile`: a spool's ledger against a system table, in DuckDB."""

import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
import sqlglot
from support.databricks_command import EVENTS, TABLE
from support.fake_workspace import parsed
from support.tag_events import DESCRIPTOR, event

from consumer.check import committed_sql, compare, meaning
from consumer.rows.encoded import EncodedRows
from consumer.spool import NewBatch, Spool, acknowledged_by_hour, balance_of_file
from consumer.spool.hours import KEPT_DAYS, note_acknowledged

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def platform():
    """The system table, with commits of `commit(table, time, rows, errors)`."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'America/New_York'")
    db.execute("ATTACH ':memory:' AS system_; CREATE SCHEMA system_.lakeflow")
    db.execute(
        "CREATE TABLE system_.lakeflow.zerobus_ingest (table_name VARCHAR, "
        "commit_time TIMESTAMPTZ, committed_records BIGINT, errors VARCHAR[])"
    )
    yield db
    db.close()


def commit(db, table, time, rows, *errors):
    insert = "INSERT INTO system_.lakeflow.zerobus_ingest VALUES (?, ?, ?, ?)"
    db.execute(insert, [table, time, rows, list(errors)])


def ask(db, sql):
    """The rows of a query for Databricks; DuckDB keeps the name `system` for itself."""
    [text] = sqlglot.transpile(sql, read="databricks", write="duckdb")
    return db.execute(text.replace("system.lakeflow", "system_.lakeflow")).fetchall()


def spool_with(path, *hours):
    """A spool whose ledger has acknowledged rows: (table, time, rows) of each."""
    Spool.open(path).close()
    spool = Spool.open(path)
    with spool._file.transaction():
        for table, time, rows in hours:
            note_acknowledged(spool._file.connection, {table: rows}, time.timestamp())
    spool.close()


def test_the_query_counts_by_table_and_hour_in_any_time_zone(platform):
    commit(platform, TABLE, NOON + timedelta(minutes=59, seconds=59), 5)
    commit(platform, TABLE, NOON, 2, "E1")
    commit(platform, TABLE, NOON + HOUR, 7)
    commit(platform, TABLE, NOON - timedelta(seconds=1), 100)
    commit(platform, EVENTS, NOON, 1)
    commit(platform, "other.scada.tag_events", NOON, 1000)
    sql = committed_sql([TABLE, EVENTS], NOON + timedelta(minutes=30))
    hour = int(NOON.timestamp()) // 3600
    assert ask(platform, sql) == [
        (EVENTS, hour, 1, 0),
        (TABLE, hour, 7, 1),
        (TABLE, hour + 1, 7, 0),
    ]


def test_capital_letters_of_the_configuration_are_no_other_table(platform):
    commit(platform, TABLE, NOON, 5)
    rows = ask(platform, committed_sql([TABLE.upper()], NOON))
    [count] = compare({(TABLE.upper(), NOON): 5}, [[str(each) for each in row] for row in rows])
    assert count.difference == 0


def test_the_query_is_understood_as_databricks_sql():
    assert parsed(committed_sql([TABLE, "a.b.it's"], NOON)).find(sqlglot.exp.Table)


def test_hours_of_either_side_are_shown():
    hour = int(NOON.timestamp()) // 3600
    found = compare({(TABLE, NOON): 3}, [[TABLE, str(hour + 1), "4", "1"]])
    assert [(c.hour, c.acknowledged, c.committed, c.errors) for c in found] == [
        (NOON, 3, 0, 0),
        (NOON + HOUR, 0, 4, 1),
    ]


def meanings(*hours, now=NOON + timedelta(days=2)):
    """What differences mean, of (acknowledged, committed) of hours that follow each other."""
    first = int(NOON.timestamp()) // 3600
    acknowledged = {(TABLE, NOON + n * HOUR): a for n, (a, _) in enumerate(hours)}
    committed = [[TABLE, str(first + n), str(c), "0"] for n, (_, c) in enumerate(hours)]
    counts = compare(acknowledged, committed)
    return [meaning(counts, each, now) for each in counts]


def test_what_a_difference_can_mean():
    assert meanings((5, 5)) == [""]
    first, second = meanings((5, 7), (5, 3))
    assert first.startswith("the hour's edge")
    assert second.startswith("the hour's edge")
    assert meanings((5, 7))[0].startswith("rows that were sent again")
    assert "table_rejected_parquets" in meanings((5, 3))[0]
    assert meanings((5, 3), now=NOON + HOUR)[0].startswith("too early")


def test_hours_of_the_ledger_are_kept_for_some_weeks(tmp_path):
    path = tmp_path / "spool.db"
    long_ago = NOON - timedelta(days=KEPT_DAYS, hours=1)
    spool_with(path, (TABLE, long_ago, 9), (EVENTS, NOON, 1), (TABLE, NOON, 2), (TABLE, NOON, 3))
    assert acknowledged_by_hour(path, datetime(2000, 1, 1, tzinfo=UTC)) == {
        (TABLE, NOON): 5,
        (EVENTS, NOON): 1,
    }
    assert acknowledged_by_hour(path, NOON + HOUR) == {}


def test_the_command_puts_both_counts_side_by_side(plant, platform):
    spool_with(plant.spool, (TABLE, NOON, 5), (TABLE, NOON + HOUR, 5))
    commit(platform, TABLE, NOON, 5)
    commit(platform, TABLE, NOON + HOUR, 2)
    plant.workspace.query = lambda sql: ask(platform, sql)
    printed = plant.run("reconcile", "--since", "2026-11-30T00:00", "--json")
    report = json.loads(printed.stdout)
    assert [(each["acknowledged"], each["committed"]) for each in report["hours"]] == [
        (5, 5),
        (5, 2),
    ]
    assert "acknowledged 5, committed 2 (-3)" in printed.stderr


def test_the_query_alone_asks_nobody(plant):
    printed = plant.run("reconcile", "--since", "2026-11-30", "--sql")
    assert printed.returncode == 0, printed.stderr
    assert "FROM system.lakeflow.zerobus_ingest" in printed.stdout
    assert plant.workspace.requests == []


def test_a_system_table_that_is_refused_says_which_right_is_missing(plant):
    spool_with(plant.spool)
    message = "[INSUFFICIENT_PERMISSIONS] User does not have USE SCHEMA on system.lakeflow"
    plant.workspace.fail["zerobus_ingest"] = ("BAD_REQUEST", message)
    printed = plant.run("reconcile")
    assert printed.returncode == 1
    assert "needs USE SCHEMA and SELECT on system.lakeflow" in printed.stderr


def test_what_is_trimmed_is_acknowledged_in_this_hour(tmp_path):
    begin = datetime.now(UTC)
    path = tmp_path / "spool.db"
    spool = Spool.open(path)
    rows = EncodedRows.from_messages([event(number) for number in range(3)])
    batch = NewBatch(TABLE, spool.schemas.register(DESCRIPTOR), rows)
    spool.commit([batch], [])
    [spooled] = spool.batches_after(0, 1 << 20, table=TABLE)
    spool.trim([spooled.batch_id])
    spool.close()
    assert sum(acknowledged_by_hour(path, begin).values()) == 3
    assert balance_of_file(path).rows[TABLE].acknowledged == 3
