"""When sessions begin and end, and what seq tells (specification 5.4 to 5.10)."""

import pytest
from oracle.messages import SENT_MS
from support.columnar import (
    Columnar,
    change,
    deaths,
    message,
    metric,
    tag,
    values,
    without_deaths,
)

from sparkplug.datatypes import DataType

BORN = [
    message("NBIRTH", tag("Ramp", 0)),
    message("DBIRTH", tag("Level", 1), seq=1),
]


def fed(*messages):
    seen = Columnar()
    seen.feed(*messages)
    return seen


def bd_seq(value, name="bdSeq", alias=None):
    """The metric that ties a death to its birth."""
    fields = {} if alias is None else {"alias": alias}
    return metric(name, DataType.Int64, long_value=value, **fields)


def death(*metrics):
    return message("NDEATH", *metrics, seq=None)


# seq


def test_seq_goes_from_255_to_0():
    seen = fed(message("NBIRTH", tag("Ramp", 0), seq=250))
    for seq in (251, 252, 253, 254, 255, 0, 1, 2):
        seen.feed(message("NDATA", change(0, float(seq)), seq=seq))
    assert [row["seq"] for row in seen.rows] == [250, 251, 252, 253, 254, 255, 0, 1, 2]
    assert not seen.counts


def test_seq_wraps_within_one_batch_too():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    rows = seen.feed(*(message("NDATA", change(0, 1.0), seq=n % 256) for n in range(1, 1000)))
    assert [row["seq"] for row in rows] == [n % 256 for n in range(1, 1000)]
    assert not seen.counts


def test_a_gap_is_counted_once_and_costs_no_data():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    rows = seen.feed(*(message("NDATA", change(0, float(seq)), seq=seq) for seq in (1, 4, 5, 6)))
    assert values(rows) == [("Ramp", float(seq)) for seq in (1, 4, 5, 6)]
    assert seen.counts == {"sequence_gap": 1}
    assert seen.rebirths == [("Plant", "Edge", "sequence_gap")]


def test_a_gap_is_seen_between_batches():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    seen.feed(message("NDATA", change(0, 1.0), seq=1))
    seen.feed(message("NDATA", change(0, 1.0), seq=3))
    seen.feed(message("NDATA", change(0, 1.0), seq=4))
    assert seen.counts == {"sequence_gap": 1}


@pytest.mark.parametrize("seq", [0, 2, 255])
def test_a_seq_that_repeats_or_goes_back_is_a_gap_where_nothing_waits(seq):
    seen = fed(message("NBIRTH", tag("Ramp", 0)), message("NDATA", seq=1), message("NDATA", seq=2))
    later = message("NDATA", change(0, 1.0), seq=seq, timestamp=SENT_MS + 1)
    assert values(seen.feed(later)) == [("Ramp", 1.0)]
    assert seen.counts == {"sequence_gap": 1, "late": 1}


def test_a_gap_of_one_node_is_none_of_another():
    seen = fed(*(message("NBIRTH", tag("Ramp", 0), node=node) for node in "AB"))
    rows = seen.feed(
        message("NDATA", change(0, 1.0), node="A", seq=1),
        message("NDATA", change(0, 2.0), node="B", seq=7),
        message("NDATA", change(0, 3.0), node="A", seq=2),
    )
    assert values(rows) == [("Ramp", 1.0), ("Ramp", 2.0), ("Ramp", 3.0)]
    assert seen.rebirths == [("Plant", "B", "sequence_gap")]


def test_an_absent_seq_is_read_as_0():
    seen = fed(message("NBIRTH", tag("Ramp", 0), seq=255))
    (row,) = seen.feed(message("NDATA", change(0, 1.0), seq=None))
    assert row["seq"] is None
    seen.feed(message("NDATA", change(0, 1.0), seq=1))
    assert not seen.counts


def test_births_data_and_device_deaths_share_one_seq():
    seen = fed(*BORN)
    seen.feed(
        message("NDATA", change(0, 1.0), seq=2),
        message("DDATA", change(1, 1.0), seq=3),
        message("DBIRTH", tag("Flow", 2), seq=4, device="Pump"),
        message("DDEATH", seq=5),
        message("NDATA", change(0, 1.0), seq=6),
    )
    assert not seen.counts


def test_commands_and_deaths_of_the_node_take_no_part_in_seq():
    seen = fed(*BORN, death(bd_seq(9)), message("NBIRTH", bd_seq(1), tag("Ramp", 0), seq=3))
    seen.feed(
        message("NCMD", tag("Ramp", None), seq=77),
        death(bd_seq(0)),
        message("NDATA", change(0, 1.0), seq=4),
    )
    assert "sequence_gap" not in seen.counts


