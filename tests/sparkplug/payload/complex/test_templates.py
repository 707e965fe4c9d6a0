"""Templates flattened to leaf metrics: reference cases from gateways, and hostile bytes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.datatypes import DataType
from sparkplug.payload.columns import decode
from sparkplug.payload.complex.definitions import TemplateProblem
from sparkplug.payload.complex.expansion import (
    Expansion,
    ExpansionLimits,
    MemberProblem,
    TemplateValue,
)
from sparkplug.payload.complex.templates import expand, quality_of
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload, PropertySet, Template

INSTANCE_TIME, MEMBER_TIME, NESTED_TIME = 1000, 2000, 3000
LIMITS = ExpansionLimits()


def member(name, **fields):
    return Metric(name=name, **fields)


def nested(name, template, **fields):
    return Metric(name=name, datatype=DataType.Template, template_value=template, **fields)


def template(*members, ref="Motor", **fields):
    return Template(metrics=members, template_ref=ref, **fields)


def expanded(found, name="line 1/motor", timestamp=INSTANCE_TIME, limits=LIMITS, **fields):
    value = TemplateValue(found.SerializeToString(), timestamp, **fields)
    return expand(name, value, limits=limits)


def names(found):
    return [leaf.name for leaf in found.members]


def inside(depth, innermost):
    """An instance in an instance ... in an instance."""
    for level in range(depth):
        innermost = template(nested(f"n{level}", innermost), ref=f"T{level}")
    return innermost


# Leaves


def test_members_become_metrics_under_the_instance_s_path():
    found = expanded(
        template(
            member("speed", datatype=DataType.Double, double_value=1.5),
            member("drive/on", datatype=DataType.Boolean, boolean_value=False),
        )
    )
    assert names(found) == ["line 1/motor/speed", "line 1/motor/drive/on"]
    assert [leaf.datatype for leaf in found.members] == [DataType.Double, DataType.Boolean]
    assert found.members[0].double_value == 1.5
    assert found.members[1].WhichOneof("value") == "boolean_value"
    assert (found.is_definition, found.template_ref) == (False, "Motor")


def test_nested_instances_are_levels_of_the_path():
    found = expanded(
        template(
            nested(
                "bearing",
                template(member("temp", datatype=DataType.Int8, int_value=233), ref="Bearing"),
            ),
            member("speed", datatype=DataType.Double, double_value=2.0),
        )
    )
    assert names(found) == ["line 1/motor/bearing/temp", "line 1/motor/speed"]
    assert found.members[0].int_value == 233
    assert [(i.path, i.template_ref) for i in found.instances] == [
        ("line 1/motor", "Motor"),
        ("line 1/motor/bearing", "Bearing"),
    ]
    assert found.instance_of == [1, 0]


def test_data_with_a_subset_of_the_members_gives_that_subset():
    assert names(expanded(template(member("b", int_value=1)))) == ["line 1/motor/b"]
    assert names(expanded(template())) == []


def test_a_nested_instance_without_members_gives_nothing():
    assert names(expanded(template(nested("bearing", Template(template_ref="Bearing"))))) == []


def test_a_nested_instance_that_is_null_says_so_of_all_below_it():
    null = member("b", datatype=DataType.Template, is_null=True, timestamp=NESTED_TIME)
    found = expanded(template(null, member("c", int_value=1)), is_historical=True)
    assert names(found) == ["line 1/motor/c"]
    (instance,) = found.nulls
    assert instance.path == "line 1/motor/b"
    assert (instance.leaf.is_null, instance.leaf.timestamp) == (True, NESTED_TIME)
    assert instance.leaf.is_historical
    assert not found.skipped


def test_a_null_instance_has_no_values_whatever_comes_with_it():
    raw = template(
        member("a", int_value=1), nested("n", template(member("b", int_value=2)))
    ).SerializeToString()
    found = expand("i", TemplateValue(raw, INSTANCE_TIME, is_null=True))
    assert found.members == []
    assert [leaf.name for leaf in found.declared] == ["i/a", "i/n/b"]
    assert [(null.path, null.leaf.is_null) for null in found.nulls] == [("i", True)]


def test_an_instance_without_value_is_null_without_saying_so():
    found = expand("i", TemplateValue(None, INSTANCE_TIME))
    (instance,) = found.nulls
    assert not instance.leaf.HasField("is_null")
    assert instance.leaf.timestamp == INSTANCE_TIME


def test_the_quality_is_the_member_s_or_that_of_the_nearest_instance():
    def with_quality(code):
        return PropertySet(keys=["Quality"], values=[{"type": 3, "int_value": code}])

    found = expanded(
        template(
            member("own", properties=with_quality(1)),
            member("none"),
            member("unit", properties=PropertySet(keys=["u"], values=[{"int_value": 7}])),
            nested("n", template(member("none")), properties=with_quality(2)),
        ),
        quality=with_quality(3).values[0],
    )
    assert [quality_of(leaf.properties).int_value for leaf in found.members] == [1, 3, 3, 2]
    assert [*found.members[2].properties.keys] == ["u", "Quality"]


def test_the_time_is_the_member_s_then_the_nested_instance_s_then_the_instance_s():
    found = expanded(
        template(
            member("own", timestamp=MEMBER_TIME, int_value=1),
            member("none", int_value=1),
            nested(
                "n",
                template(member("own", timestamp=MEMBER_TIME), member("none")),
                timestamp=NESTED_TIME,
            ),
            nested("m", template(member("none"))),
        )
    )
    assert {leaf.name.removeprefix("line 1/motor/"): leaf.timestamp for leaf in found.members} == {
        "own": MEMBER_TIME,
        "none": INSTANCE_TIME,
        "n/own": MEMBER_TIME,
        "n/none": NESTED_TIME,
        "m/none": INSTANCE_TIME,
    }


def test_a_leaf_has_no_time_where_nothing_around_it_has():
    (leaf,) = expanded(template(member("a")), timestamp=None).members
    assert not leaf.HasField("timestamp")


def test_historical_and_transient_are_the_instance_s_or_the_member_s():
    flat = template(member("a"), member("b", is_historical=True), member("c", is_transient=True))
    plain = expanded(flat).members
    assert [leaf.is_historical for leaf in plain] == [False, True, False]
    assert [leaf.is_transient for leaf in plain] == [False, False, True]
    assert not plain[0].HasField("is_historical")
    flagged = expanded(flat, is_historical=True, is_transient=True).members
    assert all(leaf.is_historical and leaf.is_transient for leaf in flagged)
    (leaf,) = expanded(template(nested("n", template(member("a")), is_historical=True))).members
    assert leaf.is_historical


def test_a_leaf_keeps_what_else_the_member_has_but_not_its_alias():
    properties = PropertySet(keys=["engUnit"], values=[{"string_value": "rpm"}])
    raw = template(
        member("a", alias=0, is_null=True, datatype=DataType.Int32, properties=properties)
    ).SerializeToString()
    # A field that the schema does not know: number 200.
    unknown = b"\xc0\x0c\x01"
    body = Metric.FromString(Template.FromString(raw).metrics[0].SerializeToString() + unknown)
    (leaf,) = expanded(template(body)).members
    assert not leaf.HasField("alias")
    assert (leaf.is_null, leaf.datatype, leaf.properties) == (True, DataType.Int32, properties)
    assert unknown in leaf.SerializeToString()


def test_a_template_under_another_datatype_is_left_to_the_decoder():
    odd = Metric(name="odd", datatype=DataType.Int32, template_value=template(member("a")))
    (leaf,) = expanded(template(odd)).members
    assert (leaf.name, leaf.WhichOneof("value")) == ("line 1/motor/odd", "template_value")


def test_another_value_under_the_datatype_of_templates_is_left_to_the_decoder():
    (leaf,) = expanded(template(member("odd", datatype=DataType.Template, int_value=7))).members
    assert (leaf.name, leaf.int_value) == ("line 1/motor/odd", 7)


@pytest.mark.parametrize("timestamp", [-1, 1 << 64])
def test_a_time_that_no_metric_can_carry_is_none(timestamp):
    (leaf,) = expanded(template(member("a")), timestamp=timestamp).members
    assert not leaf.HasField("timestamp")


def test_a_template_without_datatype_is_known_by_its_value():
    assert names(expanded(template(Metric(name="n", template_value=template(member("a")))))) == [
        "line 1/motor/n/a"
    ]


# What a template says of itself


@pytest.mark.parametrize("ref", [None, "", "Parent"])
def test_a_definition_gives_no_members_whatever_its_template_ref(ref):
    definition = Template(
        is_definition=True, version="1.2", metrics=[member("a", int_value=1)], template_ref=ref
    )
    found = expanded(definition)
    assert (found.is_definition, found.members, found.declared) == (True, [], [])
    assert (found.version, found.template_ref) == ("1.2", ref or None)


def test_parameters_by_their_type():
    found = expanded(
        template(
            parameters=[
                {"name": "offset", "type": DataType.Int8, "int_value": 233},
                {"name": "unit", "type": DataType.String, "string_value": "rpm"},
                {"name": "on", "type": DataType.Boolean, "boolean_value": False},
                {"name": "factor", "type": DataType.Double, "double_value": math.nan},
                {"name": "open", "type": DataType.String},
                {"name": "wrong", "type": DataType.Int8, "int_value": 300},
                {"name": "untyped", "int_value": 7},
                {"type": DataType.Int32, "int_value": 1},
            ]
        )
    )
    assert found.parameters == {
        "offset": -23,
        "unit": "rpm",
        "on": False,
        "factor": "NaN",
        "open": None,
        "wrong": 300,
        "untyped": 7,
    }


def test_an_instance_without_parameters_and_version_has_none():
    found = expanded(template())
    assert (found.parameters, found.version) == ({}, None)


# Members that give no leaf


def test_a_member_without_name_is_counted():
    found = expanded(template(Metric(int_value=1), member(""), Metric(alias=3), member("a")))
    assert names(found) == ["line 1/motor/a"]
    assert found.skipped == {MemberProblem.NAMELESS: 3}


def test_a_definition_inside_an_instance_is_counted():
    found = expanded(template(nested("n", template(member("a"), is_definition=True))))
    assert (names(found), found.skipped) == ([], {MemberProblem.NESTED_DEFINITION: 1})


def test_text_that_is_not_utf_8_costs_only_its_member():
    raw = template(
        member("evil", int_value=1),
        member("b", string_value="sick"),
        member("c", string_value="good"),
    ).SerializeToString()
    raw = raw.replace(b"evil", b"\xff\xfe\xfd\xfc").replace(b"sick", b"\xff\xfe\xfd\xfc")
    found = expand("i", TemplateValue(raw, None))
    assert (names(found), found.skipped) == (["i/c"], {MemberProblem.DAMAGED: 2})


@pytest.mark.parametrize("raw", [b"\xff", b"\x12\x05ab", b"\x12\x01\xff"])
def test_bytes_that_are_no_template(raw):
    assert expand("i", TemplateValue(raw, 1)) is TemplateProblem.MALFORMED


# Hostile sizes


def test_the_depth_is_limited():
    leaf = template(member("leaf", int_value=1))
    assert len(expanded(inside(15, leaf)).members) == 1
    found = expanded(inside(16, leaf))
    assert (found.members, found.skipped) == ([], {MemberProblem.TOO_DEEP: 1})
    assert len(expanded(inside(2, leaf), limits=ExpansionLimits(depth=3)).members) == 1
    assert len(expanded(inside(3, leaf), limits=ExpansionLimits(depth=3)).members) == 0


def test_a_nesting_that_protobuf_itself_refuses():
    raw = b""
    for _ in range(60):
        raw = field(2, b"\x0a\x01n" + field(18, raw))
    assert expand("i", TemplateValue(raw, 1)) is TemplateProblem.MALFORMED


def test_the_members_are_limited_over_all_levels():
    two = template(member("a"), member("b"))
    found = expanded(
        template(nested("m", two), nested("n", two)), limits=ExpansionLimits(members=5)
    )
    assert names(found) == [f"line 1/motor/{path}" for path in ("m/a", "m/b", "n/a")]
    assert found.skipped == {MemberProblem.TOO_MANY: 1}
    assert not expanded(
        template(nested("m", two), nested("n", two)), limits=ExpansionLimits(members=6)
    ).skipped


def test_a_long_name_is_not_repeated_without_end():
    many = template(*(member(f"m{number}", int_value=1) for number in range(1000)))
    found = expanded(many, name="x" * 1000, limits=ExpansionLimits(path_characters=100_000))
    assert 0 < len(found.members) < 100
    assert found.skipped == {MemberProblem.TOO_MANY: 1}


def test_the_bytes_are_limited():
    found = template(member("a"))
    size = found.ByteSize()
    assert isinstance(expanded(found, limits=ExpansionLimits(size=size)), Expansion)
    assert expanded(found, limits=ExpansionLimits(size=size - 1)) is TemplateProblem.TOO_LARGE


@given(st.binary())
def test_any_bytes_give_an_expansion_or_a_problem(raw):
    found = expand("i", TemplateValue(raw, 1))
    if isinstance(found, Expansion):
        assert_sound(found)


METRICS = st.recursive(
    st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda parts: b"\x0a\x01m" + field(18, b"".join(field(2, part) for part in parts))
    ),
    max_leaves=20,
)


def field(number, raw):
    """One length-delimited field."""
    key, length = number << 3 | 2, len(raw)
    return varint(key) + varint(length) + raw


def varint(number):
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


@given(st.lists(METRICS))
def test_any_nesting_of_any_bytes_is_survived(parts):
    found = expand("i", TemplateValue(b"".join(field(2, part) for part in parts), 1))
    if isinstance(found, Expansion):
        assert_sound(found)


def assert_sound(found):
    json.dumps(found.parameters, allow_nan=False)
    assert len(found.instance_of) == len(found.members)
    for leaf, index in zip(found.members, found.instance_of, strict=True):
        assert leaf.name.startswith(found.instances[index].path + "/")
    # The leaves are metrics that the decoder of batches takes.
    _, bad = decode([Payload(metrics=found.members).SerializeToString()])
    assert bad == []
