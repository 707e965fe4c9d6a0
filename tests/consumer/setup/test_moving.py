"""The SQL of docs/moving-from-the-module.md, on both tables after both took the same events."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import sqlglot
from support.event_stream import SENT_MS, event, rows_of

from consumer.setup import create_table

PAGE = (Path(__file__).parents[3] / "docs" / "moving-from-the-module.md").read_text("utf-8")
BLOCKS = [
    re.sub(r"^ {3}", "", each, flags=re.MULTILINE)
    for each in re.findall(r"^ *```sql\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
]
VIEWS, BY_HOUR, ONLY_ONE, OTHER_VALUE, ALL_EVENTS = BLOCKS
HOUR_MS = 3_600_000
SPEED, RUNNING, STATE = "Line 1/Speed", "[default]Line 1/Running", "Line 1/State"

MODULE_TABLE = """
CREATE TABLE plant.scada.module_events (
  event_id STRING NOT NULL, event_time TIMESTAMP, tag_path STRING, tag_provider STRING,
  numeric_value DOUBLE, string_value STRING, boolean_value BOOLEAN, quality STRING,
  quality_code INT, source_system STRING, ingestion_timestamp BIGINT, data_type STRING,
  alarm_state STRING, alarm_priority INT
)
"""


def at(ms):
    """A time in UTC; what knows time zones in DuckDB is an extension."""
    return datetime(1970, 1, 1) + timedelta(milliseconds=ms)  # noqa: DTZ001


def timed(name, value):
    """A value of a row, times as the table has them."""
    is_time = name.endswith(("_time", "_timestamp")) and value is not None
    return at(value / 1000) if is_time else value


EVENTS = [
    event(path, value, timestamp=SENT_MS + each * HOUR_MS // 4, dataType=None)
    for each in range(12)
    for path, value in ((SPEED, each + 0.5), (RUNNING, each % 2 == 0), (STATE, f"s{each}"))
]


def by_module(sent, **changes):
    """A row as the module writes it."""
    value = sent["value"]
    row = {
        "event_id": f"module-{sent['tagPath']}-{sent['timestamp']}",
        "event_time": at(sent["timestamp"]),
        "tag_path": sent["tagPath"],
        "tag_provider": "default",
        "numeric_value": value if isinstance(value, float) else None,
        "string_value": value if isinstance(value, str) else None,
        "boolean_value": value if isinstance(value, bool) else None,
        "quality": "GOOD",
    }
    return row | changes


@pytest.fixture
def both():
    """Fills both tables; gives a function that runs a query."""
    with duckdb.connect() as database:
        database.execute("ATTACH ':memory:' AS plant; CREATE SCHEMA plant.scada")
        ours = create_table("plant.scada.tag_events")
        ours = re.sub(r" COMMENT '(?:[^'\\]|\\.)*'", "", ours).replace("USING DELTA", "")
        database.execute(re.sub(r"\n(COMMENT .*)?;", ";", ours))
        database.execute(MODULE_TABLE)

        def fill(old, new):
            ours = [{name: timed(name, each[name]) for name in each} for each in rows_of(*new)]
            for table, rows in (("module_events", old), ("tag_events", ours)):
                for row in rows:
                    marks = ", ".join("?" for _ in row)
                    database.execute(
                        f"INSERT INTO plant.scada.{table} ({', '.join(row)}) VALUES ({marks})",
                        list(row.values()),
                    )
            for view in VIEWS.split(";"):
                if view.strip():
                    database.execute(view)
            return lambda query: database.execute(query).fetchall()

        yield fill


def test_two_that_agree_are_told_to_agree(both):
    asked = both([by_module(each) for each in EVENTS], EVENTS)
    assert [row[1:] for row in asked(BY_HOUR)] == [(12, 12, 0)] * 3
    assert asked(ONLY_ONE) == []
    assert asked(OTHER_VALUE) == []


def test_what_came_twice_counts_once(both):
    asked = both([by_module(each) for each in EVENTS * 2], [*EVENTS, *EVENTS[:5]])
    assert all(more == 0 for *_, more in asked(BY_HOUR))


def test_what_one_of_them_dropped_is_found(both):
    asked = both(
        [by_module(each) for each in EVENTS if each is not EVENTS[9]],
        [each for each in EVENTS if each not in (EVENTS[10], EVENTS[13])],
    )
    assert sum(more for *_, more in asked(BY_HOUR)) == -1
    assert asked(ONLY_ONE) == [
        ("[default]Line 1/Running", 2, 0, 10),
        ("[default]Line 1/Speed", 0, 1, 11),
    ]


def test_the_time_before_both_ran_is_not_compared(both):
    asked = both([by_module(each) for each in EVENTS], EVENTS[12:])
    assert asked(ONLY_ONE) == []
    assert asked(BY_HOUR)[0][1:3] == (12, 0)


def test_another_value_is_found(both):
    old = [by_module(each) for each in EVENTS]
    old[0]["numeric_value"] = 99.0
    old[1] |= {"numeric_value": 1.0}
    asked = both(old, EVENTS)
    assert [(row[0], row[2:4]) for row in asked(OTHER_VALUE)] == [
        ("[default]Line 1/Running", (1.0, None)),
        ("[default]Line 1/Speed", (99.0, 0.5)),
    ]


def test_values_over_mqtt_are_not_counted(both):
    asked = both([by_module(each) for each in EVENTS], EVENTS)
    asked("UPDATE plant.scada.tag_events SET message_type = 'NDATA' WHERE metric_name = 'Speed'")
    assert asked(ONLY_ONE) == [("[default]Line 1/Speed", 12, 0, 0)]


def test_the_view_of_all_goes_over_from_one_to_the_other(both):
    asked = both([by_module(each) for each in EVENTS], EVENTS)
    cut = at(EVENTS[18]["timestamp"]).strftime("%Y-%m-%d %H:%M:%S.%f")
    asked(ALL_EVENTS.replace("2026-12-01 00:00:00", f"{cut}"))
    count = "SELECT written_by, count(*) FROM plant.scada.all_events GROUP BY 1 ORDER BY 1"
    assert asked(count) == [("consumer", 18), ("module", 18)]


@pytest.mark.parametrize("block", BLOCKS)
def test_databricks_would_read_it(block):
    for statement in sqlglot.parse(block, read="databricks"):
        assert statement is None or statement.sql("databricks")
