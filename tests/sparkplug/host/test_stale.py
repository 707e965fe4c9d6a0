"""What deaths say about tags, and how births take it back (docs/decoding.md)."""

import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from oracle.messages import ARRIVED, MEASURED_MS, SENT_MS
from support.columnar import Columnar, change, deaths, message, metric, tag, values, without_deaths

from sparkplug.datatypes import DataType
from sparkplug.host.fleet import Fleet

TABLE_PAGE = Path(__file__).parents[3] / "docs" / "table.md"
LATER = ARRIVED + 5_000_000
REBORN_MS = LATER // 1000 + 1_000

BD_SEQ = metric("bdSeq", DataType.Int64, long_value=1)
OTHER_BD_SEQ = metric("bdSeq", DataType.Int64, long_value=2)
NODE_BIRTH = message("NBIRTH", BD_SEQ, tag("Ramp", 0), tag("Sine", 1))
BOILER_BIRTH = message("DBIRTH", tag("Level", 2), seq=1)
FAN_BIRTH = message("DBIRTH", tag("Speed", 3), seq=2, device="Fan")
BORN = (NODE_BIRTH, BOILER_BIRTH, FAN_BIRTH)


def died(bd_seq=BD_SEQ):
    return message("NDEATH", bd_seq, seq=None, received_us=LATER)


def fed(*messages, **options):
    seen = Columnar(**options)
    seen.feed(*messages)
    return seen


def latest(rows):
    """Quality and number per tag_path, by the query in docs/table.md."""
    [query] = [
        part.split("```")[0]
        for part in TABLE_PAGE.read_text().split("```sql\n")[1:]
        if "QUALIFY ROW_NUMBER()" in part
    ]
    with duckdb.connect() as database:
        database.register("tag_events", pa.Table.from_pylist(rows))
        found = database.sql(query).fetchall()
    return {path.rsplit("/", 1)[1]: (quality, number) for path, _, quality, number, *_ in found}


# Deaths


def test_a_death_of_the_node_gives_a_row_for_every_tag_of_node_and_devices():
    rows = fed(*BORN).feed(died())
    assert deaths(rows) == ["Boiler/Level", "Fan/Speed", "Ramp", "Sine"]
    for row in rows:
        assert (row["quality"], row["quality_code"], row["message_type"]) == (
            *("STALE", 500),
            "NDEATH",
        )
        assert {row[f"{kind}_value"] for kind in ("numeric", "integer", "string", "boolean")} == {
            None
        }
        assert (row["is_historical"], row["data_type"], row["seq"]) == (False, "Double", None)


def test_a_death_of_the_node_is_dated_at_its_arrival():
    """The will was written when the node connected: its own time says nothing."""
    rows = fed(*BORN).feed(died())
    assert {row["event_time"] for row in rows} == {LATER}
    assert {row["ingestion_timestamp"] for row in rows} == {LATER}
    assert {row["payload_timestamp"] for row in rows} == {SENT_MS * 1000}


def test_a_death_of_another_session_makes_nothing_stale():
    seen = fed(*BORN)
    assert not seen.feed(died(metric("bdSeq", DataType.Int64, long_value=0)))
    assert seen.counts == {"death_of_other_session": 1}


def test_a_death_of_a_device_concerns_its_tags_alone_and_is_dated_by_the_node():
    rows = fed(*BORN).feed(
        message("DDEATH", seq=3, timestamp=SENT_MS + 7, received_us=LATER, device="Fan")
    )
    assert deaths(rows) == ["Fan/Speed"]
    assert rows[0]["event_time"] == rows[0]["payload_timestamp"] == (SENT_MS + 7) * 1000
    assert (rows[0]["message_type"], rows[0]["seq"]) == ("DDEATH", 3)
    assert rows[0]["quality"] == "STALE"


def test_a_death_of_a_device_without_a_time_is_dated_at_its_arrival():
    (row,) = fed(*BORN).feed(
        message("DDEATH", seq=3, timestamp=None, received_us=LATER, device="Fan")
    )
    assert (row["event_time"], row["payload_timestamp"]) == (LATER, None)


def test_a_device_that_died_before_its_node_does_not_die_again():
    rows = fed(*BORN).feed(message("DDEATH", seq=3), died())
    assert deaths(rows) == ["Boiler/Level", "Fan/Speed", "Ramp", "Sine"]


def test_a_node_that_is_dead_does_not_die_again():
    seen = fed(*BORN, died())
    assert not seen.feed(died())
    assert seen.counts == {"death_of_other_session": 1}