def test_a_birth_starts_seq_anew_wherever_it_stands():
    seen = fed(message("NBIRTH", tag("Ramp", 0), seq=0), message("NDATA", seq=1))
    seen.feed(message("NBIRTH", tag("Ramp", 0), seq=40), message("NDATA", seq=41))
    assert not seen.counts


@pytest.mark.parametrize(
    ("seq", "column"), [(2**31 - 1, 2**31 - 1), (2**31, None), (2**64 - 1, None)]
)
def test_a_seq_that_no_int_holds_is_null_and_counts_on_by_its_remainder(seq, column):
    seen = fed(message("NBIRTH", tag("Ramp", 0), seq=250))
    (row,) = seen.feed(message("NDATA", change(0, 1.0), seq=seq))
    assert row["seq"] == column
    seen.feed(message("NDATA", change(0, 1.0), seq=(seq + 1) % 256))
    assert seen.counts == {"sequence_gap": 1}


# Before the birth


@pytest.mark.parametrize("verb", ["NDATA", "DBIRTH", "DDATA", "DDEATH"])
def test_a_node_is_not_read_before_its_birth(verb):
    seen = fed(message(verb, tag("Ramp", 0)))
    assert not seen.rows
    assert seen.counts == {"data_before_birth": 1}
    assert seen.rebirths == [("Plant", "Edge", "data_before_birth")]
    assert seen.fleet.gauges.node_count == 0


@pytest.mark.parametrize("verb", ["DDATA", "DDEATH"])
def test_a_device_is_not_read_before_its_birth(verb):
    seen = fed(message("NBIRTH", tag("Ramp", 0)), message(verb, change(0, 1.0), seq=1))
    assert values(seen.rows) == [("Ramp", 0.0)]
    assert seen.counts == {"device_data_before_birth": 1}
    assert seen.rebirths == [("Plant", "Edge", "device_data_before_birth")]


def test_data_before_the_birth_in_one_batch_is_read_as_what_waited_for_it():
    seen = fed(
        message("NDATA", metric("Ramp", double_value=1.0), seq=7),
        message("NBIRTH", tag("Ramp", 0, 2.0)),
        message("NDATA", change(0, 3.0), seq=1),
    )
    assert [
        (*each, row["is_historical"])
        for each, row in zip(values(seen.rows), seen.rows, strict=True)
    ] == [
        ("Ramp", 2.0, False),
        ("Ramp", 1.0, True),
        ("Ramp", 3.0, False),
    ]
    assert seen.counts == {"data_before_birth": 1}


# Deaths


def test_a_death_ends_the_sessions_of_node_and_devices():
    seen = fed(*BORN)
    rows = seen.feed(
        death(),
        message("NDATA", change(0, 1.0), seq=2),
        message("DDATA", change(1, 1.0), seq=3),
    )
    assert deaths(rows) == ["Boiler/Level", "Ramp"]
    assert not without_deaths(rows)
    assert seen.counts == {"data_before_birth": 2}


def test_after_a_death_a_birth_brings_the_node_back_but_not_its_devices():
    seen = fed(*BORN, death())
    rows = seen.feed(
        message("NBIRTH", tag("Ramp", 0, 1.0)),
        message("NDATA", change(0, 2.0), seq=1),
        message("DDATA", change(1, 3.0), seq=2),
    )
    assert values(rows) == [("Ramp", 1.0), ("Ramp", 2.0)]
    assert seen.counts == {"device_data_before_birth": 1}


def test_a_death_of_another_session_is_ignored():
    seen = fed(message("NBIRTH", bd_seq(4), tag("Ramp", 0)))
    rows = seen.feed(death(bd_seq(3)), message("NDATA", change(0, 1.0), seq=1))
    assert values(rows) == [("Ramp", 1.0)]
    assert seen.counts == {"death_of_other_session": 1}
    assert not seen.rebirths


@pytest.mark.parametrize("field", ["int_value", "long_value"])
def test_a_death_of_this_session_is_believed_in_either_integer_field(field):
    born = metric("bdSeq", DataType.Int64, long_value=4)
    seen = fed(message("NBIRTH", born, tag("Ramp", 0)))
    seen.feed(death(metric("bdSeq", DataType.Int64, **{field: 4})))
    seen.feed(message("NDATA", change(0, 1.0), seq=1))
    assert seen.counts == {"data_before_birth": 1}


@pytest.mark.parametrize(
    ("born_with", "died_with"),
    [([bd_seq(4)], []), ([], [bd_seq(4)]), ([], []), ([bd_seq(4)], [metric("bdSeq", 4)])],
    ids=["death without", "birth without", "neither", "death with a null"],
)
def test_where_a_side_lacks_the_bd_seq_the_death_is_believed(born_with, died_with):
    seen = fed(message("NBIRTH", *born_with, tag("Ramp", 0)), death(*died_with))
    seen.feed(message("NDATA", change(0, 1.0), seq=1))
    assert seen.counts == {"data_before_birth": 1}


