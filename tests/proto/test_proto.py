"""The schemas in proto/: generated modules are up to date, and copies agree."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor as Field

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.tables import COLUMNS
from sparkplug.pb import sparkplug_b_columns_pb2, sparkplug_b_pb2

ROOT = Path(__file__).parents[2]
# What Zerobus takes for a column of each Delta type.
PROTOBUF_TYPE = {
    "STRING": Field.TYPE_STRING,
    "TIMESTAMP": Field.TYPE_INT64,
    "DOUBLE": Field.TYPE_DOUBLE,
    "BIGINT": Field.TYPE_INT64,
    "INT": Field.TYPE_INT32,
    "BOOLEAN": Field.TYPE_BOOL,
}


def test_generated_modules_are_up_to_date():
    check = subprocess.run(
        [sys.executable, str(ROOT / "proto" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (check.returncode, check.stderr) == (0, "")


# sparkplug_b_columns.proto is sparkplug_b.proto, seen flat


FULL = {
    **{name: name for name in ("Payload", "Metric", "PropertySet", "PropertyValue")},
    "ScalarPayload": "Payload",
    "ScalarMetric": "Metric",
    "MetadataPayload": "Payload",
    "MetadataMetric": "Metric",
    "Template": "Template",
    "TemplateHead": "Template",
}
ONLY = {
    "MetadataPayload": {"metrics"},
    "MetadataMetric": {"metadata"},
    "Template": {"metrics", "is_definition"},
    "TemplateHead": {"is_definition"},
}
LEFT_OUT = {
    "PropertyValue": {"extension_value"},
    "ScalarPayload": {"body"},
    "ScalarMetric": {
        *("metadata", "bytes_value", "dataset_value", "template_value", "extension_value"),
    },
}


@pytest.mark.parametrize("message", FULL)
def test_the_flat_schemas_have_the_same_fields_under_the_same_numbers(message):
    full = sparkplug_b_pb2.DESCRIPTOR.message_types_by_name[FULL[message]]
    flat = sparkplug_b_columns_pb2.DESCRIPTOR.message_types_by_name[message]
    wanted = ONLY.get(message, {field.name for field in full.fields})
    assert [(field.name, field.number) for field in flat.fields] == [
        (field.name, field.number)
        for field in full.fields
        if field.name in wanted - LEFT_OUT.get(message, set())
    ]
    for twin in flat.fields:
        field = full.fields_by_name[twin.name]
        assert twin.is_repeated == field.is_repeated
        if field.type == Field.TYPE_MESSAGE and field.name not in ("metrics", "values"):
            assert twin.type == Field.TYPE_BYTES  # the same bytes, left encoded
        else:
            assert twin.type == field.type


def test_every_flat_schema_is_compared():
    assert set(sparkplug_b_columns_pb2.DESCRIPTOR.message_types_by_name) == set(FULL)


def test_a_payload_keeps_all_its_bytes_when_it_is_read_flat():
    full = sparkplug_b_pb2.Payload(timestamp=1, seq=2, uuid="u", body=b"b")
    metric = full.metrics.add(name="n", alias=0, timestamp=3, datatype=19, is_historical=True)
    metric.metadata.description = "d"
    metric.properties.keys.append("Quality")
    metric.properties.values.add(type=3, int_value=500)
    metric.template_value.metrics.add(name="inner", double_value=1.5)
    raw = full.SerializeToString()
    flat = sparkplug_b_columns_pb2.Payload.FromString(raw)
    assert flat.metrics[0].properties == metric.properties.SerializeToString()
    assert flat.metrics[0].template_value == metric.template_value.SerializeToString()
    assert sparkplug_b_pb2.Payload.FromString(flat.SerializeToString()) == full


def test_values_of_a_metric_are_alternatives_in_the_full_schema():
    (oneof,) = sparkplug_b_pb2.Metric.DESCRIPTOR.oneofs
    assert {field.name: field.number for field in oneof.fields} == {
        "int_value": 10,
        "long_value": 11,
        "float_value": 12,
        "double_value": 13,
        "boolean_value": 14,
        "string_value": 15,
        "bytes_value": 16,
        "dataset_value": 17,
        "template_value": 18,
        "extension_value": 19,
    }


# tag_event.proto is the table


def test_a_tag_event_has_exactly_the_columns_of_the_table_in_their_order():
    assert [field.name for field in TagEvent.DESCRIPTOR.fields] == [c.name for c in COLUMNS]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_field_has_the_type_of_its_column_and_is_required_where_it_is_not_null(column):
    field = TagEvent.DESCRIPTOR.fields_by_name[column.name]
    assert field.type == PROTOBUF_TYPE[column.delta_type]
    assert field.is_required is not column.nullable
    assert not field.is_repeated


def test_what_is_constant_for_a_tag_is_encoded_before_everything_else():
    numbers = {
        constant: [
            TagEvent.DESCRIPTOR.fields_by_name[column.name].number
            for column in COLUMNS
            if column.constant_per_tag is constant
        ]
        for constant in (True, False)
    }
    assert max(numbers[True]) < min(numbers[False])


def test_exactly_the_columns_that_follow_from_the_tag_are_constant():
    assert {column.name for column in COLUMNS if column.constant_per_tag} == {
        *("tag_path", "tag_provider", "data_type", "source_system_id"),
        *("group_id", "edge_node_id", "device_id", "metric_name"),
    }


def test_field_numbers_are_dense_so_that_most_tags_take_one_byte():
    numbers = sorted(field.number for field in TagEvent.DESCRIPTOR.fields)
    assert numbers == list(range(1, len(COLUMNS) + 1))
