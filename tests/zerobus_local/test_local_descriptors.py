"""Message types from lone descriptors, and records to Arrow."""

import json

import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2 as dpb
from hypothesis import given
from hypothesis import strategies as st
from support.local_rig import READING, F, descriptor_bytes, fill, message_class

from zerobus_local import descriptors
from zerobus_local.errors import RecordError, SchemaError
from zerobus_local.records import JsonDecoder, ProtoDecoder


def nested(name, fields):
    message = dpb.DescriptorProto(name=name)
    fill(message, fields)
    return message


def quality(*, outer="acme.ot.Outer"):
    enum = dpb.EnumDescriptorProto(name="Quality")
    enum.value.add(name="BAD", number=0)
    enum.value.add(name="GOOD", number=192)
    return enum, f".{outer}.Quality"


def outer_class(package):
    prefix = f"{package}.Outer" if package else "Outer"
    enum, enum_name = quality(outer=prefix)
    inner = nested("Inner", [("x", F.TYPE_INT32, F.LABEL_REQUIRED), ("y", F.TYPE_STRING)])
    return message_class(
        "Outer",
        [
            ("inner", F.TYPE_MESSAGE, f".{prefix}.Inner"),
            ("inners", F.TYPE_MESSAGE, F.LABEL_REPEATED, f".{prefix}.Inner"),
            ("quality", F.TYPE_ENUM, enum_name),
            ("numbers", F.TYPE_INT32, F.LABEL_REPEATED),
        ],
        package=package,
        nested=[inner],
        enums=[enum],
    )


INNER = pa.struct([pa.field("x", pa.int32(), nullable=False), pa.field("y", pa.string())])
OUTER_SCHEMA = pa.schema(
    [
        pa.field("inner", INNER),
        pa.field("inners", pa.list_(INNER)),
        pa.field("quality", pa.int32()),
        pa.field("numbers", pa.list_(pa.int64())),
    ]
)
FITTING = OUTER_SCHEMA.set(3, pa.field("numbers", pa.list_(pa.int32())))


@pytest.mark.parametrize("package", ["", "acme", "acme.ot.v1", "Outer", "acme.Inner"])
def test_the_package_is_found_in_how_nested_types_are_named(package):
    cls = outer_class(package)
    proto = dpb.DescriptorProto()
    cls.DESCRIPTOR.CopyToProto(proto)
    assert descriptors.package_of(proto) == package
    message = descriptors.message_type(proto.SerializeToString())
    assert message.full_name == cls.DESCRIPTOR.full_name
    record = cls(quality=192, numbers=[1, 2])
    record.inner.x = 7
    record.inners.add(x=8, y="z")
    batch, wrong = ProtoDecoder(message, FITTING).decode([record.SerializeToString(), b""])
    assert wrong is None
    assert batch.to_pylist() == [
        {
            "inner": {"x": 7, "y": None},
            "inners": [{"x": 8, "y": "z"}],
            "quality": 192,
            "numbers": [1, 2],
        },
        {"inner": None, "inners": [], "quality": None, "numbers": []},
    ]


def test_types_of_nested_messages_are_compared_too():
    message = descriptors.message_type(descriptor_bytes(outer_class("acme")))
    with pytest.raises(SchemaError, match="field 'numbers' of type repeated int32"):
        ProtoDecoder(message, OUTER_SCHEMA)
    narrow = FITTING.set(0, pa.field("inner", pa.struct([pa.field("x", pa.int32())])))
    with pytest.raises(SchemaError, match=r"field 'inner\.y' is not a column"):
        ProtoDecoder(message, narrow)


def test_a_required_member_of_a_struct_that_is_there_is_not_null():
    cls = outer_class("acme")
    message = descriptors.message_type(descriptor_bytes(cls))
    record = cls()
    record.inner.y = "only y"
    _, wrong = ProtoDecoder(message, FITTING).decode([b"", record.SerializePartialToString()])
    assert wrong.index == 1
    assert "required field 'inner.x' is missing or null" in wrong.text


def test_an_enum_of_the_lost_file_is_a_number():
    proto = dpb.DescriptorProto()
    READING.cls.DESCRIPTOR.CopyToProto(proto)
    field = proto.field.add(name="quality", number=9, label=F.LABEL_OPTIONAL, type=F.TYPE_ENUM)
    field.type_name = ".elsewhere.Quality"
    message = descriptors.message_type(proto.SerializeToString())
    assert message.fields_by_name["quality"].type == F.TYPE_INT32


