"""A birth as the spool's file has it, and whether that is what was written.

The payload is compressed, with a checksum. Layout, little-endian: uint32 bytes of the payload, the
highest bit set; 8 bytes XXH3-64 of these four and of what follows, big-endian; then the payload as
an LZ4 block. An earlier release wrote no checksum, and left the highest bit unset: an MQTT message
has 256 MB at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import xxhash

from consumer.errors import SpoolDamaged
from sparkplug import Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparkplug import NodeKey

_CODEC: Final = "lz4_raw"
_SIZE_BYTES: Final = 4
_CHECKSUM_BYTES: Final = 8
_CHECKED: Final = 1 << 31
_MOST_TIMES: Final = 255
"""A byte of an LZ4 block makes so many at most."""


def packed(payload: bytes) -> bytes:
    """A payload compressed: births repeat names and types."""
    compressed: bytes = pa.Codec(_CODEC).compress(payload, asbytes=True)
    head = (len(payload) | _CHECKED).to_bytes(_SIZE_BYTES, "little")
    return head + _checksum(head, compressed) + compressed


def unpacked(blob: bytes) -> bytes:
    """The payload of a birth, as it came, from what `packed` made of it.

    Raises:
        SpoolDamaged: the bytes are not what was written.
    """
    size, compressed = _checked(blob)
    if not size:
        return b""
    try:
        payload: bytes = pa.Codec(_CODEC).decompress(
            compressed, decompressed_size=size, asbytes=True
        )
    except (OSError, pa.ArrowException) as error:  # only where there is no checksum
        raise SpoolDamaged(f"the bytes of a birth cannot be decompressed: {error}") from error
    return payload


def damage_of(
    group_id: str, edge_node_id: str, device_id: str, topic: str, payload: bytes
) -> Iterator[tuple[NodeKey, SpoolDamaged]]:
    """What is damaged of a birth, and whose it is: by its topic perhaps not the node's it names.

    Args:
        group_id: of the node, as its column has it.
        edge_node_id: as its column has it.
        device_id: as its column has it, empty for the node itself.
        topic: of the message.
        payload: what `packed` made of it.
    """
    try:
        _checked(payload)
        if not _has_checksum(payload):
            unpacked(payload)
    except SpoolDamaged as error:
        yield (group_id, edge_node_id), error
    read = parse_topic(topic)
    if not isinstance(read, Topic):
        yield (group_id, edge_node_id), SpoolDamaged("the topic of a birth is none")
        return
    of_topic = (read.group_id, read.edge_node_id)
    if of_topic != (group_id, edge_node_id) or (read.device_id or "") != device_id:
        problem = f"a birth is of {group_id}/{edge_node_id}, and its topic of another"
        yield of_topic, SpoolDamaged(problem)


def _checked(blob: object) -> tuple[int, memoryview]:
    """How many bytes the payload has, and what they are compressed to."""
    if not isinstance(blob, bytes) or len(blob) < _SIZE_BYTES:
        raise SpoolDamaged("a birth is shorter than its header")
    head, rest = blob[:_SIZE_BYTES], memoryview(blob)[_SIZE_BYTES:]
    size = int.from_bytes(head, "little")
    if _has_checksum(blob):
        size -= _CHECKED
        checksum, rest = rest[:_CHECKSUM_BYTES], rest[_CHECKSUM_BYTES:]
        if checksum != _checksum(head, rest):
            raise SpoolDamaged("the checksum of a birth does not fit its bytes")
    if size > _MOST_TIMES * len(rest):
        raise SpoolDamaged(f"{len(rest)} bytes of a birth cannot be {size} compressed ones")
    return size, rest


def _has_checksum(blob: bytes) -> bool:
    return bool(int.from_bytes(blob[:_SIZE_BYTES], "little") & _CHECKED)


def _checksum(head: bytes, compressed: bytes | memoryview) -> bytes:
    found = xxhash.xxh3_64(head)
    found.update(compressed)
    return found.digest()
