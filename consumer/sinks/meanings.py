"""What may help when Zerobus refuses, and in which columns table and rows differ.

Read from the service's own words, as far as these have been observed; where it says
nothing, from what the refused records have in common.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from consumer.errors import FailureKind
from consumer.rows import message_class

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUOTED: Final = re.compile(r"[\"'`]([A-Za-z_][A-Za-z0-9_.]*)[\"'`]")
_MOST_LOOKED_AT: Final = 100

_BY_TEXT: Final = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        (
            r"Error Code: 1521\b",
            (
                "either zerobus.endpoint is of another workspace than the table, or the table has "
                "a layout that the service does not take: try it without liquid clustering"
            ),
        ),
        (
            r"Error Code: 4024\b",
            (
                "the table must be a managed Delta table outside of default storage: make it anew "
                "in a catalog with storage of its own; look also at the grants on the table"
            ),
        ),
        (r"Error Code: 1015\b", "the table has generated columns, which the service does not take"),
        (
            r"Client error \(429\)",
            "the workspace limits token requests; this passes, unless other programs ask too often",
        ),
        (
            r"Client error \(40[013]\)",
            (
                "zerobus.client_id or zerobus.client_secret is wrong, or the secret has expired: "
                "`sparkplug-zerobus check` tries them"
            ),
        ),
    )
)
_BY_KIND: Final = {
    FailureKind.AUTHENTICATION: "look at the service principal's secret, and at its grants: USE "
    "CATALOG, USE SCHEMA, and SELECT and MODIFY on the table itself; `sparkplug-zerobus ddl` "
    "prints them",
    FailureKind.CONTRACT: "compare the table with what `sparkplug-zerobus ddl` prints",
    FailureKind.PERMANENT: "`sparkplug-zerobus check` looks at endpoint, table and grants",
}


def mend(kind: FailureKind, text: str) -> str:
    """What may help; empty when it passes by itself, or nobody knows.

    Args:
        kind: what the failure is.
        text: the service's words.
    """
    for pattern, advice in _BY_TEXT:
        if pattern.search(text):
            return advice
    if "cannot be found" in text or "not found" in text.lower():
        return "make the table with what `sparkplug-zerobus ddl` prints, or mend zerobus.table"
    return _BY_KIND.get(kind, "")


def difference(words: str, descriptor: bytes, refused: Sequence[bytes] = ()) -> str:
    """In which columns table and rows differ, as far as that can be known.

    Args:
        words: why the service refused.
        descriptor: serialized FileDescriptorProto that the rows were encoded for.
        refused: encoded rows that it refused.
    """
    message = descriptor_pb2.FileDescriptorProto.FromString(descriptor).message_type[0]
    sent = {field.name: field for field in message.field}
    named = list(dict.fromkeys(name.rpartition(".")[2] for name in _QUOTED.findall(words)))
    ours = [name for name in named if name in sent]
    if ours:
        return f"it is about {_columns(ours)}"
    # A column of the table that we do not send is named, too; a table has three parts.
    if others := [name for name in named if f".{name}" not in words]:
        return f"it is about {_columns(others)}, which the consumer does not send"
    optional = [name for name, each in sent.items() if each.label != each.LABEL_REQUIRED]
    common = [name for name in _in_all(descriptor, refused) if name in optional]
    if common:
        return (
            f"the service names no column; all of the refused records carry {_columns(common)}, "
            "beside those that every record has"
        )
    return "the service names no column"


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _in_all(descriptor: bytes, records: Sequence[bytes]) -> list[str]:
    """Fields that all of the records carry that can be read at all."""
    message = message_class(descriptor)
    common: list[str] | None = None
    for record in records[:_MOST_LOOKED_AT]:
        try:
            carried = {field.name for field, _ in message.FromString(record).ListFields()}
        except DecodeError:
            continue
        if common is None:
            common = [field.name for field in message.DESCRIPTOR.fields if field.name in carried]
        common = [name for name in common if name in carried]
    return common or []