def test_proto3_optional_fields_keep_their_zeros():
    proto = dpb.DescriptorProto(name="Explicit")
    proto.field.add(
        name="value",
        number=1,
        label=F.LABEL_OPTIONAL,
        type=F.TYPE_DOUBLE,
        proto3_optional=True,
        oneof_index=0,
    )
    proto.oneof_decl.add(name="_value")
    decoder = ProtoDecoder(
        descriptors.message_type(proto.SerializeToString()),
        pa.schema([pa.field("value", pa.float64(), nullable=False)]),
    )
    batch, wrong = decoder.decode([b"\x09" + bytes(8)])
    assert wrong is None
    assert batch.to_pylist() == [{"value": 0.0}]


def test_types_that_a_lone_descriptor_cannot_carry_are_refused():
    for reference in (".google.protobuf.Timestamp", ".acme.Other"):
        proto = nested("Event", [("at", F.TYPE_MESSAGE, reference)])
        with pytest.raises(SchemaError, match="not nested in the record's message"):
            descriptors.message_type(proto.SerializeToString())


def test_recursive_messages_are_refused():
    direct = nested("Tree", [("left", F.TYPE_MESSAGE, ".acme.Tree")])
    mutual = nested("Top", [("a", F.TYPE_MESSAGE, ".acme.Top.A")])
    mutual.nested_type.append(nested("A", [("b", F.TYPE_MESSAGE, ".acme.Top.B")]))
    mutual.nested_type.append(nested("B", [("a", F.TYPE_MESSAGE, ".acme.Top.A")]))
    for proto in (direct, mutual):
        with pytest.raises(SchemaError, match="recursive"):
            descriptors.message_type(proto.SerializeToString())


def test_every_column_type_takes_json():
    columns = {
        "tiny": (pa.int8(), -128, -128),
        "small": (pa.int16(), 32767, 32767),
        "day": (pa.date32(), 1, "1970-01-02"),
        "big": (pa.int64(), "9223372036854775807", 9223372036854775807),
        "single": (pa.float32(), "Infinity", float("inf")),
        "flag": (pa.bool_(), True, True),
        "raw": (pa.binary(), "QUJD", b"ABC"),
        "wall": (pa.timestamp("us"), 1, "1970-01-01 00:00:00.000001"),
        "names": (pa.list_(pa.string()), ["a", "b"], ["a", "b"]),
        "tags": (pa.map_(pa.string(), pa.int64()), {"k": 1}, [("k", 1)]),
        "place": (pa.struct([pa.field("site_name", pa.string())]), {"site_name": "x"}, None),
    }
    schema = pa.schema([pa.field(name, type_) for name, (type_, _, _) in columns.items()])
    text = json.dumps({name: value for name, (_, value, _) in columns.items()})
    batch, wrong = JsonDecoder(schema).decode([text, "{}"])
    assert wrong is None
    assert batch.schema == schema
    row = batch.to_pylist()[0]
    for name, (_, value, expected) in columns.items():
        shown = row[name] if not hasattr(row[name], "isoformat") else str(row[name])
        assert shown == (value if expected is None else expected), name


def test_a_column_no_record_can_carry_may_be_null_only():
    decimal = pa.decimal128(10, 2)
    schema = pa.schema([pa.field("id", pa.string()), pa.field("price", decimal)])
    batch, _ = JsonDecoder(schema).decode(['{"id": "a"}'])
    assert batch.to_pylist() == [{"id": "a", "price": None}]
    with pytest.raises(SchemaError, match="required column 'price' is missing"):
        JsonDecoder(schema.set(1, pa.field("price", decimal, nullable=False)))


READINGS = ProtoDecoder(
    descriptors.message_type(descriptor_bytes(READING.cls)),
    pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("at", pa.timestamp("us")),
            pa.field("value", pa.float64()),
            pa.field("count", pa.int8()),
            pa.field("note", pa.string()),
        ]
    ),
)
WRONG = [
    b"\xff",  # does not parse
    READING.cls(at=1).SerializePartialToString(),  # no id
    READING.cls(id="x").SerializePartialToString(),  # no time
    READING("a", count=1000),  # beyond TINYINT
    b"\x0a\x02\xff\xff\x10\x01",  # not UTF-8
]


@given(st.lists(st.sampled_from([None, None, None, *WRONG]), max_size=40))
def test_rows_end_before_the_first_wrong_record(kinds):
    records = [READING(n) if kind is None else kind for n, kind in enumerate(kinds)]
    expected = next((n for n, kind in enumerate(kinds) if kind is not None), None)
    batch, wrong = READINGS.decode(records)
    if expected is None:
        assert wrong is None
        assert batch.num_rows == len(records)
    else:
        assert isinstance(wrong, RecordError)
        assert wrong.index == expected
        assert batch.column("id").to_pylist() == [str(n) for n in range(expected)]


@given(st.binary(max_size=60))
def test_no_bytes_break_the_decoder(garbage):
    batch, wrong = READINGS.decode([READING("a"), garbage, READING("b")])
    assert batch.num_rows == (3 if wrong is None else 1)
