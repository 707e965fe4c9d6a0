"""Births, alias tables and names: which tag a metric of a data message is."""

import pytest
from support.columnar import Columnar, change, message, metric, tag, values

from sparkplug.datatypes import DataType

SPARSE = (2**64 - 1, 2**40, 7)


def fed(*batches, **options):
    seen = Columnar(**options)
    for batch in batches:
        seen.feed(*(batch if isinstance(batch, list) else [batch]))
    return seen


# What a birth declares


def test_alias_zero_is_an_alias_like_any_other():
    seen = fed(message("NBIRTH", tag("Ramp", 0), tag("Sine", 1)))
    rows = seen.feed(message("NDATA", change(0, 21.5), change(1, 2.0), seq=1))
    assert values(rows) == [("Ramp", 21.5), ("Sine", 2.0)]
    assert not seen.counts


def test_births_are_data():
    seen = Columnar()
    rows = seen.feed(message("NBIRTH", tag("Ramp", 0, 1.5)), message("DBIRTH", tag("T"), seq=1))
    assert [(row["message_type"], row["metric_name"]) for row in rows] == [
        ("NBIRTH", "Ramp"),
        ("DBIRTH", "T"),
    ]
    assert seen.births == [("Plant", "Edge")]


def test_births_give_no_rows_where_they_are_not_wanted_but_still_declare():
    seen = fed(message("NBIRTH", tag("Ramp", 0)), emit_births=False)
    assert not seen.rows
    assert values(seen.feed(message("NDATA", change(0, 3.0), seq=1))) == [("Ramp", 3.0)]


def test_a_birth_in_the_middle_of_a_batch_holds_for_what_follows_it():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    rows = seen.feed(
        message("NDATA", change(0, 1.0), seq=1),
        message("NBIRTH", tag("Sine", 0, 2.0)),
        message("NDATA", change(0, 3.0), seq=1),
    )
    assert values(rows) == [("Ramp", 1.0), ("Ramp", None), ("Sine", 2.0), ("Sine", 3.0)]
    assert not seen.counts


def test_a_birth_in_the_middle_of_a_batch_leaves_the_other_nodes_alone():
    seen = fed([message("NBIRTH", tag("Ramp", 0), node=node) for node in "AB"])
    rows = seen.feed(
        message("NDATA", change(0, 1.0), node="A", seq=1),
        message("NBIRTH", tag("Sine", 0, 2.0), node="B"),
        message("NDATA", change(0, 3.0), node="A", seq=2),
        message("NDATA", change(0, 4.0), node="B", seq=1),
    )
    assert values(rows) == [
        *(("Ramp", 1.0), ("Ramp", None), ("Sine", 2.0)),
        *(("Ramp", 3.0), ("Sine", 4.0)),
    ]
    assert [row["edge_node_id"] for row in rows] == ["A", "B", "B", "A", "B"]
    assert not seen.counts


def test_a_birth_of_the_node_voids_its_aliases():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0), tag("Sine", 1)),
        message("NBIRTH", tag("Ramp", 0)),
    )
    rows = seen.feed(message("NDATA", change(0, 1.0), change(1, 2.0), seq=1))
    assert values(rows) == [("Ramp", 1.0)]
    assert seen.counts == {"unknown_alias": 1}
    assert seen.rebirths == [("Plant", "Edge", "unknown_alias")]


def test_a_birth_of_the_node_ends_the_sessions_of_its_devices():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0)),
        message("DBIRTH", tag("Level", 5), seq=1),
        message("NBIRTH", tag("Ramp", 0)),
    )
    assert not seen.feed(message("DDATA", change(5, 1.0), seq=1))
    assert not seen.feed(message("NDATA", change(5, 1.0), seq=2))
    assert seen.counts == {"device_data_before_birth": 1, "unknown_alias": 1}


def test_a_birth_of_a_device_replaces_that_device_only():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0)),
        message("DBIRTH", tag("Level", 1), tag("Flow", 2), seq=1, device="Boiler"),
        message("DBIRTH", tag("Level", 3), seq=2, device="Chiller"),
        message("DBIRTH", tag("Steam", 1), seq=3, device="Boiler"),
    )
    rows = seen.feed(
        message("NDATA", change(0, 1.0), seq=4),
        message("DDATA", change(1, 2.0), change(2, 9.0), seq=5, device="Boiler"),
        message("DDATA", change(3, 3.0), seq=6, device="Chiller"),
    )
    assert values(rows) == [("Ramp", 1.0), ("Boiler/Steam", 2.0), ("Chiller/Level", 3.0)]
    assert seen.counts == {"unknown_alias": 1}


