"""Views of templates: a column per member, a row per instance and time, out of real births."""

from __future__ import annotations

import contextlib
import re

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.messages import SENT_MS
from support.columnar import change, message, metric, tag
from support.models import (
    METADATA,
    TABLE,
    Landing,
    analysed,
    in_duckdb,
    known_on_disk,
    models_on_disk,
)
from support.template_messages import definition, instance, member, nested, part, reading

from consumer.setup import template_models, template_views, trend_view
from consumer.setup.databricks import models
from consumer.setup.databricks.models_columns import MOST_COLUMNS, Declared
from sparkplug.datatypes import DataType
from sparkplug.host.templates import structured
from sparkplug.pb.sparkplug_b_pb2 import Metric

AT = SENT_MS - 100_000
"""When the instances of births were measured, in milliseconds since 1970."""


class Plant:
    """Edge nodes that publish templates, the tables that come of it, and the views over them."""

    def __init__(self, directory, **options):
        self.landing = Landing(**options)
        self._directory = directory
        self._seq = {}

    def says(self, verb, *metrics, node="Edge", at_ms=AT, **more):
        """One message of an edge node, in its order."""
        seq = 0 if verb == "NBIRTH" else self._seq.get(node, -1) + 1
        self._seq[node] = seq
        self.landing.hears(message(verb, *metrics, node=node, seq=seq, timestamp=at_ms, **more))

    def born(self, *metrics, **more):
        self.says("NBIRTH", *metrics, **more)

    def models(self):
        """The templates of the table as it is now."""
        path = self._directory / f"metadata {len(self.landing.metadata)}"
        if not path.exists():
            write_deltalake(path, self.landing.tables()["tag_metadata"])
        return models_on_disk(path)

    def known(self):
        self.models()
        return known_on_disk(self._directory / f"metadata {len(self.landing.metadata)}")

    @contextlib.contextmanager
    def views(self, models=None, times=1):
        tables = {
            name: pa.concat_tables([rows] * times) for name, rows in self.landing.tables().items()
        }
        with analysed(tables, self.models() if models is None else models) as database:
            yield database

    def shows(self, query, **options):
        """The answer to a query, rows in order."""
        with self.views(**options) as database:
            return database.sql(query + " ORDER BY ALL").fetchall()


@pytest.fixture
def plant(tmp_path):
    return Plant(tmp_path)


def motor(name="M1", *members, at=AT, **fields):
    return instance(name, *(members or (member("speed", 1.0),)), timestamp=at, **fields)


def after(milliseconds):
    """A time in the node's life, as views are asked for it."""
    return AT + milliseconds


def typed(name, data_type, **value):
    return Metric(name=name, datatype=data_type, **(value or {"is_null": True}))


# Rows and columns


def test_a_view_has_a_row_for_each_instance_and_time_and_a_column_for_each_member(plant):
    plant.born(
        motor("M1", member("speed", 1.0), member("load", 2.0), alias=1), motor("M2", alias=2)
    )
    plant.says("NDATA", part(1, reading("speed", 1.5), timestamp=after(10)))
    plant.says("NDATA", part(1, reading("load", 2.5), reading("speed", 1.6), timestamp=after(20)))
    query = (
        "SELECT instance, epoch_ms(event_time) - {}, speed, load, members_changed FROM udt_motor"
    )
    assert plant.shows(query.format(AT)) == [
        ("M1", 0, 1.0, 2.0, 2),
        ("M1", 10, 1.5, None, 1),
        ("M1", 20, 1.6, 2.5, 2),
        ("M2", 0, 1.0, None, 1),
    ]
    assert plant.shows(query.format(AT).replace("udt_motor", "udt_motor_filled")) == [
        ("M1", 0, 1.0, 2.0, 2),
        ("M1", 10, 1.5, 2.0, 1),
        ("M1", 20, 1.6, 2.5, 2),
        ("M2", 0, 1.0, None, 1),
    ]
    assert plant.shows("SELECT instance, speed, load, members FROM udt_motor_latest") == [
        ("M1", 1.6, 2.5, 2),
        ("M2", 1.0, None, 1),
    ]