def test_a_device_that_was_not_born_again_after_a_birth_of_its_node_dies_with_it():
    rows = fed(*BORN, NODE_BIRTH).feed(died())
    assert deaths(rows) == ["Boiler/Level", "Fan/Speed", "Ramp", "Sine"]


def test_a_tag_that_the_last_birth_no_longer_declared_does_not_die():
    rows = fed(NODE_BIRTH, message("NBIRTH", BD_SEQ, tag("Sine", 1))).feed(died())
    assert deaths(rows) == ["Sine"]


def test_what_gives_no_rows_while_alive_gives_none_on_a_death():
    birth = message(
        "NBIRTH",
        BD_SEQ,
        tag("Ramp", 0),
        tag("Hidden", 1),
        metric("Node Control/Rebirth", DataType.Boolean, boolean_value=False),
        metric("Photos", DataType.PropertySetList, bytes_value=b"JPEG"),
        metric("Motor", DataType.Template, is_null=True),
    )
    seen = fed(birth, wanted=lambda path: "Hidden" not in path)
    assert deaths(seen.feed(died())) == ["Ramp"]


def test_without_stale_rows_a_death_gives_none_and_births_keep_their_times():
    seen = fed(*BORN, emit_stale=False)
    assert not seen.feed(died())
    next_session = metric("bdSeq", DataType.Int64, long_value=2)
    [row] = seen.feed(message("NBIRTH", next_session, tag("Ramp", 0, 1.0), timestamp=REBORN_MS))
    assert row["event_time"] == MEASURED_MS * 1000
    assert not seen.counts


# Births after deaths


def test_the_first_birth_value_after_a_death_is_a_row_again_with_its_own_time():
    seen = fed(*BORN, died())
    rows = seen.feed(message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), timestamp=REBORN_MS))
    assert [row["event_time"] for row in rows] == [MEASURED_MS * 1000]
    assert rows[0]["event_id"] == seen.rows[0]["event_id"]
    # And so has what follows, rebirths included.
    rows = seen.feed(
        message("NDATA", change(0, 1.0), seq=1),
        message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), timestamp=REBORN_MS + 1),
    )
    assert {row["event_time"] for row in rows} == {MEASURED_MS * 1000}


def test_a_birth_value_that_is_newer_than_its_birth_keeps_its_time():
    ahead = metric("Ramp", DataType.Double, double_value=1.0, timestamp=REBORN_MS + 5)
    seen = fed(NODE_BIRTH, died())
    (row,) = seen.feed(message("NBIRTH", OTHER_BD_SEQ, ahead, timestamp=REBORN_MS))
    assert row["event_time"] == (REBORN_MS + 5) * 1000


def test_a_birth_without_a_time_changes_nothing_about_those_of_its_values():
    seen = fed(NODE_BIRTH, died())
    (row,) = seen.feed(
        message("NBIRTH", tag("Ramp", 0), timestamp=None, received_us=LATER + 9_000_000)
    )
    assert row["event_time"] == MEASURED_MS * 1000


def test_two_births_after_a_death_in_one_batch_are_read_as_in_two():
    births = [
        message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), timestamp=REBORN_MS + n) for n in (0, 1)
    ]
    together, apart = fed(NODE_BIRTH, died()), fed(NODE_BIRTH, died())
    together.feed(*births)
    for birth in births:
        apart.feed(birth)
    assert together.rows == apart.rows
    assert [row["event_time"] for row in without_deaths(together.rows)[2:]] == [MEASURED_MS * 1000]
    assert together.repeated == apart.repeated == 1


def test_a_death_and_a_birth_in_one_batch_count_in_their_order():
    reborn = message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), timestamp=REBORN_MS)
    rows = fed(NODE_BIRTH).feed(died(), reborn)
    assert [row["quality"] for row in rows] == ["STALE", "STALE", "GOOD"]
    assert rows[-1]["event_time"] == MEASURED_MS * 1000

    # The other way round the death is of an earlier session, or ends the new one.
    seen = fed(NODE_BIRTH)
    assert values(seen.feed(reborn, died())) == [("Sine", None)]  # which the birth leaves out
    assert (seen.counts, seen.repeated) == ({"death_of_other_session": 1}, 1)
    rows = fed(NODE_BIRTH).feed(reborn, died(OTHER_BD_SEQ))
    assert deaths(rows) == ["Ramp"]
    assert values(without_deaths(rows)) == [("Sine", None)]


