"""Payloads in the JSON of Eclipse Tahu and Ignition's MQTT Transmission."""

import json
import math
from base64 import b64encode

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.generated import examples

from sparkplug.datatypes import DataType
from sparkplug.payload.json_payload import JsonProblem, from_json, is_json
from sparkplug.pb.sparkplug_b_pb2 import Payload, PropertySet

# The shape of a birth of Cirrus Link's modules: datatypes by name, Quality as a property.
BIRTH = b"""
{
  "timestamp": 1638223073190,
  "metrics": [
    {"name": "bdSeq", "timestamp": 1638223073187, "dataType": "Int64", "value": 5},
    {"name": "Tag 4", "alias": 0, "timestamp": 1638223073156, "dataType": "Int32",
     "metaData": {}, "properties": {"Quality": {"type": "Int32", "value": 192}}, "value": 100},
    {"name": "Tag 5", "timestamp": 1638223073001, "dataType": "Boolean", "isHistorical": false,
     "isTransient": null, "uuid": null, "value": false}
  ],
  "seq": 0, "uuid": null, "body": null
}
"""


def read(source):
    text = source if isinstance(source, bytes) else json.dumps(source).encode()
    encoded = from_json(text)
    assert isinstance(encoded, bytes), str(encoded)
    return Payload.FromString(encoded)


def read_metric(**fields):
    return read({"metrics": [fields]}).metrics[0]


def problem(source):
    found = from_json(source if isinstance(source, bytes) else json.dumps(source).encode())
    assert isinstance(found, JsonProblem)
    return str(found)


def member(data_type, value):
    """Name and content of the member that a value of a datatype is written to."""
    metric = read_metric(dataType=data_type, value=value)
    name = metric.WhichOneof("value")
    return name, getattr(metric, name)


def test_a_birth_has_everything_that_its_protobuf_form_would_have():
    expected = Payload(timestamp=1638223073190, seq=0)
    expected.metrics.add(name="bdSeq", timestamp=1638223073187, datatype=4, long_value=5)
    tag = expected.metrics.add(name="Tag 4", timestamp=1638223073156, datatype=3, int_value=100)
    tag.alias = 0
    tag.properties.keys.append("Quality")
    tag.properties.values.add(type=3, int_value=192)
    flag = expected.metrics.add(name="Tag 5", timestamp=1638223073001, datatype=11)
    flag.is_historical, flag.boolean_value = False, False
    assert read(BIRTH) == expected


def test_uuid_and_body_are_those_of_the_payload():
    assert read({"seq": 1, "uuid": "an id", "body": b64encode(b"\x00\xff").decode()}) == Payload(
        seq=1, uuid="an id", body=b"\x00\xff"
    )


def test_the_seq_of_a_death_is_none():
    assert read({"timestamp": 5, "seq": -1}) == Payload(timestamp=5)
    assert read({"timestamp": 5, "seq": None}) == Payload(timestamp=5)


@pytest.mark.parametrize(
    "names",
    [
        ("dataType", "isHistorical", "isTransient"),
        ("datatype", "is_historical", "is_transient"),
        ("data_type", "IsHistorical", "IsTransient"),
        ("type", "ISHISTORICAL", "isTransient"),
    ],
)
def test_fields_are_known_in_every_spelling(names):
    data_type, historical, transient = names
    metric = read_metric(**{data_type: "Int16", historical: True, transient: True, "value": 1})
    assert (metric.datatype, metric.is_historical, metric.is_transient) == (2, True, True)


@pytest.mark.parametrize("data_type", DataType)
def test_every_datatype_is_known_by_name_and_by_code(data_type):
    for given_as in (data_type.name, data_type.name.lower(), int(data_type), str(int(data_type))):
        metric = read_metric(dataType=given_as)
        assert metric.datatype == data_type
        assert metric.HasField("datatype")


def test_a_datatype_nobody_knows_stays_so():
    assert read_metric(dataType="Quaternion", value=1).datatype == DataType.Unknown
    assert read_metric(dataType=4_000_000_000, value=1).datatype == 4_000_000_000
    assert not read_metric(value=1).HasField("datatype")