def test_the_datatype_of_the_birth_holds_whatever_data_says():
    seen = fed(message("NBIRTH", metric("N", DataType.Int8, alias=0, int_value=1)))
    (row,) = seen.feed(message("NDATA", metric("N", DataType.Double, int_value=255), seq=1))
    assert (row["data_type"], row["integer_value"]) == ("Int8", -1)


def test_a_rebirth_with_another_datatype_makes_another_tag():
    seen = fed(
        message("NBIRTH", metric("N", DataType.Int8, alias=0, int_value=1)),
        message("NBIRTH", metric("N", DataType.String, alias=0, string_value="one")),
    )
    (row,) = seen.feed(message("NDATA", metric(alias=0, string_value="two"), seq=1))
    assert (row["data_type"], row["string_value"]) == ("String", "two")
    assert len(seen.fleet.catalogue) == 2


def test_a_rebirth_with_the_same_metrics_keeps_all_tag_ids():
    births = [
        message("NBIRTH", tag("Ramp", 0), tag("Sine", 1)),
        message("DBIRTH", tag("Level", 2), seq=1),
    ]
    seen = fed(births)
    before = seen.fleet.feed([message("NDATA", change(1, 0.0), seq=2)]).observations[0].tag.tolist()
    for _ in range(50):
        seen.feed(*births)
    after = seen.fleet.feed([message("NDATA", change(1, 0.0), seq=2)]).observations[0].tag.tolist()
    assert before == after
    assert len(seen.fleet.catalogue) == seen.fleet.gauges.live_tags == 3


def test_of_equal_aliases_in_one_birth_none_holds():
    seen = fed(message("NBIRTH", tag("First", 4), tag("Second", 4)))
    assert not seen.feed(message("NDATA", change(4, 1.0), seq=1))
    assert seen.counts == {"duplicate_alias": 1, "unknown_alias": 1}


def test_of_equal_names_in_one_birth_the_later_holds_for_names():
    seen = fed(
        message(
            "NBIRTH",
            metric("N", DataType.Int32, alias=1, int_value=1),
            metric("N", DataType.String, alias=2, string_value="x"),
        )
    )
    rows = seen.feed(
        message("NDATA", metric("N", string_value="y"), metric(alias=1, int_value=7), seq=1)
    )
    assert [(r["data_type"], r["string_value"], r["integer_value"]) for r in rows] == [
        ("String", "y", None),
        ("Int32", None, 7),
    ]


# Names and aliases in data


def test_a_name_wins_over_an_alias():
    seen = fed(message("NBIRTH", tag("Ramp", 0), tag("Sine", 1)))
    rows = seen.feed(message("NDATA", metric("Sine", alias=0, double_value=1.0), seq=1))
    assert values(rows) == [("Sine", 1.0)]


def test_a_name_is_looked_up_in_its_own_node_or_device_only():
    seen = fed(message("NBIRTH", tag("Ramp")), message("DBIRTH", tag("Level"), seq=1))
    rows = seen.feed(
        message("NDATA", metric("Level", double_value=1.0), seq=2),
        message("DDATA", metric("Ramp", double_value=1.0), seq=3),
        message("DDATA", metric("Level", double_value=2.0), seq=4),
    )
    assert values(rows) == [("Boiler/Level", 2.0)]
    assert seen.counts == {"unknown_metric": 2}


def test_an_unknown_name_is_not_rescued_by_a_known_alias():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    assert not seen.feed(message("NDATA", metric("Rump", alias=0, double_value=1.0), seq=1))
    assert seen.counts == {"unknown_metric": 1}


def test_an_empty_name_is_no_name():
    seen = fed(message("NBIRTH", tag("Ramp", 0), tag("", 1)))
    assert values(seen.rows) == [("Ramp", 0.0)]
    rows = seen.feed(message("NDATA", metric("", alias=0, double_value=1.0), change(1, 2.0), seq=1))
    assert values(rows) == [("Ramp", 1.0)]
    assert seen.counts == {"metric_without_name": 1, "unknown_alias": 1}


