"""Bytes and File values: what they are, not what is in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sparkplug.payload.complex.json_values import JsonValue, json_text, text_of
from sparkplug.pb.sparkplug_b_pb2 import MetaData

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXTS: Final = ("file_name", "file_type", "content_type", "description")


def bytes_text(metadata: bytes | None, raw: bytes | None) -> str | None:
    """A Bytes or File value as JSON object; None where there is no value.

    Always there: `size` in bytes and `md5` in hexadecimal, of the content as received.
    From the metadata, where it has them: `file_name`, `file_type`, `content_type`,
    `description`, `declared_size`, `declared_md5`, and `md5_matches`, whether that is the
    content's. A part of a larger file has `part`, its number. The content is not included;
    metadata that is malformed says nothing.
    """
    if raw is None:
        return None
    known = metadata_of(metadata)
    text = described(known, len(raw), md5_of(raw), [known.md5] if known.HasField("md5") else [])
    if known.is_multi_part:
        text["part"] = known.seq
    return json_text(text)


def metadata_of(encoded: bytes | None) -> MetaData:
    """The metadata of a metric; empty when there is none or its bytes are malformed."""
    try:
        return MetaData.FromString(encoded or b"")
    except DecodeError:
        return MetaData()


def md5_of(content: bytes) -> str:
    """MD5 in lower-case hexadecimal: a checksum here, as the specification has it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def described(
    metadata: MetaData, size: int, md5: str, declared: Iterable[object]
) -> dict[str, JsonValue]:
    """The members of bytes_text for content of this size and sum, as a dictionary.

    `declared` are the sums that the publisher gave for it; they match if all of them do.
    """
    found: dict[str, JsonValue] = {"size": size, "md5": md5}
    for field in _TEXTS:
        text = text_of(metadata, field)
        if text is not None:
            found[field] = text
    if metadata.HasField("size"):
        found["declared_size"] = metadata.size
    sums = [plain_sum(each) for each in declared]
    if sums:
        different = [each for each in sums if each != md5]
        found["declared_md5"] = different[0] if different else md5
        found["md5_matches"] = not different
    return found


def plain_sum(declared: object) -> str:
    """A declared MD5 for comparison: case and spaces around it do not matter."""
    return declared.strip().lower() if isinstance(declared, str) else ""