def test_members_of_nested_instances_have_dotted_columns_and_a_view_of_their_own(plant):
    bearing = nested("bearing", member("temp", 20.0), ref="Bearing")
    plant.born(motor("Line 1/M1", member("speed", 1.0), bearing, alias=1))
    inner = nested("bearing", reading("temp", 21.0))
    plant.says("NDATA", part(1, inner, timestamp=after(10)))
    assert plant.shows('SELECT instance, speed, "bearing.temp" FROM udt_motor_filled') == [
        ("Line 1/M1", 1.0, 20.0),
        ("Line 1/M1", 1.0, 21.0),
    ]
    assert plant.shows("SELECT instance, temp FROM udt_bearing") == [
        ("Line 1/M1/bearing", 20.0),
        ("Line 1/M1/bearing", 21.0),
    ]


def test_a_template_of_nothing_but_instances_has_a_view(plant):
    line = instance("L", nested("M1", member("speed", 1.0), ref="Motor"), ref="Line", timestamp=AT)
    plant.born(line)
    assert plant.shows('SELECT instance, "M1.speed" FROM udt_line') == [("L", 1.0)]


def test_a_member_with_a_slash_in_its_name_is_no_instance(plant):
    plant.born(motor("A/M", member("drive/load", 1.0), member("drive/speed", 2.0)))
    columns = '"drive.load", "drive.speed"'
    assert plant.shows(f"SELECT instance, {columns} FROM udt_motor") == [("A/M", 1.0, 2.0)]


def test_instances_of_devices_and_of_nodes_are_told_apart(plant):
    plant.born(motor("M"))
    plant.says("DBIRTH", motor("M", member("speed", 2.0)), device="Press")
    assert plant.shows("SELECT device_id, instance, speed FROM udt_motor") == [
        ("Press", "M", 2.0),
        (None, "M", 1.0),
    ]


def test_an_instance_that_is_born_later_shows_without_a_new_view(plant):
    plant.born(motor("M1"))
    before = plant.models()
    plant.born(motor("M1"), motor("M2", member("speed", 7.0)))
    shown = plant.shows("SELECT instance, speed FROM udt_motor_latest", models=before)
    assert shown == [("M1", 1.0), ("M2", 7.0)]


def test_what_arrives_twice_changes_nothing(plant):
    plant.born(motor("M1", member("speed", 1.0), member("load", 2.0), alias=1))
    plant.says("NDATA", part(1, reading("speed", 1.5), timestamp=after(10)))
    for view in ("udt_motor", "udt_motor_filled", "udt_motor_latest", "tag_events_trend"):
        query = f"SELECT md5(CAST(v AS VARCHAR)) FROM {view} AS v"
        assert plant.shows(query) == plant.shows(query, times=2), view


def test_of_two_values_of_one_time_the_last_word_counts(plant):
    plant.born(motor(alias=1))
    plant.says("NDATA", part(1, reading("speed", 2.0), timestamp=AT))
    assert plant.shows("SELECT speed FROM udt_motor") == [(2.0,)]


TYPES = [
    (DataType.Int8, {"int_value": 2**32 - 5}, "BIGINT", "-5"),
    (DataType.UInt32, {"int_value": 2**32 - 1}, "BIGINT", "4294967295"),
    (DataType.Int64, {"long_value": 2**63 - 1}, "BIGINT", "9223372036854775807"),
    (DataType.UInt64, {"long_value": 2**64 - 1}, "DECIMAL(20,0)", "18446744073709551615"),
    (DataType.UInt64, {"long_value": 7}, "DECIMAL(20,0)", "7"),
    (DataType.Float, {"float_value": 0.5}, "DOUBLE", "0.5"),
    (DataType.Double, {"double_value": float("nan")}, "DOUBLE", None),
    (DataType.Boolean, {"boolean_value": True}, "BOOLEAN", "true"),
    (DataType.DateTime, {"long_value": 1}, "TIMESTAMP", "1970-01-01 00:00:00.001+00"),
    (DataType.String, {"string_value": "ä'\\"}, "STRING", "ä'\\"),
    (DataType.Int8Array, {"bytes_value": b"\1\2"}, "STRING", "[1,2]"),
]