def test_unknown_fields_are_ignored():
    assert read({"seq": 1, "more": {"a": [1]}, "metrics": [{"name": "T", "x": "y"}]}) == read(
        {"seq": 1, "metrics": [{"name": "T"}]}
    )


@pytest.mark.parametrize(
    "fields", [{}, {"value": None}, {"isNull": True}, {"is_null": True, "value": 5}]
)
def test_a_metric_without_value_is_null(fields):
    metric = read_metric(name="T", dataType="Int32", **fields)
    assert metric.is_null
    assert metric.WhichOneof("value") is None


def test_a_metric_whose_is_null_is_false_is_its_value():
    metric = read_metric(dataType="Int32", isNull=False, value=5)
    assert not metric.is_null
    assert metric.int_value == 5


@pytest.mark.parametrize("name", ["alias", "timestamp"])
@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        (0, 0),
        (5.0, 5),
        ("1700000000000", 1_700_000_000_000),
        (2**64 - 1, 2**64 - 1),
        (-1, 2**64 - 1),
        (-(2**63), 2**63),
    ],
)
def test_integers_of_64_bits_come_signed_or_not_and_as_text(name, given_as, expected):
    assert getattr(read_metric(**{name: given_as}), name) == expected


M32 = 2**32

DATA_SET = {
    "numberOfColumns": 3,
    "columnNames": ["id", "name", "level"],
    "types": ["Int8", "String", "Double"],
    "rows": [[-1, "a", 1.5], [2, None, "NaN"]],
}


def test_a_data_set_has_its_columns_types_and_rows():
    found = read_metric(dataType="DataSet", value=DATA_SET).dataset_value
    assert (found.num_of_columns, list(found.columns)) == (3, ["id", "name", "level"])
    assert list(found.types) == [DataType.Int8, DataType.String, DataType.Double]
    first, second = (row.elements for row in found.rows)
    assert (first[0].int_value, first[1].string_value, first[2].double_value) == (M32 - 1, "a", 1.5)
    assert (second[0].int_value, second[1].WhichOneof("value")) == (2, None)
    assert math.isnan(second[2].double_value)


def test_a_data_set_may_be_spelled_as_in_the_protobuf_schema():
    spelled = {
        "num_of_columns": 3,
        "columns": DATA_SET["columnNames"],
        "types": [1, 12, 10],
        "rows": [{"elements": row} for row in DATA_SET["rows"]],
    }
    assert read_metric(dataType=16, value=spelled) == read_metric(dataType=16, value=DATA_SET)


@pytest.mark.parametrize(
    "change",
    [
        {"columnNames": None},
        {"columnNames": [1, 2, 3]},
        {"types": "Int8"},
        {"types": [None, 1, 1]},
        {"rows": 5},
        {"rows": [5]},
        {"rows": [[1, 2, 3, 4]]},
        {"numberOfColumns": -1},
    ],
)
def test_a_data_set_that_is_none_is_shown_as_text(change):
    broken = DATA_SET | change
    name, text = member("DataSet", broken)
    assert (name, json.loads(text)) == ("string_value", broken)


TEMPLATE = {
    "version": "1.0",
    "reference": "Motor",
    "isDefinition": False,
    "metrics": [
        {"name": "RPM", "timestamp": 1000, "dataType": "Int32", "value": -5},
        {
            "name": "Bearing",
            "dataType": "Template",
            "value": {"reference": "", "isDefinition": True, "metrics": [{"name": "Heat"}]},
        },
    ],
    "parameters": [{"name": "Line", "type": "String", "value": "A"}, {"name": "N", "type": "Int8"}],
}