def test_a_metric_that_comes_back_with_another_datatype_is_alive_again():
    seen = fed(NODE_BIRTH, died())
    retyped = metric("Ramp", DataType.Int32, alias=0, int_value=5)
    rows = seen.feed(message("NBIRTH", OTHER_BD_SEQ, retyped, tag("Sine", 1), timestamp=REBORN_MS))
    assert values(rows) == [("Ramp", 5.0), ("Sine", 0.0)]
    assert [row["event_time"] for row in rows] == 2 * [MEASURED_MS * 1000]
    assert latest(seen.rows) == {"Ramp": ("GOOD", 5.0), "Sine": ("GOOD", 0.0)}
    rows = seen.feed(died(OTHER_BD_SEQ))
    assert deaths(rows) == ["Ramp", "Sine"]
    assert {row["metric_name"]: row["data_type"] for row in rows} == {
        "Ramp": "Int32",
        "Sine": "Double",
    }


def test_of_births_in_one_batch_only_the_first_takes_back_whatever_datatype_the_next_has():
    seen = fed(NODE_BIRTH, died())
    retyped = metric("Ramp", DataType.Int32, alias=0, int_value=5)
    rows = seen.feed(
        message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), timestamp=REBORN_MS),
        message("NBIRTH", OTHER_BD_SEQ, retyped, timestamp=REBORN_MS + 1),
    )
    assert [row["data_type"] for row in rows] == ["Double", "Int32"]
    assert not seen.fleet.catalogue.states.stale[-1]
    assert deaths(seen.feed(died(OTHER_BD_SEQ))) == ["Ramp"]


def test_a_transient_birth_value_takes_nothing_back_because_it_gives_no_row():
    seen = fed(NODE_BIRTH, died())
    passing = metric("Ramp", DataType.Double, alias=0, double_value=1.0, is_transient=True)
    assert not seen.feed(message("NBIRTH", OTHER_BD_SEQ, passing, timestamp=REBORN_MS))
    assert latest(seen.rows)["Ramp"] == ("STALE", None)
    (row,) = seen.feed(message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), timestamp=REBORN_MS + 1))
    assert row["event_time"] == MEASURED_MS * 1000
    assert latest(seen.rows)["Ramp"] == ("GOOD", 0.0)


# The latest row of a tag


def test_the_latest_row_of_a_tag_tells_whether_it_is_alive():
    seen = fed(*BORN, message("NDATA", change(0, 1.0), seq=3))
    assert latest(seen.rows)["Ramp"][0] == "GOOD"
    seen.feed(died())
    assert set(latest(seen.rows).values()) == {("STALE", None)}
    seen.feed(
        message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0, 1.0), tag("Sine", 1), timestamp=REBORN_MS)
    )
    assert latest(seen.rows) == {
        "Ramp": ("GOOD", 1.0),
        "Sine": ("GOOD", 0.0),
        "Level": ("STALE", None),
        "Speed": ("STALE", None),
    }
    seen.feed(message("DBIRTH", tag("Level", 2), seq=1, timestamp=REBORN_MS))
    assert latest(seen.rows)["Level"] == ("GOOD", 0.0)
    assert latest(seen.rows)["Speed"] == ("STALE", None)


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "in reverse"])
def test_it_does_so_when_rows_are_replayed(order):
    seen = fed(*BORN, died())
    reborn = message("NBIRTH", OTHER_BD_SEQ, tag("Ramp", 0), tag("Sine", 1), timestamp=REBORN_MS)
    # A rebirth after it, and history from before the death, flushed late.
    late = metric(alias=0, double_value=9.0, is_historical=True, timestamp=MEASURED_MS - 1)
    seen.feed(reborn, reborn, message("NDATA", late, seq=1))
    rows = (seen.rows + seen.rows)[::order]
    expected = {"Ramp": ("GOOD", 0.0), "Sine": ("GOOD", 0.0)}
    assert {name: latest(rows)[name] for name in expected} == expected


def test_a_birth_that_leaves_everything_out_costs_no_more_when_much_is_retired_already():
    fleet, seconds = Fleet(), []
    for birth in range(6):
        tags = [tag(f"{birth}/{number}") for number in range(30_000)]
        births = (message("NBIRTH", BD_SEQ, *tags),)
        begun = time.thread_time()
        fleet.feed(births, 0.0)
        seconds.append(time.thread_time() - begun)
    # More than 100,000 are retired from the fifth birth on, and the oldest are forgotten.
    assert max(seconds[4:]) < 5 * min(seconds[1:4]), seconds
