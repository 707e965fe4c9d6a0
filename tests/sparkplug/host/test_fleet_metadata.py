"""What births say of tags beside their values: given once, and again when it changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import Columnar, change, message, metric, tag

from sparkplug.datatypes import DataType
from sparkplug.host.templates import told
from sparkplug.payload.complex.properties import properties_of
from sparkplug.payload.property_columns import read_properties
from sparkplug.pb.sparkplug_b_pb2 import Metric, PropertySet, Template

COLUMNS = (
    *("unit", "low", "high", "documentation", "tooltip", "read_only", "template", "properties"),
)


def text(value):
    return {"type": DataType.String, "string_value": value}


def double(value):
    return {"type": DataType.Double, "double_value": value}


def quality(code):
    return {"type": DataType.Int32, "int_value": code}


def properties(**values):
    return {"keys": [*values], "values": [*values.values()]}


def described(name, *, data_type=DataType.Double, **values):
    return metric(name, data_type, is_null=True, properties=properties(**values))


class Described(Columnar):
    """Keeps the metadata of each batch as dictionaries by name of the tag, nulls left out."""

    def __init__(self, **options):
        super().__init__(describe_tags=True, **options)
        self.since = []

    def feed(self, *messages):
        decoded = self.fleet.feed(messages)
        names = self.fleet.catalogue.names
        found = {}
        for each in decoded.metadata:
            self.since.append(each.since_us)
            assert len(each) == len(each.tag) == len(each.retired)
            for index, number in enumerate(each.tag.tolist()):
                row = {name: getattr(each, name)[index].as_py() for name in COLUMNS}
                row = {name: value for name, value in row.items() if value is not None}
                owner = self.fleet.catalogue.owners[number].device_id
                key = names[number] if owner is None else f"{owner}/{names[number]}"
                assert key not in found
                found[key] = "retired" if each.retired[index] else row
                assert not (each.retired[index] and row)
        return found


def test_the_known_properties_are_columns_and_all_of_them_json():
    found = Described().feed(
        message(
            "NBIRTH",
            described(
                "Level",
                engUnit=text("m³"),
                engLow=double(-0.5),
                engHigh={"type": DataType.Int16, "int_value": 100},
                documentation=text('the "big" tank'),
                tooltip=text("tank"),
                readOnly={"type": DataType.Boolean, "boolean_value": True},
                Quality=quality(500),
                area=text("north"),
            ),
        )
    )
    assert json.loads(found["Level"].pop("properties")) == {
        "engUnit": "m³",
        "engLow": -0.5,
        "engHigh": 100,
        "documentation": 'the "big" tank',
        "tooltip": "tank",
        "readOnly": True,
        "area": "north",
    }
    assert found == {
        "Level": {
            "unit": "m³",
            "low": -0.5,
            "high": 100.0,
            "documentation": 'the "big" tank',
            "tooltip": "tank",
            "read_only": True,
        }
    }


def test_a_new_tag_is_told_even_if_nothing_is_said_of_it():
    seen = Described()
    assert seen.feed(message("NBIRTH", tag("Ramp", 0), tag("Sine", 1))) == {"Ramp": {}, "Sine": {}}


def test_only_tags_that_give_rows_are_told():
    seen = Described(wanted=lambda place: "Noise" not in place)
    found = seen.feed(
        message(
            "NBIRTH",
            metric("bdSeq", DataType.Int64, long_value=0),
            described("Node Control/Rebirth", data_type=DataType.Boolean, tooltip=text("x")),
            described("Noise", engUnit=text("dB")),
            described("Set", data_type=DataType.PropertySet),
            described("Level", engUnit=text("m")),
        )
    )
    assert [*found] == ["Level"]


def test_a_birth_that_repeats_what_is_known_tells_nothing():
    seen = Described()
    birth = message("NBIRTH", described("Level", engUnit=text("m")), tag("Ramp"))
    assert len(seen.feed(birth)) == 2
    assert seen.feed(birth) == {}
    assert seen.feed(message("NDEATH"), birth) == {}


def test_two_births_in_one_batch_are_told_one_after_the_other():
    seen = Described()
    first = message("NBIRTH", described("Level", engUnit=text("m")), tag("Ramp"))
    second = message("NBIRTH", described("Level", engUnit=text("cm")), timestamp=SENT_MS + 1)
    decoded = seen.fleet.feed([first, second])
    assert [each.unit.to_pylist() for each in decoded.metadata] == [["m", None], ["cm", None]]
    assert [each.retired.tolist() for each in decoded.metadata] == [[False] * 2, [False, True]]
    assert [each.since_us for each in decoded.metadata] == [SENT_MS * 1000, (SENT_MS + 1) * 1000]


def test_only_what_changed_is_told():
    seen = Described()
    seen.feed(message("NBIRTH", *(described(f"T{n}", engUnit=text("m")) for n in range(3))))
    units = ("m", "cm", "m")
    found = seen.feed(
        message("NBIRTH", *(described(f"T{n}", engUnit=text(u)) for n, u in enumerate(units)))
    )
    assert found == {"T1": {"unit": "cm", "properties": '{"engUnit":"cm"}'}}
    found = seen.feed(message("NBIRTH", *(tag(f"T{n}") for n in range(3))))
    assert found == {"T0": {}, "T1": {}, "T2": {}}


def test_a_quality_that_comes_or_goes_changes_nothing():
    seen = Described()
    level = {"engUnit": text("m")}
    for expected, more in enumerate(({}, {"Quality": quality(500)}, {"Quality": quality(192)})):
        found = seen.feed(message("NBIRTH", described("Level", **level, **more)))
        assert bool(found) == (expected == 0)


def test_data_tells_nothing():
    seen = Described()
    seen.feed(message("NBIRTH", tag("Ramp", 0)))
    data = change(0, 1.0) | {"properties": properties(engUnit=text("m"))}
    assert seen.feed(message("NDATA", data, seq=1)) == {}


def test_a_tag_that_a_birth_no_longer_declares_is_retired():
    seen = Described()
    seen.feed(message("NBIRTH", described("Level", engUnit=text("m")), tag("Ramp")))
    assert seen.feed(message("NBIRTH", tag("Ramp"))) == {"Level": "retired"}
    assert seen.feed(message("NBIRTH", tag("Ramp"))) == {}
    again = seen.feed(message("NBIRTH", described("Level", engUnit=text("m")), tag("Ramp")))
    assert again == {"Level": {"unit": "m", "properties": '{"engUnit":"m"}'}}


def test_a_tag_that_comes_with_another_datatype_is_another_tag():
    seen = Described()
    seen.feed(message("NBIRTH", described("Level")))
    decoded = seen.fleet.feed([message("NBIRTH", described("Level", data_type=DataType.Int32))])
    (metadata,) = decoded.metadata
    assert [seen.fleet.catalogue.names[each] for each in metadata.tag] == ["Level", "Level"]
    assert metadata.retired.tolist() == [False, True]


def test_devices_are_told_by_their_own_births_and_are_not_touched_by_the_node_s():
    seen = Described()
    found = seen.feed(
        message("NBIRTH", described("Level", engUnit=text("m"))),
        message("DBIRTH", described("Level", engUnit=text("cm")), seq=1),
    )
    assert {key: row["unit"] for key, row in found.items()} == {"Level": "m", "Boiler/Level": "cm"}
    assert seen.feed(message("NBIRTH", described("Level", engUnit=text("m")))) == {}
    found = seen.feed(message("DBIRTH", tag("Speed"), seq=1))
    assert found == {"Boiler/Speed": {}, "Boiler/Level": "retired"}


def test_the_time_is_the_birth_s_or_that_of_its_arrival():
    seen = Described()
    seen.feed(message("NBIRTH", tag("A"), timestamp=None))
    seen.feed(message("NBIRTH", tag("B"), timestamp=SENT_MS))
    assert seen.since == [ARRIVED, SENT_MS * 1000]


def test_the_description_in_the_metadata_stands_in_for_the_documentation():
    seen = Described()

    def births(one, other):
        both = described("Both", documentation=text("property"))
        return message(
            "NBIRTH",
            metric("Only", DataType.Double, double_value=0.0, metadata={"description": one}),
            both | {"metadata": {"description": other}},
        )

    found = seen.feed(births("meta", "meta"))
    assert {key: row["documentation"] for key, row in found.items()} == {
        "Only": "meta",
        "Both": "property",
    }
    assert seen.feed(births("meta", "else")) == {}
    assert seen.feed(births("new", "else")) == {"Only": {"documentation": "new"}}


def test_of_a_tag_that_is_there_twice_the_later_word_counts():
    twice = [described("Level", engUnit=text(unit)) for unit in ("m", "cm")]
    assert Described().feed(message("NBIRTH", *twice))["Level"]["unit"] == "cm"


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ({"type": DataType.Boolean, "boolean_value": False}, False),
        ({"type": DataType.Int32, "int_value": 1}, True),
        ({"type": DataType.Int32, "int_value": 2}, None),
        (text("TRUE"), True),
        (text("false"), False),
        (text("yes"), None),
        ({"type": DataType.Boolean, "is_null": True}, None),
        (double(1.0), None),
    ],
)
def test_read_only_is_a_boolean_however_it_is_written(value, meaning):
    found = Described().feed(message("NBIRTH", described("Level", readOnly=value)))
    assert found["Level"].get("read_only") is meaning


@pytest.mark.parametrize(
    "value",
    [
        {"type": DataType.Float, "float_value": 0.1},
        double(0.1),
        double(float("nan")),
        {"type": DataType.Int8, "int_value": 233},
        {"type": DataType.Int64, "long_value": 2**64 - 1},
        {"type": DataType.UInt64, "long_value": 2**64 - 1},
        {"type": DataType.DateTime, "long_value": 0},
        {"type": DataType.Int8, "int_value": 300},
        {"int_value": 7},
        {"type": 99, "float_value": 2.5},
        text("12"),
    ],
)
def test_the_range_is_what_the_json_has_as_a_number(value):
    row = Described().feed(message("NBIRTH", described("Level", engHigh=value)))["Level"]
    shown = json.loads(row["properties"])["engHigh"]
    assert row.get("high") == (float(shown) if isinstance(shown, int | float) else None)


def test_damaged_properties_say_nothing_and_leave_their_neighbours():
    birth = message(
        "NBIRTH", described("Good", engUnit=text("m")), described("evil", x=text("abc"))
    )
    damaged = birth._replace(payload=birth.payload.replace(b"\x03abc", b"\x7fabc"))
    found = Described().feed(damaged)
    assert found["Good"]["unit"] == "m"
    assert found["evil"] == {}


def test_digests_stay_with_their_tags_when_ids_are_handed_out_anew():
    seen = Described()
    keep = message("NBIRTH", described("Level", engUnit=text("m")), node="Keep")
    seen.feed(keep)
    for round_number in range(6):
        many = [tag(f"T{round_number}-{n}") for n in range(6000)]
        seen.feed(message("NBIRTH", *many, node="Other"))
    generation = seen.fleet.catalogue.generation
    assert generation > 0
    assert seen.feed(keep) == {}
    changed = message("NBIRTH", described("Level", engUnit=text("cm")), node="Keep")
    assert seen.feed(changed) == {"Level": {"unit": "cm", "properties": '{"engUnit":"cm"}'}}


def test_a_fleet_that_is_not_asked_tells_nothing():
    decoded = Columnar().fleet.feed([message("NBIRTH", described("Level", engUnit=text("m")))])
    assert decoded.metadata == []


# Members of templates


def instance(name, *members, parameters=(), ref="Motor"):
    template = Template(metrics=members, template_ref=ref, parameters=parameters)
    return metric(name, DataType.Template, template_value=template)


def within(*instances, **own):
    """The properties of a tag in instances, given by path and template from the outermost."""
    said = [{"path": path, "template": template} for path, template in instances]
    return json.dumps({"@instances": said} | own, separators=(",", ":"))


def member(name, **fields):
    return Metric(name=name, datatype=DataType.Double, double_value=0.0, **fields)


def test_a_member_has_its_own_properties_and_the_reference_of_its_template():
    seen = Described()
    speed = member("speed", properties=properties(engUnit=text("rpm")))
    bearing = Metric(
        name="bearing",
        datatype=DataType.Template,
        template_value=Template(metrics=[member("temp")], template_ref="Bearing"),
    )
    birth = message("NBIRTH", instance("M", speed, bearing), tag("Ramp"))
    assert seen.feed(birth) == {
        "M/speed": {
            "unit": "rpm",
            "template": "Motor",
            "properties": within(("M", "Motor"), engUnit="rpm"),
        },
        "M/bearing/temp": {
            "template": "Bearing",
            "properties": within(("M", "Motor"), ("M/bearing", "Bearing")),
        },
        "Ramp": {},
    }
    assert seen.feed(birth) == {}
    other = message("NBIRTH", instance("M", speed, bearing, ref="Pump"), tag("Ramp"))
    assert [*seen.feed(other)] == ["M/speed", "M/bearing/temp"]


def test_a_member_that_only_the_definition_has_is_told_too():
    bearing = Template(is_definition=True, metrics=[member("temp")])
    inner = Template(template_ref="Bearing")
    motor = Template(
        is_definition=True,
        metrics=[
            member("speed"),
            member("load"),
            Metric(name="bearing", datatype=DataType.Template, template_value=inner),
        ],
    )
    birth = message(
        "NBIRTH",
        metric("Motor", DataType.Template, template_value=motor),
        metric("_types_/Bearing", DataType.Template, template_value=bearing),
        instance("M", member("speed")),
    )
    assert Described().feed(birth) == {
        "M/speed": {"template": "Motor", "properties": within(("M", "Motor"))},
        "M/load": {"template": "Motor", "properties": within(("M", "Motor"))},
        "M/bearing/temp": {
            "template": "Bearing",
            "properties": within(("M", "Motor"), ("M/bearing", "Bearing")),
        },
    }


@pytest.mark.parametrize(("ref", "name"), [("_types_/Motor", "Motor"), (None, None), ("", None)])
def test_instances_are_told_by_the_names_of_their_definitions(ref, name):
    found = Described().feed(message("NBIRTH", instance("A/M", member("drive/load"), ref=ref)))
    assert found["A/M/drive/load"]["properties"] == within(("A/M", name))


def test_what_is_told_of_instances_stands_before_a_property_of_the_same_name():
    speed = member("speed", properties=properties(**{"@instances": text("mine")}))
    found = Described().feed(message("NBIRTH", instance("M", speed)))
    given_first = within(("M", "Motor"))
    assert found["M/speed"]["properties"] == given_first[:-1] + ',"@instances":"mine"}'


def test_instances_are_not_told_where_they_would_take_too_much(monkeypatch):
    birth = message("NBIRTH", instance("M", member("speed"), member("load")), tag("Ramp"))
    monkeypatch.setattr(told, "_MOST_CHARACTERS", 80)
    found = Described().feed(birth)
    assert found["M/speed"] == found["M/load"] == {"template": "Motor"}


def test_parameters_are_among_the_properties_with_the_defaults_of_the_definition():
    parameters = [{"name": name, "type": DataType.Int32, "int_value": 1} for name in ("a", "b")]
    definition = Template(is_definition=True, parameters=parameters)
    given = [{"name": "b", "type": DataType.Int32, "int_value": 2}]
    speed = member("speed", properties=properties(engUnit=text("rpm")))
    found = Described().feed(
        message(
            "NBIRTH",
            metric("Motor", DataType.Template, template_value=definition),
            instance("M", speed, member("load"), parameters=given),
        )
    )
    expected = {"@parameters": {"a": 1, "b": 2}} | json.loads(within(("M", "Motor")))
    assert json.loads(found["M/speed"]["properties"]) == {"engUnit": "rpm"} | expected
    assert json.loads(found["M/load"]["properties"]) == expected


# Against the reading of one set after the other


SCALARS = (
    st.fixed_dictionaries({"string_value": st.text(max_size=5)})
    | st.fixed_dictionaries({"int_value": st.integers(0, 2**32 - 1)})
    | st.fixed_dictionaries({"long_value": st.integers(0, 2**64 - 1)})
    | st.fixed_dictionaries({"boolean_value": st.booleans()})
    | st.fixed_dictionaries({"float_value": st.floats(width=32)})
    | st.fixed_dictionaries({"double_value": st.floats()})
    | st.just({"is_null": True})
    | st.just({})
    | st.just({"propertyset_value": properties(inner=text("x"))})
)
VALUES = st.builds(lambda kind, value: {"type": kind, **value}, st.integers(0, 36), SCALARS)
KEYS = st.sampled_from(("engUnit", "engLow", "engHigh", "readOnly", "Quality", "ключ", 'a"b', ""))
SETS = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(
    lambda pairs: PropertySet(
        keys=[key for key, _ in pairs], values=[value for _, value in pairs]
    ).SerializeToString()
)


@given(st.lists(SETS | st.binary(max_size=8) | SETS.map(lambda raw: raw[:-1]), max_size=6))
def test_all_sets_are_read_like_one_after_the_other(sets):
    columns = read_properties(sets)
    for index, raw in enumerate(sets):
        plain = properties_of(raw)
        plain.pop("Quality", None)
        shown = columns.properties[index].as_py()
        assert (None if shown is None else json.loads(shown)) == (plain or None)
        unit, high = plain.get("engUnit"), plain.get("engHigh")
        assert columns.unit[index].as_py() == (unit if isinstance(unit, str) else None)
        is_number = isinstance(high, int | float) and not isinstance(high, bool)
        assert columns.high[index].as_py() == (float(high) if is_number else None)