def test_a_template_has_members_parameters_and_templates_in_it():
    found = read_metric(name="M1", dataType="Template", value=TEMPLATE).template_value
    assert (found.version, found.template_ref, found.is_definition) == ("1.0", "Motor", False)
    rpm, bearing = found.metrics
    assert (rpm.name, rpm.timestamp, rpm.int_value) == ("RPM", 1000, M32 - 5)
    assert bearing.template_value.is_definition
    assert bearing.template_value.HasField("template_ref")
    assert bearing.template_value.metrics[0].is_null
    line, number = found.parameters
    assert (line.name, line.type, line.string_value) == ("Line", DataType.String, "A")
    assert (number.name, number.WhichOneof("value")) == ("N", None)


def test_an_empty_template_is_one():
    metric = read_metric(dataType="Template", value={"templateRef": "Motor"})
    assert metric.template_value.template_ref == "Motor"
    assert read_metric(dataType="Template", value={}).HasField("template_value")


def properties(**source):
    return read_metric(properties=source).properties


def property_set(*entries):
    expected = PropertySet()
    for key, fields in entries:
        expected.keys.append(key)
        expected.values.add(**fields)
    return expected


def test_properties_have_types_and_values():
    assert properties(
        Quality={"type": "Int32", "value": -2147483132},
        engUnit={"type": "String", "value": "°C"},
        engHigh={"type": 10, "value": 5},
        readOnly={"type": "Boolean", "value": True},
        tooltip={"type": "String"},
        format={"type": "String", "isNull": True},
    ) == property_set(
        ("Quality", {"type": 3, "int_value": 0x80000204}),
        ("engUnit", {"type": 12, "string_value": "°C"}),
        ("engHigh", {"type": 10, "double_value": 5.0}),
        ("readOnly", {"type": 11, "boolean_value": True}),
        ("tooltip", {"type": 12, "is_null": True}),
        ("format", {"type": 12, "is_null": True}),
    )


@pytest.mark.parametrize("data_type", ["Int32", "UInt32", "Int64", None])
def test_a_quality_code_may_be_written_unsigned(data_type):
    fields = (
        {"value": 0x80000204}
        if data_type is None
        else {
            "type": data_type,
            "value": 0x80000204,
        }
    )
    value = properties(Quality=fields).values[0]
    assert getattr(value, value.WhichOneof("value")) == 0x80000204


def test_properties_may_be_plain_values():
    assert properties(
        Quality=192, count=2**40, engLow=-1.5, readOnly=False, engUnit="bar", list=[1], none=None
    ) == property_set(
        ("Quality", {"type": 3, "int_value": 192}),
        ("count", {"type": 4, "long_value": 2**40}),
        ("engLow", {"type": 10, "double_value": -1.5}),
        ("readOnly", {"type": 11, "boolean_value": False}),
        ("engUnit", {"type": 12, "string_value": "bar"}),
        ("list", {"type": 12, "string_value": "[1]"}),
        ("none", {"is_null": True}),
    )


def test_properties_may_be_two_lists_as_in_the_protobuf_schema():
    assert properties(
        keys=["Quality", "extra"], values=[{"type": 3, "intValue": 500}]
    ) == property_set(("Quality", {"type": 3, "int_value": 500}))


def test_property_sets_may_hold_property_sets_and_lists_of_them():
    inner = property_set(("a", {"type": 3, "int_value": 1}))
    plain = properties(custom={"a": 1})
    typed = properties(custom={"type": "PropertySet", "value": {"a": {"type": 3, "value": 1}}})
    assert plain == typed == property_set(("custom", {"type": 20, "propertyset_value": inner}))
    listed = properties(custom={"type": "PropertySetList", "value": [{"a": 1}, {}]})
    assert list(listed.values[0].propertysets_value.propertyset) == [inner, PropertySet()]


def test_metadata_keeps_what_is_as_it_should_be():
    found = read_metric(
        metaData={
            "isMultiPart": True,
            "contentType": "application/json",
            "size": 12,
            "seq": "3",
            "fileName": 5,
            "file_type": "json",
            "md5": "abc",
            "description": None,
            "other": 1,
        }
    ).metadata
    assert (found.is_multi_part, found.content_type, found.size) == (True, "application/json", 12)
    assert (found.seq, found.file_type, found.md5) == (3, "json", "abc")
    assert not found.HasField("file_name")
    assert not found.HasField("description")
    assert not read_metric(metaData="none").HasField("metadata")