def test_a_metric_with_neither_name_nor_alias_is_not_alias_zero():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    assert not seen.feed(message("NDATA", metric(double_value=1.0), seq=1))
    assert seen.counts == {"unknown_alias": 1}


def test_unknown_metrics_cost_only_themselves_and_one_wish_per_batch():
    seen = fed(message("NBIRTH", tag("Ramp", 0)))
    rows = seen.feed(
        message("NDATA", change(8, 1.0), change(0, 2.0), change(9, 3.0), seq=1),
        message("NDATA", change(8, 1.0), change(0, 4.0), seq=2),
    )
    assert values(rows) == [("Ramp", 2.0), ("Ramp", 4.0)]
    assert seen.counts == {"unknown_alias": 3}
    assert seen.rebirths == [("Plant", "Edge", "unknown_alias")]


def test_names_and_aliases_may_be_mixed_in_one_batch_of_many_nodes():
    seen = fed([message("NBIRTH", tag("Ramp", 0), node=node) for node in "ABC"])
    rows = seen.feed(
        message("NDATA", change(0, 1.0), node="A", seq=1),
        message("NDATA", metric("Ramp", double_value=2.0), node="B", seq=1),
        message("NDATA", node="A", seq=2),
        message("NDATA", change(0, 3.0), node="C", seq=1),
    )
    assert [(r["edge_node_id"], r["numeric_value"]) for r in rows] == [
        ("A", 1.0),
        ("B", 2.0),
        ("C", 3.0),
    ]


# Aliases over the whole node


def test_an_alias_of_a_device_may_be_used_at_node_level():
    seen = fed(message("NBIRTH"), message("DBIRTH", tag("Level", 5), seq=1))
    assert values(seen.feed(message("NDATA", change(5, 1.0), seq=2))) == [("Boiler/Level", 1.0)]


def colliding(*more):
    """A node and two devices that all number their aliases from 0, and a third without any."""
    return fed(
        message("NBIRTH", tag("Ramp", 0)),
        message("DBIRTH", tag("Level", 0), tag("Flow", 1), seq=1, device="Boiler"),
        message("DBIRTH", tag("Speed", 0), seq=2, device="Fan"),
        message("DBIRTH", tag("Idle"), seq=3, device="Pump"),
        *more,
    )


def test_devices_that_number_for_themselves_find_their_own_metrics_first():
    seen = colliding()
    rows = seen.feed(
        message("NDATA", change(0, 1.0), seq=4),
        message("DDATA", change(0, 2.0), change(1, 3.0), seq=5, device="Boiler"),
        message("DDATA", change(0, 4.0), change(1, 5.0), seq=6, device="Fan"),
    )
    assert values(rows) == [
        ("Ramp", 1.0),
        ("Boiler/Level", 2.0),
        ("Boiler/Flow", 3.0),
        ("Fan/Speed", 4.0),
        ("Boiler/Flow", 5.0),
    ]
    assert not seen.counts


def test_a_device_without_an_alias_finds_the_latest_birth_that_has_it():
    seen = colliding()
    assert values(seen.feed(message("DDATA", change(0, 1.0), seq=4, device="Pump"))) == [
        ("Fan/Speed", 1.0)
    ]
    seen.feed(message("DBIRTH", tag("Level", 0), seq=5, device="Boiler"))
    assert values(seen.feed(message("DDATA", change(0, 2.0), seq=6, device="Pump"))) == [
        ("Boiler/Level", 2.0)
    ]


def test_what_the_latest_birth_hid_is_found_again_after_its_death():
    seen = colliding(message("DDEATH", seq=4, device="Fan"))
    rows = seen.feed(
        message("DDATA", change(0, 1.0), seq=5, device="Pump"),
        message("NDATA", change(0, 2.0), seq=6),
    )
    assert values(rows) == [("Boiler/Level", 1.0), ("Ramp", 2.0)]


def test_a_birth_of_the_node_ends_a_collision():
    seen = colliding(message("NBIRTH", tag("Ramp", 0)), message("DBIRTH", tag("Level", 1), seq=1))
    rows = seen.feed(message("DDATA", change(0, 1.0), change(1, 2.0), seq=2))
    assert values(rows) == [("Ramp", 1.0), ("Boiler/Level", 2.0)]


