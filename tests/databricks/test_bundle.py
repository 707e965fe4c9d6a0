"""The bundle in `databricks/`: its keys are those of the SDK's types, its SQL runs in DuckDB."""

import dataclasses
import re
import typing
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

import duckdb
import pytest
import sqlglot
import yaml
from databricks.sdk.service import jobs, sql
from support.fake_workspace import parsed

from consumer.rows.tables import COLUMNS

BUNDLE = Path(__file__).parents[2] / "databricks"
SILVER = {"source": "plant.scada.tag_events", "silver": "plant.scada.tag_events_silver"}
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
TOP = {"bundle", "include", "variables", "targets"}


def load(name):
    return yaml.safe_load((BUNDLE / name).read_text("utf-8"))


VARIABLES = load("databricks.yml")["variables"]


def resources(kind):
    for path in sorted((BUNDLE / "resources").glob("*.yml")):
        yield from load(f"resources/{path.name}")["resources"].get(kind, {}).values()


def statement(name):
    """A file's SQL as a workspace sees it: parameters in place of their names."""
    text = (BUNDLE / "src" / name).read_text("utf-8")
    return re.sub(r"IDENTIFIER\(:(\w+)\)", lambda found: SILVER[found[1]], text)


def see_known(kind, value, where):
    """Every key of a mapping is a field of the SDK's type, down to the leaves."""
    if typing.get_origin(kind) is typing.Union:
        [kind] = [each for each in typing.get_args(kind) if each is not type(None)]
    if typing.get_origin(kind) is list:
        [kind] = typing.get_args(kind)
        for number, each in enumerate(value):
            see_known(kind, each, f"{where}[{number}]")
    elif dataclasses.is_dataclass(kind):
        fields = typing.get_type_hints(kind)
        for key, each in value.items():
            assert key in fields, f"{where}.{key}"
            see_known(fields[key], each, f"{where}.{key}")
    elif isinstance(kind, type) and issubclass(kind, Enum):
        assert value in {each.value for each in kind}, where


def test_a_key_that_the_sdk_does_not_know_is_seen():
    with pytest.raises(AssertionError, match=r"job\.tasks\[0\]\.sql_tusk"):
        see_known(jobs.JobSettings, {"tasks": [{"sql_tusk": {}}]}, "job")


def test_jobs_and_alerts_are_of_the_form_that_the_sdk_knows():
    [job] = resources("jobs")
    [alert] = resources("alerts")
    see_known(jobs.JobSettings, job, "job")
    see_known(sql.AlertV2, alert, "alert")
    assert set(load("databricks.yml")) == TOP


def test_files_and_variables_that_are_named_are_there():
    text = "".join(path.read_text("utf-8") for path in (BUNDLE / "resources").glob("*.yml"))
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(VARIABLES)
    [job] = resources("jobs")
    for task in job["tasks"]:
        path = BUNDLE / "resources" / task["sql_task"]["file"]["path"]
        named = set(re.findall(r":(\w+)\)", path.read_text("utf-8")))
        assert named <= {each["name"] for each in job["parameters"]}


@pytest.fixture
def db():
    """DuckDB with the source, in which each row knows when its file was written."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.execute("ATTACH ':memory:' AS plant; CREATE SCHEMA plant.scada")
    types = {"STRING": "VARCHAR", "TIMESTAMP": "TIMESTAMPTZ"}
    columns = [f"{c.name} {types.get(c.delta_type, c.delta_type)}" for c in COLUMNS]
    columns.append("_metadata STRUCT(file_modification_time TIMESTAMPTZ)")
    db.execute(f"CREATE TABLE {SILVER['source']} ({', '.join(columns)})")
    # DuckDB has no clustering.
    create = parsed(statement("silver_create.sql"))
    assert create.find(sqlglot.exp.Cluster, sqlglot.exp.ClusteredByProperty) or "CLUSTER" in str(
        create
    )
    plain = statement("silver_create.sql").replace("CLUSTER BY (tag_path, event_time)", "")
    db.execute(parsed(plain.replace("USING DELTA\n", "")).sql("duckdb"))
    yield db
    db.close()


def land(db, event_id, number, *, landed=NOON, arrived=NOON, historical=False):
    values = {c.name: None for c in COLUMNS}
    values |= {
        "event_id": event_id,
        "event_time": NOON,
        "tag_path": "[p]t",
        "quality": "GOOD",
        "data_type": "Int32",
        "source_system_id": "s",
        "metric_name": "m",
        "message_type": "DDATA",
        "is_historical": historical,
        "ingestion_timestamp": arrived,
        "arrival_number": number,
        "_metadata": {"file_modification_time": landed},
    }
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {SILVER['source']} VALUES ({marks})", list(values.values()))


def merged(db):
    """What silver holds after a merge: (event_id, is_historical, arrival_number)."""
    db.execute(parsed(statement("silver_merge.sql")).sql("duckdb"))
    shown = "SELECT event_id, is_historical, arrival_number FROM"
    return db.execute(f"{shown} {SILVER['silver']} ORDER BY ALL").fetchall()


def test_each_observation_is_there_once_the_first_copy_that_is_not_historical(db):
    land(db, "a", 3)
    land(db, "a", 2)
    land(db, "a", 1, historical=True)
    land(db, "b", 4)
    assert merged(db) == [("a", False, 2), ("b", False, 4)]
    assert merged(db) == [("a", False, 2), ("b", False, 4)]


def test_a_better_copy_that_comes_later_replaces_and_a_worse_one_does_not(db):
    land(db, "a", 5, historical=True)
    assert merged(db) == [("a", True, 5)]
    land(db, "a", 9, landed=NOON + timedelta(hours=5))
    assert merged(db) == [("a", False, 9)]
    land(db, "a", 1, historical=True, landed=NOON + timedelta(hours=9))
    land(db, "a", 10, landed=NOON + timedelta(hours=9))
    assert merged(db) == [("a", False, 9)]


def test_a_row_that_a_spool_kept_for_days_comes_in_when_it_lands(db):
    land(db, "a", 1)
    merged(db)
    week = timedelta(days=7)
    land(db, "b", 2, landed=NOON + timedelta(hours=3), arrived=NOON - week)
    assert [row[0] for row in merged(db)] == ["a", "b"]


def test_files_of_before_the_last_merge_are_not_read_again_but_for_an_hour(db):
    land(db, "a", 1, landed=NOON)
    merged(db)
    land(db, "long before", 2, landed=NOON - timedelta(hours=2))
    land(db, "an hour before", 3, landed=NOON - timedelta(minutes=59))
    assert [row[0] for row in merged(db)] == ["a", "an hour before"]


def silent_minutes(db):
    [alert] = resources("alerts")
    names = {"catalog": "plant", "schema": "scada", "table": "tag_events"}
    text = re.sub(r"\$\{var\.(\w+)\}", lambda found: names[found[1]], alert["query_text"])
    cursor = db.execute(parsed(text).sql("duckdb"))
    assert [each[0] for each in cursor.description] == [alert["evaluation"]["source"]["name"]]
    [(minutes,)] = cursor.fetchall()
    return minutes


def test_the_alert_counts_minutes_without_a_row_also_if_there_is_none_at_all(db):
    assert silent_minutes(db) > VARIABLES["silent_minutes"]["default"]
    land(db, "a", 1, arrived=datetime.now(UTC) - timedelta(minutes=40))
    assert silent_minutes(db) in (39, 40, 41)
