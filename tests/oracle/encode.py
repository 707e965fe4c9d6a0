"""Rows of the oracle as TagEvent messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.pb.tag_event_pb2 import TagEvent

if TYPE_CHECKING:
    from collections.abc import Mapping


def to_tag_event(row: Mapping[str, Any]) -> bytes:
    """One row as google.protobuf writes it: fields by number, nulls left out."""
    event = TagEvent()
    for column, value in row.items():
        if value is not None:
            setattr(event, column, value)
    return event.SerializeToString(deterministic=True)