@pytest.mark.parametrize(("data_type", "value", "delta_type", "text"), TYPES)
def test_a_column_has_the_type_of_its_member(plant, data_type, value, delta_type, text):
    plant.born(motor("M", typed("x", data_type, **value)))
    assert [column.delta_type for column in plant.models()[0].columns] == [delta_type]
    for view in ("udt_motor", "udt_motor_filled", "udt_motor_latest"):
        assert plant.shows(f"SELECT CAST(x AS VARCHAR) FROM {view}") == [(text,)]


# Definitions that change, or differ


def test_columns_are_those_of_all_births_so_far(plant):
    plant.born(motor("M", member("speed", 1.0), member("old", 2.0), at=after(0)))
    plant.born(motor("M", member("speed", 3.0), member("new", 4.0), at=after(10)), at_ms=after(10))
    rows = plant.shows("SELECT epoch_ms(event_time), old, speed, new FROM udt_motor")
    assert [row[1:] for row in rows] == [(2.0, 1.0, None), (None, 3.0, 4.0)]
    assert plant.shows("SELECT old, new, quality FROM udt_motor_latest") == [(None, 4.0, "GOOD")]
    filled = "SELECT quality FROM udt_motor_filled"
    assert plant.shows(filled) == [("GOOD",)] * 2  # the end of a member is not that of the motor


def test_a_member_that_only_a_definition_has_is_a_column(plant):
    plant.born(definition("_types_/Motor", member("speed"), member("spare")), motor("M"))
    assert plant.shows("SELECT speed, spare FROM udt_motor") == [(1.0, None)]


@pytest.mark.parametrize(
    ("first", "second", "delta_type"),
    [
        (DataType.Int16, DataType.Int64, "BIGINT"),
        (DataType.Int32, DataType.UInt64, "DECIMAL(20,0)"),
        (DataType.Int32, DataType.Double, "DOUBLE"),
        (DataType.UInt64, DataType.Float, "DOUBLE"),
    ],
)
def test_numbers_of_several_types_are_one_column_that_is_wide_enough(first, second, delta_type):
    declared = [Declared("T", "x", first.name, "1"), Declared("T", "x", second.name, "2")]
    for order in (declared, declared[::-1]):
        ((column,),) = [model.columns for model in template_models(order, "udt_")]
        assert (column.name, column.delta_type, column.is_alone) == ("x", delta_type, True)


def test_a_member_that_becomes_text_gets_another_column_and_keeps_the_first(plant):
    plant.born(motor("M", typed("x", DataType.Int32, int_value=5)))
    text = typed("x", DataType.String, string_value="6")
    plant.born(motor("M", text, at=after(10)), at_ms=after(10))
    assert plant.shows("SELECT x, x_as_text FROM udt_motor") == [(5, None), (None, "6")]
    assert plant.shows("SELECT x, x_as_text FROM udt_motor_filled") == [(5, None), (None, "6")]
    assert plant.shows("SELECT x, x_as_text FROM udt_motor_latest") == [(None, "6")]


def test_nodes_with_different_definitions_of_one_name_share_a_view(plant):
    plant.born(motor("M", member("speed", 1.0)), node="East")
    plant.born(motor("M", member("speed", 2.0), member("load", 3.0)), node="West")
    assert plant.shows("SELECT edge_node_id, speed, load FROM udt_motor") == [
        ("East", 1.0, None),
        ("West", 2.0, 3.0),
    ]


# Quality