@pytest.mark.parametrize(("value", "dies"), [(4, True), (3, False)])
def test_the_only_metric_of_a_death_is_the_bd_seq_if_it_has_no_name(value, dies):
    seen = fed(message("NBIRTH", bd_seq(4, alias=9), tag("Ramp", 0)))
    rows = seen.feed(
        death(bd_seq(value, name=None, alias=9)), message("NDATA", change(0, 1.0), seq=1)
    )
    assert deaths(rows) == (["Ramp"] if dies else [])
    assert values(without_deaths(rows)) == ([] if dies else [("Ramp", 1.0)])


def test_a_nameless_metric_among_others_is_not_taken_for_the_bd_seq():
    seen = fed(message("NBIRTH", bd_seq(4), tag("Ramp", 0)))
    seen.feed(death(bd_seq(3, name=None), tag("Other")), message("NDATA", seq=1))
    assert seen.counts == {"data_before_birth": 1}


def test_the_bd_seq_of_the_latest_birth_counts():
    seen = fed(
        message("NBIRTH", bd_seq(4), tag("Ramp", 0)), message("NBIRTH", bd_seq(5), tag("Ramp", 0))
    )
    seen.feed(death(bd_seq(4)))
    assert values(seen.feed(message("NDATA", change(0, 1.0), seq=1))) == [("Ramp", 1.0)]
    seen.feed(death(bd_seq(5)), message("NDATA", change(0, 1.0), seq=2))
    assert seen.counts == {"death_of_other_session": 1, "data_before_birth": 1}


def test_a_death_that_finds_no_session_is_counted():
    seen = fed(death(bd_seq(0)), *BORN, death(), death())
    assert seen.counts == {"death_of_other_session": 2}


def test_a_death_in_the_middle_of_a_batch_holds_for_what_follows_it():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    rows = seen.feed(
        message("NDATA", change(0, 1.0), seq=1), death(), message("NDATA", change(0, 2.0), seq=2)
    )
    assert values(rows) == [("Ramp", 1.0), ("Ramp", None)]
    assert deaths(rows) == ["Ramp"]


def test_a_death_of_a_device_ends_that_device_and_its_aliases():
    seen = fed(*BORN, message("DBIRTH", tag("Speed", 2), seq=2, device="Fan"))
    rows = seen.feed(
        message("DDEATH", seq=3),
        message("DDATA", change(1, 1.0), seq=4),
        message("NDATA", change(1, 2.0), seq=5),
        message("DDATA", change(2, 3.0), seq=6, device="Fan"),
    )
    assert values(rows) == [("Boiler/Level", None), ("Fan/Speed", 3.0)]
    assert seen.counts == {"device_data_before_birth": 1, "unknown_alias": 1}


def test_a_device_may_be_born_again_after_its_death():
    seen = fed(*BORN, message("DDEATH", seq=2), message("DBIRTH", tag("Level", 7), seq=3))
    rows = seen.feed(message("DDATA", change(7, 1.0), seq=4))
    assert values(rows) == [("Boiler/Level", 1.0)]
    assert len(seen.fleet.catalogue) == 2
    assert not seen.counts


UNREADABLE = b"\xff\xff"


def test_a_birth_that_cannot_be_read_ends_the_session_whose_aliases_it_changed():
    torn = message("NBIRTH", tag("Other", 0))._replace(payload=UNREADABLE)
    seen = Columnar()
    seen.feed(
        message("NBIRTH", tag("Ramp", 0)),
        message("NDATA", change(0, 1.0), seq=1),
        torn,
        message("NDATA", change(0, 2.0), seq=1),
    )
    assert values(seen.rows) == [("Ramp", 0.0), ("Ramp", 1.0)]
    assert seen.counts == {"bad_payload": 1, "data_before_birth": 1}
    rows = seen.feed(message("NBIRTH", tag("Other", 0)))
    assert values(rows) == [("Ramp", None), ("Other", 0.0), ("Other", 2.0)]


def test_a_device_birth_that_cannot_be_read_ends_that_device_alone():
    torn = message("DBIRTH", tag("Other", 1), seq=2)._replace(payload=UNREADABLE)
    seen = Columnar()
    seen.feed(message("NBIRTH", tag("Ramp", 0)), message("DBIRTH", tag("Sine", 1), seq=1))
    rows = seen.feed(
        torn,
        message("NDATA", change(0, 1.0), seq=3),
        message("DDATA", change(1, 1.0), seq=4),
    )
    assert values(rows) == [("Ramp", 1.0)]
    assert seen.counts == {"bad_payload": 1, "sequence_gap": 1, "device_data_before_birth": 1}
