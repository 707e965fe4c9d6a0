"""Template metrics as they are in a batch, one by one: they are rare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.structured_rows import UnknownMembers
from sparkplug.messages import Message
from sparkplug.payload import ABSENT, TemplateValue, quality_of, validity
from sparkplug.pb import sparkplug_b_columns_pb2
from sparkplug.pb.sparkplug_b_pb2 import Payload, PropertySet
from sparkplug.topics import MessageType, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.owner import MetricOwner
    from sparkplug.pb.sparkplug_b_pb2 import Metric, PropertyValue

_OTHER_MEMBERS: Final = (
    *("int_value", "long_value", "float_value", "double_value", "boolean_value"),
    *("string_value", "bytes_value", "dataset_value", "extension_value"),
)


class Spot(NamedTuple):
    """Where a metric is: its batch, the position of its message, its row."""

    batch: Batch
    position: int
    row: int


class Instance(NamedTuple):
    """One Template metric: its row, its value, and whether it has one of another kind instead."""

    row: int
    value: TemplateValue
    is_other: bool


_FIELDS: Final = (
    *("template_value", "timestamp", "is_null", "is_historical", "is_transient", "properties"),
)


def instances_of(batch: Batch, rows: NDArray[np.int64]) -> Iterator[Instance]:
    """The Template metrics at these rows."""
    if len(rows) == 0:
        return
    selection = pa.array(rows)
    columns = {name: batch.columns.metric(name).take(selection).to_pylist() for name in _FIELDS}
    other = np.zeros(len(rows), dtype=np.bool_)
    for name in _OTHER_MEMBERS:
        other |= validity(batch.columns.metric(name).take(selection))
    for index, row in enumerate(rows.tolist()):
        fields = {name: column[index] for name, column in columns.items()}
        value = _value(fields)
        is_other = bool(other[index]) and value.template is None and not value.is_null
        yield Instance(row, value, is_other)


def _value(fields: dict[str, Any]) -> TemplateValue:
    return TemplateValue(
        fields["template_value"],
        fields["timestamp"],
        bool(fields["is_null"]),
        bool(fields["is_historical"]),
        bool(fields["is_transient"]),
        _quality(fields["properties"]),
    )


def is_definition(template: bytes) -> bool:
    """Whether an encoded Template is a definition, without looking at its members."""
    try:
        return sparkplug_b_columns_pb2.TemplateHead.FromString(template).is_definition
    except DecodeError:
        return False


def _quality(properties: bytes | None) -> PropertyValue | None:
    if properties is None or b"Quality" not in properties:
        return None
    try:
        return quality_of(PropertySet.FromString(properties))
    except DecodeError:
        return None


def unknown_members(
    spot: Spot,
    members: Sequence[Metric],
    owner: MetricOwner,
    tags: NDArray[np.int32],
    catalogue: TagCatalogue,
) -> UnknownMembers:
    """The members of a template that have no tag and need one, as a message of their own."""
    batch, position, row = spot
    without_tag = (members[index] for index in np.flatnonzero(tags == NO_TAG).tolist())
    members = [
        each
        for each in without_tag
        if not catalogue.never_gives_rows(
            owner, each.name, is_template=each.HasField("template_value")
        )
    ]
    payload = Payload(metrics=members)
    sent_ms, seq = batch.sent_ms(position), int(batch.columns.seq[position])
    if sent_ms != ABSENT:
        payload.timestamp = sent_ms
    if seq != ABSENT:
        payload.seq = seq
    verb = MessageType.NDATA if owner.device_id is None else MessageType.DDATA
    topic = Topic(owner.group_id, verb, owner.edge_node_id, owner.device_id)
    received_us = batch.messages.received_us[position]
    message = Message(str(topic), payload.SerializeToString(), received_us)
    return UnknownMembers(position, row, owner, message, members)