def test_the_quality_of_a_row_is_the_worst_of_its_members(plant):
    bad = {"keys": ["Quality"], "values": [{"type": 3, "int_value": 0}]}
    plant.born(motor("M", member("speed", 1.0), member("load", 2.0), alias=1))
    plant.says(
        "NDATA", part(1, Metric(name="load", double_value=2.5, properties=bad), timestamp=after(10))
    )
    plant.says("NDATA", part(1, reading("speed", 1.5), timestamp=after(20)))
    asked = "SELECT epoch_ms(event_time) - {}, quality, load FROM {}"
    assert plant.shows(asked.format(AT, "udt_motor")) == [
        (0, "GOOD", 2.0),
        (10, "BAD", 2.5),
        (20, "GOOD", None),
    ]
    assert plant.shows(asked.format(AT, "udt_motor_filled")) == [
        (0, "GOOD", 2.0),
        (10, "BAD", 2.5),
        (20, "BAD", 2.5),
    ]
    assert plant.shows("SELECT quality, speed, load FROM udt_motor_latest") == [("BAD", 1.5, 2.5)]


def test_a_member_that_is_null_does_not_show_the_value_before(plant):
    plant.born(motor("M", member("speed", 1.0), member("load", 2.0), alias=1))
    plant.says("NDATA", part(1, Metric(name="load", is_null=True), timestamp=after(10)))
    plant.says("NDATA", part(1, reading("speed", 1.5), timestamp=after(20)))
    filled = "SELECT epoch_ms(event_time) - {}, speed, load FROM udt_motor_filled"
    assert plant.shows(filled.format(AT)) == [(0, 1.0, 2.0), (10, 1.0, None), (20, 1.5, None)]


def test_a_dead_instance_is_stale_and_has_no_values(plant):
    plant.born(motor("M", member("speed", 1.0), member("load", 2.0)))
    plant.says("NDEATH")
    for view in ("udt_motor", "udt_motor_filled"):
        shown = plant.shows(f"SELECT epoch_us(event_time), quality, speed, load FROM {view}")
        assert [row[1:] for row in shown] == [("GOOD", 1.0, 2.0), ("STALE", None, None)], view
    assert plant.shows("SELECT quality, speed FROM udt_motor_latest") == [("STALE", None)]


def test_history_stands_at_its_own_time_and_is_not_the_latest(plant):
    plant.born(motor("M", alias=1, at=after(50)))
    plant.says("NDATA", part(1, reading("speed", 0.5), timestamp=after(10), is_historical=True))
    assert plant.shows(f"SELECT epoch_ms(event_time) - {AT}, speed FROM udt_motor") == [
        (10, 0.5),
        (50, 1.0),
    ]
    assert plant.shows("SELECT speed FROM udt_motor_latest") == [(1.0,)]


# What has no view


def test_tags_of_no_template_have_none(plant):
    plant.born(tag("Line 1/M1/speed"))  # by a gateway that converts its UDTs
    assert plant.models() == []
    assert plant.known()[1:] == (0, 0, 0)


def test_instances_that_name_no_template_are_counted(plant):
    plant.born(motor("M", ref=None), motor("N", member("a"), member("b"), ref=None))
    assert plant.models() == []
    assert plant.known()[1:] == (0, 3, 0)


def test_tags_whose_instances_an_earlier_release_did_not_write_are_counted(plant):
    plant.born(motor("M"), motor("N", nested("b", member("x"), ref=None)))
    for row in plant.landing.metadata:
        if row["metric_name"] == "M/speed":
            del row["properties"]
    assert plant.known()[1:] == (1, 1, 0)


def test_members_with_names_that_are_too_long_are_counted(plant):
    plant.born(motor("M", member("m" * 395, 1.0), member("n" * 396, 1.0)))
    (model,) = plant.models()
    assert [column.member[0] for column in model.columns] == ["m"]
    assert plant.known()[1:] == (0, 0, 1)