def test_aliases_may_be_scattered_over_64_bits():
    seen = fed(message("NBIRTH", *(tag(f"T{alias}", alias) for alias in SPARSE)))
    rows = seen.feed(message("NDATA", *(change(alias, 1.0) for alias in SPARSE), seq=1))
    assert values(rows) == [(f"T{alias}", 1.0) for alias in SPARSE]
    assert not seen.feed(message("NDATA", change(2**63, 1.0), change(8, 1.0), seq=2))
    assert seen.counts == {"unknown_alias": 2}


def test_a_device_with_scattered_aliases_leaves_those_of_its_node_readable():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0), tag("Sine", 1)),
        message("DBIRTH", *(tag(f"T{alias}", alias) for alias in SPARSE), seq=1),
    )
    rows = seen.feed(
        message("NDATA", change(1, 1.0), change(2**40, 2.0), seq=2),
        message("DDATA", change(2**64 - 1, 3.0), change(0, 4.0), seq=3),
    )
    assert values(rows) == [
        ("Sine", 1.0),
        (f"Boiler/T{2**40}", 2.0),
        (f"Boiler/T{2**64 - 1}", 3.0),
        ("Ramp", 4.0),
    ]
    seen.feed(message("DDEATH", seq=4))
    assert not seen.feed(message("NDATA", change(2**40, 5.0), seq=5))


def test_aliases_of_devices_that_were_not_born_again_do_not_come_to_light():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0)),
        message("DBIRTH", tag("Speed", 7), seq=1, device="Fan"),
        message("NBIRTH", tag("Ramp", 0)),
        message("DBIRTH", tag("Level", 0), seq=1, device="Boiler"),
        message("DDEATH", seq=2, device="Boiler"),
    )
    rows = seen.feed(message("NDATA", change(0, 1.0), change(7, 2.0), seq=3))
    assert values(rows) == [("Ramp", 1.0)]
    assert seen.counts == {"unknown_alias": 1}


# In order or not


FAR = 2**40
NODE = [message("NBIRTH", tag("Ramp", 0), tag("Sine", 1), tag("", 2))]
DEVICES = [*NODE, message("DBIRTH", tag("Level", 3), seq=1)]
EQUAL = [*NODE, message("DBIRTH", tag("Level", 0), seq=1)]
SCATTERED = [*NODE, message("DBIRTH", tag("Level", FAR), seq=1)]
BOTH = [*SCATTERED, message("DBIRTH", tag("Speed", 0), tag("Flow", FAR), seq=2, device="Fan")]
EVERY_KIND = (
    *(change(alias, 1.0) for alias in (0, 1, 2, 3, FAR, 2**64 - 1)),
    *(metric(name, alias=1, double_value=2.0) for name in ("Ramp", "Level", "Speed", "")),
    metric(double_value=3.0),
)


@pytest.mark.parametrize("births", [NODE, DEVICES, EQUAL, SCATTERED, BOTH])
@pytest.mark.parametrize("verb", ["NDATA", "DDATA"])
def test_metrics_are_found_alike_in_order_and_after_a_gap(births, verb):
    """In order a batch is resolved at once, after a gap message by message."""
    found = []
    for gap in (0, 9):
        seen = fed(births)
        rows = seen.feed(message(verb, *EVERY_KIND, seq=len(births) + gap))
        assert seen.counts.pop("sequence_gap", 0) == (1 if gap else 0)
        found.append((values(rows), seen.counts))
    assert found[0] == found[1]
    assert found[0][0] or (births, verb) == (NODE, "DDATA")


def test_messages_of_all_kinds_in_one_batch_do_not_disturb_each_other():
    groups = {"A": NODE, "B": DEVICES, "C": EQUAL, "D": SCATTERED, "E": BOTH}
    alone, together = [], fed()
    data = []
    for group, births in groups.items():
        here = [each._replace(topic=each.topic.replace("Plant", group)) for each in births]
        more = [
            message(verb, *EVERY_KIND, group=group, seq=len(births) + n)
            for n, verb in enumerate(("NDATA", "DDATA" if group != "A" else "NDATA"))
        ]
        seen = fed(here)
        alone += [seen.feed(each) for each in more]
        together.feed(*here)
        data += more
    order = [*range(0, 10, 2), *range(1, 10, 2)]  # of each node the first, then the second
    rows = together.feed(*(data[n] for n in order))
    assert values(rows) == [pair for n in order for pair in values(alone[n])]
    assert "sequence_gap" not in together.counts
