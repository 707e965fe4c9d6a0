"""Rebirths repeat all values; those that say nothing new give no row (docs/decoding.md)."""

import pytest
from oracle.messages import MEASURED_MS
from support.columnar import Columnar, change, message, metric, tag, values

from sparkplug.datatypes import DataType

BIRTH = message("NBIRTH", tag("Ramp", 0), tag("Sine", 1))
DEVICE_BIRTH = message("DBIRTH", tag("Level", 2), seq=1)


def changed(name, value, alias, later_ms=1):
    """The value of a tag after its first."""
    return metric(
        name,
        DataType.Double,
        alias=alias,
        double_value=value,
        timestamp=MEASURED_MS + later_ms,
    )


def fed(*messages):
    seen = Columnar()
    seen.feed(*messages)
    return seen


def test_a_rebirth_that_says_nothing_new_gives_no_rows():
    seen = fed(BIRTH, DEVICE_BIRTH)
    assert len(seen.rows) == 3
    assert not seen.feed(BIRTH, DEVICE_BIRTH)
    assert seen.repeated == 3
    assert not seen.counts


def test_arrival_numbers_have_no_gaps_where_values_were_repeated():
    seen = fed(BIRTH, DEVICE_BIRTH)
    seen.feed(BIRTH, DEVICE_BIRTH, message("NDATA", change(0, 1.0), seq=2))
    assert [row["arrival_number"] for row in seen.rows] == [1, 2, 3, 4]


def test_history_in_between_does_not_make_what_a_birth_repeats_news():
    seen = fed(BIRTH)
    flushed = metric(alias=0, double_value=9.0, timestamp=MEASURED_MS - 1, is_historical=True)
    seen.feed(message("NDATA", flushed, seq=1))
    assert not seen.feed(BIRTH)
    assert seen.repeated == 2


def test_of_a_rebirth_only_what_changed_gives_rows():
    seen = fed(BIRTH)
    rows = seen.feed(message("NBIRTH", changed("Ramp", 1.0, 0), tag("Sine", 1), tag("New", 2)))
    assert values(rows) == [("Ramp", 1.0), ("New", 0.0)]
    assert seen.repeated == 1


@pytest.mark.parametrize(
    "other",
    [
        metric("Ramp", DataType.Double, alias=0, double_value=1.0),
        metric("Ramp", DataType.Double, alias=0, double_value=0.0, timestamp=MEASURED_MS + 1),
        metric("Ramp", DataType.Double, alias=0, double_value=0.0, quality=500),
        metric("Ramp", DataType.Double, alias=0, is_null=True),
    ],
    ids=["value", "time", "quality", "null"],
)
def test_a_birth_value_with_another_value_time_or_quality_is_news(other):
    rows = fed(BIRTH).feed(message("NBIRTH", other, tag("Sine", 1)))
    assert [row["metric_name"] for row in rows] == ["Ramp"]


def test_a_value_that_data_said_is_not_repeated_by_a_birth():
    said = metric(alias=0, double_value=1.0, timestamp=MEASURED_MS + 1)
    seen = fed(BIRTH, message("NDATA", said, seq=1))
    assert not seen.feed(message("NBIRTH", changed("Ramp", 1.0, 0), tag("Sine", 1)))
    assert seen.repeated == 2


def test_what_data_repeats_gives_a_row():
    """It may be what was lost elsewhere: only births are known to repeat."""
    said = message("NDATA", change(0, 0.0), seq=1)
    seen = fed(BIRTH)
    assert values(seen.feed(said)) == [("Ramp", 0.0)]
    assert seen.repeated == 0


def test_a_value_that_went_and_came_back_gives_a_row_again():
    seen = fed(BIRTH, message("NDATA", change(0, 1.0), seq=1))
    assert values(seen.feed(BIRTH)) == [("Ramp", 0.0)]


def test_two_births_in_one_batch_give_one_row_per_tag():
    seen = fed(BIRTH, BIRTH, DEVICE_BIRTH, DEVICE_BIRTH._replace(payload=b"\x18\x02"))
    assert values(seen.rows) == [
        *(("Ramp", 0.0), ("Sine", 0.0), ("Boiler/Level", 0.0)),
        ("Boiler/Level", None),  # which the last birth leaves out
    ]
    assert seen.repeated == 2


def test_within_a_batch_only_the_row_just_before_counts():
    seen = fed(BIRTH, message("NDATA", change(0, 1.0), seq=1), BIRTH)
    assert values(seen.rows) == [("Ramp", 0.0), ("Sine", 0.0), ("Ramp", 1.0), ("Ramp", 0.0)]
    assert seen.repeated == 1


def test_a_birth_that_declares_a_tag_twice_says_an_equal_value_once():
    seen = fed(message("NBIRTH", tag("Ramp", 0), tag("Ramp", 1)))
    assert values(seen.rows) == [("Ramp", 0.0)]
    assert seen.repeated == 1


def test_equal_values_of_different_tags_are_no_repetition():
    nodes = [message("NBIRTH", tag("Ramp", 0), tag("Sine", 1), node=node) for node in "AB"]
    seen = fed(*nodes)
    assert len({row["event_id"] for row in seen.rows}) == len(seen.rows) == 4


def test_after_rows_were_lost_births_bring_their_values_again():
    seen = fed(BIRTH)
    seen.tags.forget_last_rows()  # the spool had no room
    assert values(seen.feed(BIRTH)) == [("Ramp", 0.0), ("Sine", 0.0)]
    assert not seen.feed(BIRTH)


def test_after_tag_ids_were_handed_out_anew_a_birth_value_is_compared_with_its_own_tag():
    seen = fed(BIRTH)
    generation = seen.fleet.catalogue.generation
    for number in range(20):
        metrics = [tag(f"{number}.{each}") for each in range(1500)]
        seen.feed(message("NBIRTH", *metrics, node="Churn"))
    assert seen.fleet.catalogue.generation > generation
    before, repeated = seen.rows[:2], seen.repeated
    again = seen.feed(BIRTH)
    # What was said before is not known any more: it may land twice, as the same observation.
    assert [row["event_id"] for row in again] == [row["event_id"] for row in before]
    assert not seen.feed(BIRTH)
    assert seen.repeated == repeated + 2
    rows = seen.feed(message("NBIRTH", changed("Ramp", 1.0, 0), tag("Sine", 1)))
    assert values(rows) == [("Ramp", 1.0)]