def test_of_too_many_members_those_that_were_told_first_have_columns(plant, monkeypatch):
    plant.born(motor("M", member("z", 1.0)))
    plant.born(motor("M", *(member(name, 1.0) for name in "zab")), at_ms=AT + 10)
    monkeypatch.setattr(models, "MOST_MEMBERS", 2)
    (model,) = plant.models()
    assert [column.member for column in model.columns] == ["z", "a"]


def test_the_first_birth_that_a_later_release_reads_tells_them_of_all_rows(plant, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(structured, "told_of", lambda each, _: [None] * len(each[0].members))
        plant.born(motor("M", alias=1))
        plant.says("NDATA", part(1, reading("speed", 2.0), timestamp=after(10)))
    assert plant.models() == []
    plant.landing.fleet.catalogue.states.describe_again()  # as at every start
    plant.born(motor("M", member("speed", 3.0), at=after(20)), at_ms=after(20))
    assert plant.known()[1:] == (0, 0, 0)
    assert plant.shows("SELECT speed FROM udt_motor") == [(1.0,), (2.0,), (3.0,)]


# Names


def test_names_that_only_differ_in_capitals_get_marks_and_the_first_keeps_its_own():
    models = template_models(
        [
            Declared("motor", "x", "Double", "2"),
            Declared("Motor", "Speed", "Double", "1"),
            Declared("Motor", "speed", "Double", "2"),
            Declared("Motor", "quality", "Double", "1"),
            Declared("Motor", "a b", "Double", "1"),
            Declared("Motor", "a-b", "Double", "1"),
        ],
        "udt_",
    )
    assert models[0].view == "udt_motor"
    assert re.fullmatch(r"udt_motor_[0-9a-f]{8}", models[1].view)
    names = {column.member: column.name for column in models[0].columns}
    assert names["Speed"] == "Speed"
    assert re.fullmatch(r"speed_[0-9a-f]{8}", names["speed"])
    assert re.fullmatch(r"quality_[0-9a-f]{8}", names["quality"])
    assert names["a b"] == "a_b"
    assert re.fullmatch(r"a_b_[0-9a-f]{8}", names["a-b"])


def test_a_node_that_comes_late_with_a_clock_that_is_behind_renames_nothing(plant):
    plant.born(motor("M", member("speed", 1.0)), node="East")
    plant.born(motor("M", member("Speed", 2.0), at=1000), node="West", at_ms=1000)
    names = [column.name for column in plant.models()[0].columns]
    assert names[0] == "speed"
    assert re.fullmatch(r"Speed_[0-9a-f]{8}", names[1])


def test_no_view_takes_the_name_of_another_one():
    models = template_models(
        [
            Declared("A", "x", "Double", "1"),
            Declared("A_latest", "x", "Double", "2"),
            Declared("events", "x", "Double", "3"),
        ],
        "tag_",
        ["tag_events", "tag_events_latest"],
    )
    views = [model.view + end for model in models for end in ("", "_filled", "_latest")]
    assert len({*views, "tag_events", "tag_events_latest"}) == len(views) + 2


NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(
    [
        "'; DROP TABLE tag_events; --",
        "`",
        "\\",
        "a\\",
        "\n",
        "*/",
        "${x}",
        "ä",
        "A",
        "a",
        "",
        "/",
        "a/",
    ]
)
DECLARED = st.builds(
    Declared,
    st.sampled_from(["T", "t", "'--\n", "T\\"]),
    NAMES,
    st.sampled_from([data_type.name for data_type in DataType]),
    st.sampled_from(["1", "2", "3"]),
)


@given(st.lists(DECLARED, min_size=1, max_size=12))
@settings(max_examples=25)
def test_whatever_names_are_the_texts_are_the_views_and_nothing_else(declared):
    models = template_models(declared, "udt_")
    assert len({model.view for model in models}) == len({each.template for each in declared})
    for model in models:
        names = [column.name.lower() for column in model.columns]
        assert len({*names}) == len(names)
        assert all(re.fullmatch(r"[a-z0-9_.]+", name, re.ASCII) for name in names)
        for text in template_views(TABLE, METADATA, model):
            code = re.sub(r"--.*", "", text)
            assert code.isascii()
            assert "\\" not in code
            # A comment that ends with a backslash would go on in the next line.
            assert not any(line.endswith("\\") for line in text.splitlines())
            assert text.count("\n") == len(text.splitlines())
            assert len(in_duckdb(text)) == 1


@given(st.sets(st.tuples(NAMES, st.integers(0, 9)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_what_later_births_bring_renames_nothing(found):
    early = [Declared("T", name, "Double", str(second)) for name, second in found if second < 5]
    all_of_them = [Declared("T", name, "Double", str(second)) for name, second in found]
    before = {c.member: c.name for m in template_models(early, "udt_") for c in m.columns}
    after_all = {c.member: c.name for m in template_models(all_of_them, "udt_") for c in m.columns}
    assert before.items() <= after_all.items()


HOSTILE = (
    "it's",
    "a`b",
    "x\\",
    "two\nlines",
    "*/",
    "'; DROP TABLE tag_events; --",
    "Größe",
    "ñ/😀",
)


def test_members_with_hostile_names_have_their_values(plant):
    members = [member(name, float(index)) for index, name in enumerate(HOSTILE)]
    for template in HOSTILE:
        plant.born(
            motor(f"i {template}", *members, ref=template), node=str(HOSTILE.index(template))
        )
    models = plant.models()
    assert {model.template for model in models} == {*HOSTILE}
    with plant.views() as database:
        for model in models:
            for end in ("", "_filled", "_latest"):
                columns = ", ".join(f'"{column.name}"' for column in model.columns)
                rows = database.sql(f"SELECT instance, {columns} FROM {model.view}{end}").fetchall()
                values = [float(HOSTILE.index(column.member)) for column in model.columns]
                assert rows == [(f"i {model.template}", *values)]
        assert database.sql("SELECT count(*) FROM tag_events").fetchall() == [(len(HOSTILE) ** 2,)]


def test_columns_beyond_the_bound_are_left_out_and_counted():
    many = [Declared("T", f"m{n:04}", "Double", "1") for n in range(MOST_COLUMNS + 3)]
    (model,) = template_models([*many, Declared("T", "a", "Double", "2")], "udt_")
    assert (len(model.columns), model.left_out) == (MOST_COLUMNS, 4)
    assert model.columns[-1].name == f"m{MOST_COLUMNS - 1:04}"
    for text in template_views(TABLE, METADATA, model):
        assert "4 more columns are left out" in text


# All tags


def test_trends_have_each_tag_and_time_once_with_quality_and_how_long_it_held(plant):
    switch = metric("On", DataType.Boolean, boolean_value=True, timestamp=AT)
    plant.born(switch, tag("Ramp", alias=1) | {"timestamp": AT})
    plant.says("NDATA", change(1, 3.0) | {"timestamp": after(10)})
    plant.says("NDATA", change(1, 4.0) | {"timestamp": after(10)})
    columns = "metric_name, epoch_ms(event_time) - {0}, epoch_ms(held_until) - {0}, value, quality"
    assert plant.shows(f"SELECT {columns.format(AT)} FROM tag_events_trend") == [
        ("On", 0, None, 1.0, "GOOD"),
        ("Ramp", 0, 10, 0.0, "GOOD"),
        ("Ramp", 10, None, 4.0, "GOOD"),
    ]


def test_trends_have_units_where_there_is_metadata(plant):
    unit = {"keys": ["engUnit"], "values": [{"type": 12, "string_value": "bar"}]}
    plant.born(tag("Ramp") | {"properties": unit})
    assert plant.shows("SELECT metric_name, unit FROM tag_events_trend") == [("Ramp", "bar")]
    (statement,) = in_duckdb(trend_view(TABLE))
    with plant.views(models=[]) as database:
        database.execute(statement)
        assert database.sql("SELECT unit, high FROM tag_events_trend").fetchall() == [(None, None)]
