"""Record descriptors: from the wire to a usable message type, and from a table.

A client sends one serialized DescriptorProto. The file around it is lost, and
with it the package, the syntax, and every type that is not nested in the
message. What can be known is rebuilt here; what cannot is refused.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from google.protobuf.descriptor_pb2 import FileDescriptorProto as FileProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from zerobus_local.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

Kind = FieldDescriptorProto
INT32 = frozenset({Kind.TYPE_INT32, Kind.TYPE_SINT32, Kind.TYPE_SFIXED32})
INT64 = frozenset({Kind.TYPE_INT64, Kind.TYPE_SINT64, Kind.TYPE_SFIXED64})


def message_type(serialized: bytes) -> Descriptor:
    """The message type that `serialized`, one DescriptorProto, describes.

    Read as proto2 whatever it was: a field that is not on the wire is null, so
    the zero values of proto3 fields without `optional` become null. Enums are
    int32, as their file may be lost.

    Raises:
        SchemaError: it does not parse, is recursive, or needs types that a
            DescriptorProto does not carry.
    """
    proto = DescriptorProto()
    try:
        proto.ParseFromString(serialized)
    except DecodeError as error:
        raise SchemaError(f"The descriptor is no serialized DescriptorProto: {error}") from error
    if not proto.name:
        raise SchemaError("The descriptor has no message name")
    package = package_of(proto)
    known = {f".{package}.{name}" if package else f".{name}" for name in _messages(proto)}
    _simplify(proto, known)
    message = _build(proto, package)
    _refuse_recursion(message)
    return message


def package_of(proto: DescriptorProto) -> str:
    """The package of a message, from how it refers to its own nested types.

    Empty where it refers to none: then nothing depends on it either.
    """
    own = sorted(_messages(proto) | _enums(proto), key=len, reverse=True)
    votes: Counter[str] = Counter()
    for field in _fields(proto):
        reference = field.type_name.lstrip(".")
        for name in own:
            if reference == name:
                votes[""] += 1
            elif reference.endswith(f".{name}"):
                votes[reference.removesuffix(f".{name}")] += 1
            else:
                continue
            break
    return votes.most_common(1)[0][0] if votes else ""


def type_of_table(schema: pa.Schema) -> Descriptor:
    """A message type with one optional field per column, for JSON records.

    Columns of types that no record can carry (DECIMAL) are left out.
    """
    proto = DescriptorProto(name="Record")
    _add_columns(proto, "Record", list(schema))
    return _build(proto, "")


def check(message: Descriptor, schema: pa.Schema) -> None:
    """Compare a message type with the table it is to be written to.

    Raises:
        SchemaError: a NOT NULL column has no field, a field no column, or the
            type of a field is not the one of its column. All causes are named.
    """
    causes = list(_mismatches(message, list(schema), ""))
    if causes:
        raise SchemaError("Record schema does not match the target table: " + "; ".join(causes))


def _mismatches(message: Descriptor, columns: list[pa.Field], path: str) -> Iterator[str]:
    fields = message.fields_by_name
    names = {column.name for column in columns}
    for column in columns:
        name = path + column.name
        if column.name in fields:
            yield from _type_mismatch(fields[column.name], column.type, name)
        elif not column.nullable:
            yield f"required column '{name}' is missing"
    for field in message.fields:
        if field.name not in names:
            yield f"field '{path}{field.name}' is not a column of the table"


def _type_mismatch(field: FieldDescriptor, type_: pa.DataType, name: str) -> Iterator[str]:
    kind = field.message_type
    is_map = kind is not None and kind.GetOptions().map_entry
    if pa.types.is_map(type_) and is_map:
        assert kind is not None
        yield from _type_mismatch(kind.fields_by_name["key"], type_.key_type, f"{name}.key")
        yield from _type_mismatch(kind.fields_by_name["value"], type_.item_type, f"{name}.value")
    elif field.is_repeated != pa.types.is_list(type_) or is_map:
        yield _incompatible(field, type_, name)
    else:
        element = type_.value_type if field.is_repeated else type_
        if pa.types.is_struct(element) and kind is not None:
            yield from _mismatches(kind, list(element), f"{name}.")
        elif field.type not in _carriers(element):
            yield _incompatible(field, type_, name)


def _incompatible(field: FieldDescriptor, type_: pa.DataType, name: str) -> str:
    kind = Kind.Type.Name(Kind.Type.ValueType(field.type)).removeprefix("TYPE_").lower()
    label = "repeated " if field.is_repeated else ""
    return f"field '{name}' of type {label}{kind} is incompatible with column type {type_}"


def _carriers(type_: pa.DataType) -> frozenset[int]:  # noqa: PLR0911 - a table, read downwards
    """The protobuf types that may carry a value of the column type."""
    is_ = pa.types
    if is_.is_int8(type_) or is_.is_int16(type_) or is_.is_int32(type_) or is_.is_date32(type_):
        return INT32
    if is_.is_int64(type_) or is_.is_timestamp(type_):
        return INT64
    if is_.is_float32(type_):
        return frozenset({Kind.TYPE_FLOAT})
    if is_.is_float64(type_):
        return frozenset({Kind.TYPE_DOUBLE})
    if is_.is_string(type_) or is_.is_large_string(type_):
        return frozenset({Kind.TYPE_STRING})
    if is_.is_boolean(type_):
        return frozenset({Kind.TYPE_BOOL})
    if is_.is_binary(type_) or is_.is_large_binary(type_):
        return frozenset({Kind.TYPE_BYTES})
    return frozenset()


def _add_columns(proto: DescriptorProto, path: str, columns: list[pa.Field]) -> None:
    for number, column in enumerate(columns, start=1):
        field = FieldDescriptorProto(name=column.name, number=number, label=Kind.LABEL_OPTIONAL)
        type_ = column.type
        if pa.types.is_list(type_) or pa.types.is_map(type_):
            field.label = Kind.LABEL_REPEATED
        if pa.types.is_list(type_):
            type_ = type_.value_type
        if pa.types.is_map(type_) or pa.types.is_struct(type_):
            # protobuf wants exactly this name for the entries of a map.
            name = "".join(part.title() for part in column.name.split("_")) + "Entry"
            nested = proto.nested_type.add(name=name)
            nested.options.map_entry = pa.types.is_map(type_)
            members = (
                [pa.field("key", type_.key_type), pa.field("value", type_.item_type)]
                if pa.types.is_map(type_)
                else list(type_)
            )
            _add_columns(nested, f"{path}.{name}", members)
            field.type = Kind.TYPE_MESSAGE
            field.type_name = f".{path}.{name}"
        else:
            carriers = _carriers(type_)
            if not carriers:
                continue
            field.type = Kind.Type.ValueType(min(carriers))
        proto.field.append(field)


def _build(proto: DescriptorProto, package: str) -> Descriptor:
    file = FileProto(name="zerobus_local/record.proto", package=package, syntax="proto2")
    file.message_type.append(proto)
    pool = DescriptorPool()
    try:
        pool.AddSerializedFile(file.SerializeToString())
        return pool.FindMessageTypeByName(f"{package}.{proto.name}" if package else proto.name)
    except (TypeError, KeyError) as error:
        raise SchemaError(f"The descriptor is not valid: {error}") from error


def _simplify(proto: DescriptorProto, known: set[str]) -> None:
    """Make `proto` stand alone as proto2: only types it carries, enums as int32."""
    for field in proto.field:
        if field.type == Kind.TYPE_ENUM:
            field.type = Kind.TYPE_INT32
            field.ClearField("type_name")
        elif field.type == Kind.TYPE_GROUP or (
            field.type == Kind.TYPE_MESSAGE and field.type_name not in known
        ):
            raise SchemaError(
                f"Field '{field.name}' has type {field.type_name.lstrip('.')}, which is not"
                " nested in the record's message"
            )
        field.ClearField("proto3_optional")
        field.ClearField("oneof_index")
        field.ClearField("default_value")
        field.ClearField("options")
    proto.ClearField("oneof_decl")
    proto.ClearField("enum_type")
    proto.ClearField("extension")
    proto.ClearField("extension_range")
    for nested in proto.nested_type:
        _simplify(nested, known)


def _refuse_recursion(message: Descriptor, outer: tuple[str, ...] = ()) -> None:
    if message.full_name in outer:
        raise SchemaError(f"Message {message.full_name} is recursive")
    for field in message.fields:
        if field.message_type is not None:
            _refuse_recursion(field.message_type, (*outer, message.full_name))


def _messages(proto: DescriptorProto, path: str = "") -> set[str]:
    """Names of the message and all messages nested in it, relative to the package."""
    name = path + proto.name
    inner = (_messages(nested, f"{name}.") for nested in proto.nested_type)
    return {name}.union(*inner)


def _enums(proto: DescriptorProto, path: str = "") -> set[str]:
    name = path + proto.name
    inner = (_enums(nested, f"{name}.") for nested in proto.nested_type)
    return {f"{name}.{enum.name}" for enum in proto.enum_type}.union(*inner)


def _fields(proto: DescriptorProto) -> Iterator[FieldDescriptorProto]:
    yield from proto.field
    for nested in proto.nested_type:
        yield from _fields(nested)
