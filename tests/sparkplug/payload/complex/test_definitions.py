"""Template definitions: what births complete from them, parents, defaults, limits."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.datatypes import DataType
from sparkplug.payload.complex.definitions import DefinitionProblem, Shape, TemplateDefinitions
from sparkplug.payload.complex.expansion import ExpansionLimits, MemberProblem, TemplateValue
from sparkplug.payload.complex.templates import expand
from sparkplug.pb.sparkplug_b_pb2 import Metric, Template


def member(name, datatype, **fields):
    return Metric(name=name, datatype=datatype, **fields)


def nested(name, ref, *members):
    template = Template(template_ref=ref, metrics=members)
    return Metric(name=name, datatype=DataType.Template, template_value=template)


def definition(*members, parent=None, parameters=(), version=None):
    return Template(
        is_definition=True,
        metrics=members,
        template_ref=parent,
        parameters=parameters,
        version=version,
    ).SerializeToString()


def known(**definitions):
    found = TemplateDefinitions()
    assert found.replace(definitions.items()) == []
    return found


def birth(definitions, *members, ref="Motor", name="m", **limits):
    template = Template(template_ref=ref, metrics=members).SerializeToString()
    return expand(name, TemplateValue(template, 1), definitions, ExpansionLimits(**limits))


def types(leaves):
    return {leaf.name: DataType(leaf.datatype).name for leaf in leaves}


MOTOR = definition(
    member("speed", DataType.Double, is_null=True),
    member("on", DataType.Boolean, is_null=True),
    nested("bearing", "Bearing"),
)
BEARING = definition(member("temp", DataType.Int16), member("serial", DataType.String))


def test_a_member_without_datatype_gets_the_declared_one():
    found = birth(
        known(Motor=MOTOR),
        Metric(name="speed", double_value=1.0),
        Metric(name="on", datatype=0, boolean_value=True),
        Metric(name="other", int_value=1),
    )
    assert types(found.members) == {"m/speed": "Double", "m/on": "Boolean", "m/other": "Unknown"}


def test_a_datatype_that_is_sent_counts():
    found = birth(known(Motor=MOTOR), member("speed", DataType.Float, float_value=1.0))
    assert types(found.members) == {"m/speed": "Float"}


def test_members_that_a_birth_lacks_are_declared_without_value():
    found = birth(known(Motor=MOTOR, Bearing=BEARING), member("on", DataType.Boolean))
    assert types(found.members) == {"m/on": "Boolean"}
    assert types(found.declared) == {
        "m/speed": "Double",
        "m/bearing/temp": "Int16",
        "m/bearing/serial": "String",
    }
    assert {leaf.WhichOneof("value") for leaf in found.declared} == {None}


def test_a_nested_instance_without_members_is_declared_by_its_definition():
    found = birth(known(Motor=MOTOR, Bearing=BEARING), nested("bearing", "Bearing"))
    assert "m/bearing/temp" in types(found.declared)


def test_a_nested_instance_with_some_members_is_completed():
    definitions = known(Motor=MOTOR, Bearing=BEARING)
    found = birth(definitions, nested("bearing", None, Metric(name="temp", int_value=5)))
    assert types(found.members) == {"m/bearing/temp": "Int16"}
    assert "m/bearing/serial" in types(found.declared)
    assert found.instances[1].template_ref == "Bearing"


def test_a_null_instance_declares_its_members():
    bare = Metric(name="bearing", datatype=DataType.Template, is_null=True)
    found = birth(known(Motor=MOTOR, Bearing=BEARING), bare)
    assert found.members == []
    assert "m/bearing/temp" in types(found.declared)


def test_members_that_the_definition_gives_a_nested_instance_itself():
    inline = definition(nested("n", "Unknown type", member("x", DataType.Int8)))
    assert types(birth(known(Motor=inline)).declared) == {"m/n/x": "Int8"}


def test_data_is_not_completed():
    template = Template(template_ref="Motor", metrics=[Metric(name="on", boolean_value=True)])
    found = expand("m", TemplateValue(template.SerializeToString(), 1))
    assert types(found.members) == {"m/on": "Unknown"}
    assert found.declared == []


def test_an_instance_of_an_unknown_definition_is_as_it_is_sent():
    found = birth(known(Motor=MOTOR), member("a", DataType.Int8), ref="Pump")
    assert (types(found.members), found.declared) == ({"m/a": "Int8"}, [])


@pytest.mark.parametrize("name", ["Motor", "_types_/Motor"])
@pytest.mark.parametrize("ref", ["Motor", "_types_/Motor"])
def test_ignition_s_folder_of_definitions_is_no_part_of_their_name(name, ref):
    definitions = known(**{name: definition(member("a", DataType.Int8))})
    assert types(birth(definitions, ref=ref).declared) == {"m/a": "Int8"}


# Parents


def test_members_of_parents_are_inherited_and_replaced():
    definitions = known(
        Thing=definition(member("id", DataType.String), member("v", DataType.Int8)),
        Machine=definition(member("v", DataType.Int32), parent="Thing"),
        Motor=definition(member("rpm", DataType.Double), parent="Machine"),
    )
    assert types(birth(definitions).declared) == {
        "m/rpm": "Double",
        "m/v": "Int32",
        "m/id": "String",
    }
    lines = definitions.lines(Shape("Motor"))
    assert [line["v"].datatype for line in lines if "v" in line] == [DataType.Int32, DataType.Int8]


@pytest.mark.parametrize("no_parent", ["", "Unknown"])
def test_a_parent_that_is_none(no_parent):
    definitions = known(Motor=definition(member("a", DataType.Int8), parent=no_parent))
    assert types(birth(definitions).declared) == {"m/a": "Int8"}


def test_parents_in_a_circle():
    definitions = known(
        A=definition(member("a", DataType.Int8), parent="B"),
        B=definition(member("b", DataType.Int8), parent="A"),
        C=definition(member("c", DataType.Int8), parent="C"),
    )
    assert types(birth(definitions, ref="A").declared) == {"m/a": "Int8", "m/b": "Int8"}
    assert types(birth(definitions, ref="C").declared) == {"m/c": "Int8"}


# Circles of members


def test_a_definition_that_contains_itself_is_declared_once():
    definitions = known(
        A=definition(member("x", DataType.Int8), nested("b", "B")),
        B=definition(member("y", DataType.Int8), nested("a", "A")),
    )
    found = birth(definitions, ref="A")
    assert types(found.declared) == {"m/x": "Int8", "m/b/y": "Int8"}
    assert not found.skipped


def test_instances_that_are_there_are_taken_although_their_definitions_are_a_circle():
    definitions = known(A=definition(member("x", DataType.Int8), nested("a", "A")))
    inner = nested("a", "A", Metric(name="x", int_value=1))
    found = birth(definitions, inner, ref="A")
    assert types(found.members) == {"m/a/x": "Int8"}
    assert types(found.declared) == {"m/x": "Int8"}


# Parameters and versions


def test_parameters_inherit_defaults():
    def parameter(name, **value):
        return Template.Parameter(name=name, type=DataType.Int32, **value)

    definitions = known(
        Thing=definition(parameters=[parameter("a", int_value=1), parameter("b", int_value=2)]),
        Motor=definition(
            parent="Thing", parameters=[parameter("b", int_value=3), parameter("c")], version="7"
        ),
    )
    given = {"a": 9, "b": None, "d": None}
    assert definitions.parameters_of("Motor", given) == {
        "a": 9,
        "b": 3,
        "c": None,
        "d": None,
    }
    assert definitions.parameters_of("Unknown", given) == given
    assert definitions.parameters_of(None, {}) == {}


# A node's set of definitions


def test_a_birth_replaces_all_definitions():
    definitions = known(Motor=MOTOR)
    definitions.replace([("Bearing", BEARING)])
    assert ("Motor" in definitions, "Bearing" in definitions, len(definitions)) == (False, True, 1)


def test_of_two_with_one_name_the_later_counts():
    definitions = TemplateDefinitions()
    definitions.replace([("A", BEARING), ("A", definition(member("z", DataType.Int8)))])
    assert types(birth(definitions, ref="A").declared) == {"m/z": "Int8"}


def test_what_is_no_definition_is_refused():
    definitions = TemplateDefinitions()
    instance = Template(template_ref="A").SerializeToString()
    assert definitions.replace([("A", instance), ("B", b"\xff"), ("C", BEARING)]) == [
        DefinitionProblem.NO_DEFINITION,
        DefinitionProblem.UNREADABLE,
    ]
    assert len(definitions) == 1


@pytest.mark.parametrize(
    "limits",
    [{"max_definitions": 2}, {"max_members": 5}, {"max_bytes": 2 * len(BEARING)}],
    ids=str,
)
def test_definitions_are_limited(limits):
    definitions = TemplateDefinitions(**limits)
    three = [(name, BEARING) for name in "ABC"]
    assert definitions.replace(three) == [DefinitionProblem.TOO_MANY]
    assert len(definitions) == 2
    assert definitions.replace(three[:2]) == []  # the limits are on one birth's


def test_members_on_all_levels_count():
    deep = definition(nested("a", None, nested("b", None, member("c", DataType.Int8))))
    assert TemplateDefinitions(max_members=3).replace([("A", deep)]) == []
    assert TemplateDefinitions(max_members=2).replace([("A", deep)]) == [DefinitionProblem.TOO_MANY]


def test_definitions_that_multiply_are_cut():
    levels = {
        f"L{n}": definition(*(nested(f"m{k}", f"L{n + 1}") for k in range(8))) for n in range(16)
    }
    found = birth(known(**levels), ref="L0", members=500)
    assert found.skipped[MemberProblem.TOO_MANY] == 1
    assert len(found.declared) <= 500


def test_a_declared_depth_is_limited():
    levels = {
        f"L{n}": definition(member("x", DataType.Int8), nested("n", f"L{n + 1}")) for n in range(20)
    }
    found = birth(known(**levels), ref="L0")
    assert len(found.declared) == 16
    assert found.skipped == {MemberProblem.TOO_DEEP: 1}


NAMES = st.sampled_from(["A", "B", "C"])
TEMPLATES = st.recursive(
    st.builds(lambda n: Metric(name=n, datatype=DataType.Int8), NAMES),
    lambda inner: st.builds(
        lambda n, ref, members: nested(n, ref, *members), NAMES, NAMES, st.lists(inner, max_size=3)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(NAMES, st.tuples(st.lists(TEMPLATES, max_size=3), NAMES | st.none())),
    st.lists(TEMPLATES, max_size=3),
    NAMES,
)
def test_any_web_of_definitions_ends(web, members, ref):
    definitions = known(
        **{name: definition(*found, parent=parent) for name, (found, parent) in web.items()}
    )
    found = birth(definitions, *members, ref=ref)
    paths = [leaf.name for leaf in found.declared]
    given_paths = {leaf.name for leaf in found.members}
    assert not given_paths.intersection(paths)
    assert len(set(paths)) == len(paths)
    json.dumps(found.parameters)


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.binary())))
def test_any_bytes_as_definitions_are_survived(definitions):
    found = TemplateDefinitions()
    problems = found.replace(definitions)
    assert len(found) + len(problems) <= len(definitions)
