"""Descriptors of rows: as Zerobus takes them, their ids, and the classes that read them."""

from __future__ import annotations

from typing import Any

import xxhash
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def descriptor_bytes(descriptor: Any) -> bytes:
    """A message's descriptor as the SDK takes it: a FileDescriptorProto with this message.

    Deterministic, so that equal bytes mean an equal schema.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{descriptor.full_name}.proto", package=descriptor.file.package, syntax="proto2"
    )
    descriptor.CopyToProto(file.message_type.add())
    return file.SerializeToString(deterministic=True)


def message_class(descriptor: bytes) -> Any:
    """The class of the messages of a descriptor that `descriptor_bytes` made."""
    file = descriptor_pb2.FileDescriptorProto.FromString(descriptor)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: Any = pool.FindFileByName(file.name)
    return message_factory.GetMessageClass(next(iter(found.message_types_by_name.values())))


def schema_id_of(descriptor: bytes) -> str:
    """The id of a schema: it depends on the bytes only."""
    return xxhash.xxh3_64_hexdigest(descriptor)