@pytest.mark.parametrize(
    ("source", "where"),
    [
        (b"{", "no JSON"),
        (b'{"seq":1}}', "no JSON"),
        (b'{"seq":1} {"seq":2}', "no JSON"),
        (b'{"seq":\xff}', "not Unicode"),
        (b'{"metrics":[{"name":"\\ud800"}]}', "not Unicode"),
        (b'{"metrics":' + b"[" * 100_000, "nested too deeply"),
        ({}, "neither timestamp nor metrics nor seq"),
        ({"online": True}, "neither timestamp nor metrics nor seq"),
        ({"metrics": None}, "neither timestamp nor metrics nor seq"),
        ({"timestamp": "noon"}, "timestamp: no integer"),
        ({"timestamp": 2**64}, "timestamp: no integer"),
        ({"seq": 1.5}, "seq: no integer"),
        ({"seq": True}, "seq: no integer"),
        ({"seq": 1, "uuid": 5}, "uuid: no text"),
        ({"seq": 1, "body": "!"}, "body: no base64"),
        ({"metrics": {}}, "metrics: no list"),
        ({"metrics": [{}, 5]}, "metrics[1]: no object"),
        ({"metrics": [{"name": 5}]}, "metrics[0].name: no text"),
        ({"metrics": [{"alias": -(2**63) - 1}]}, "metrics[0].alias: no integer"),
        ({"metrics": [{"dataType": -1}]}, "metrics[0].dataType: neither"),
        ({"metrics": [{"dataType": [1]}]}, "metrics[0].dataType: neither"),
        ({"metrics": [{"isHistorical": "no"}]}, "metrics[0].ishistorical: neither"),
        ({"metrics": [{"isNull": 2}]}, "metrics[0].isnull: neither"),
        ({"metrics": [{"properties": [1]}]}, "metrics[0].properties: no object"),
        ({"metrics": [{"properties": {"keys": [1], "values": [1]}}]}, "properties: a key"),
        (
            {"metrics": [{"dataType": "Template", "value": {"metrics": [{"alias": "x"}]}}]},
            "metrics[0].value.metrics[0].alias: no integer",
        ),
        (
            {"metrics": [{"dataType": "Template", "value": {"parameters": [1]}}]},
            "metrics[0].value.parameters[0]: no object",
        ),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_place(source, where):
    assert where in problem(source)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"{", True),
        (b" \r\n\t{}", True),
        (b"", False),
        (b"  ", False),
        (b"[{", False),
        (b"\x08\x7b", False),
        (b"\x0a\x01{", False),
    ],
)
def test_json_is_told_by_its_first_byte_that_is_no_white_space(payload, expected):
    assert is_json(payload) is expected


FIELD_NAMES = (
    *("timestamp", "metrics", "seq", "uuid", "body", "name", "alias", "dataType", "isNull"),
    *("isHistorical", "metaData", "properties", "value", "type", "keys", "values", "intValue"),
    *("columnNames", "types", "rows", "elements", "reference", "parameters", "size", "fileName"),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([each.name for each in DataType])
    | st.integers(0, 40)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
METRICS = st.fixed_dictionaries({"dataType": st.sampled_from([*DataType]), "value": JSON})


@examples(250, suppress_health_check=list(HealthCheck))
@given(JSON | st.fixed_dictionaries({"metrics": st.lists(METRICS | JSON, max_size=4)}))
def test_any_json_gives_a_payload_or_a_problem(source):
    found = from_json(json.dumps(source).encode())
    assert isinstance(found, JsonProblem) or Payload.FromString(found) is not None


@given(st.binary(max_size=60))
def test_any_bytes_behind_a_brace_give_a_payload_or_a_problem(rest):
    assert isinstance(from_json(b"{" + rest), bytes | JsonProblem)
