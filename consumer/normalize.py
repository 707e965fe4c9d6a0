"""Observations to rows of tag_events: as encoded protobuf records, or as an Arrow batch.

What is constant for a tag (path, ids, name, datatype, source) is encoded once, when the
tag appears in the catalogue. A row's record is that prefix followed by its variable
fields: the concatenation of two protobuf messages is their merger, and the field numbers
of proto/tag_event.proto make it byte for byte what any library would write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ptars import HandlerPool

from consumer.errors import NullInRequiredColumnError
from consumer.event_id import event_ids, identities, identity
from consumer.schema import COLUMNS, TAG_EVENT_DESCRIPTOR, TAG_EVENTS_SCHEMA
from consumer.templates import PathTemplate
from sparkplug.datatypes import DataType
from sparkplug.messages import MESSAGE_TYPES
from sparkplug.quality import NAMES as QUALITY_NAMES
from sparkplug.values import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.catalogue import TagCatalogue
    from sparkplug.messages import Observations

_HANDLER: Final = HandlerPool([TAG_EVENT_DESCRIPTOR.file]).get_for_message(TAG_EVENT_DESCRIPTOR)
_CONSTANT: Final = tuple(column.name for column in COLUMNS if column.constant_per_tag)
_REQUIRED_VARIABLE: Final = tuple(
    column.name for column in COLUMNS if not column.nullable and not column.constant_per_tag
)
_MESSAGE_TYPE_NAMES: Final = pa.array([str(name) for name in MESSAGE_TYPES])
_QUALITY_NAMES: Final = pa.array(QUALITY_NAMES)
_PIECE: Final = 10_000
"""Rows encoded at a time; larger pieces spend their time on fresh memory."""


@dataclass(frozen=True, slots=True)
class SourceNames:
    """How rows of one MQTT server are named: its name, its site, and the two templates."""

    server: str = "local"
    site: str = ""
    tag_path: str = "[MQTT Engine]Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}"
    source_system_id: str = "{group_id}/{edge_node_id}"


class TagColumns:
    """The constant columns of every tag of one catalogue, extended as tags appear."""

    def __init__(self, catalogue: TagCatalogue, names: SourceNames) -> None:
        self._catalogue = catalogue
        self._site = names.site
        self._path = PathTemplate(names.tag_path, server=names.server, site=names.site)
        self._source = PathTemplate(names.source_system_id, server=names.server, site=names.site)
        self._reset()

    def _reset(self) -> None:
        self._generation = self._catalogue.generation
        self._known = 0
        self._batches: list[pa.RecordBatch] = []
        self._prefix_parts: list[pa.BinaryArray] = []
        self._prefixes: pa.LargeBinaryArray | None = None
        self._identities = np.empty((0, 2), dtype=np.uint64)

    def extend(self) -> None:
        """Take in tags that were declared since the last call."""
        if self._catalogue.generation != self._generation:
            self._reset()
        first, last = self._known, len(self._catalogue)
        if first == last:
            return
        batch, digests = self._describe(first, last)
        self._batches.append(batch)
        self._prefix_parts.append(_HANDLER.record_batch_to_array(batch).cast(pa.large_binary()))
        self._prefixes = pa.concat_arrays(self._prefix_parts)
        self._prefix_parts = [self._prefixes]
        self._identities = np.concatenate([self._identities, digests])
        self._known = last

    def prefixes(self, tags: NDArray[np.int32]) -> pa.BinaryArray:
        """The encoded constant fields of each row."""
        assert self._prefixes is not None
        return self._prefixes.take(pa.array(tags)).cast(pa.binary())

    def identities(self, tags: NDArray[np.int32]) -> NDArray[np.uint64]:
        """The identity digest of each row, shape (n, 2)."""
        found: NDArray[np.uint64] = self._identities[tags]
        return found

    def columns(self, tags: NDArray[np.int32]) -> dict[str, pa.Array]:
        """The constant columns themselves, for readers of Arrow batches."""
        table = pa.Table.from_batches(self._batches).combine_chunks().take(pa.array(tags))
        return {name: table.column(name).combine_chunks() for name in _CONSTANT}

    def _describe(self, first: int, last: int) -> tuple[pa.RecordBatch, NDArray[np.uint64]]:
        catalogue = self._catalogue
        names = catalogue.names[first:last]
        owners = catalogue.owners[first:last]
        paths = [
            self._path.fill(o.group_id, o.edge_node_id, o.device_id, n)
            for o, n in zip(owners, names, strict=True)
        ]
        provider = self._path.provider_of
        types = [DataType(code).name for code in catalogue.datatype[first:last].tolist()]
        columns = {
            "tag_path": paths,
            "tag_provider": [provider(path) for path in paths],
            "data_type": types,
            "source_system_id": [
                self._source.fill(o.group_id, o.edge_node_id, o.device_id, n)
                for o, n in zip(owners, names, strict=True)
            ],
            "group_id": [o.group_id for o in owners],
            "edge_node_id": [o.edge_node_id for o in owners],
            "device_id": [o.device_id for o in owners],
            "metric_name": names,
        }
        digests = identities(
            identity(self._site, o.group_id, o.edge_node_id, o.device_id, n)
            for o, n in zip(owners, names, strict=True)
        )
        return pa.record_batch({k: pa.array(v, pa.string()) for k, v in columns.items()}), digests


@dataclass(frozen=True, slots=True)
class TagEvents:
    """Rows of tag_events made from one batch of observations."""

    observations: Observations
    tags: TagColumns
    variable: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.observations)

    def encode(self) -> list[pa.BinaryArray]:
        """Encoded TagEvents, in pieces that fit into the processor's cache.

        Raises:
            NullInRequiredColumnError: a NOT NULL column holds a null; the encoder would
                write a record that Zerobus rejects with everything behind it.
        """
        for name in _REQUIRED_VARIABLE:
            if self.variable.column(name).null_count:
                raise NullInRequiredColumnError(f"column {name} holds a null")
        return [
            pc.binary_join_element_wise(
                self.tags.prefixes(self.observations.tag[start : start + _PIECE]),
                _HANDLER.record_batch_to_array(self.variable.slice(start, _PIECE)),
                b"",
            )
            for start in range(0, len(self), _PIECE)
        ]

    def to_record_batch(self) -> pa.RecordBatch:
        """The same rows as Arrow, in the schema of the table."""
        columns: dict[str, Any] = dict(
            zip(self.variable.schema.names, self.variable.columns, strict=True)
        )
        columns.update(self.tags.columns(self.observations.tag))
        return pa.record_batch(
            [columns[field.name].cast(field.type) for field in TAG_EVENTS_SCHEMA],
            schema=TAG_EVENTS_SCHEMA,
        )


def normalize(observations: Observations, tags: TagColumns, first_arrival: int) -> TagEvents:
    """Rows for a batch of observations; `first_arrival` numbers the first one."""
    tags.extend()
    rows = len(observations)
    values = observations.values
    kind = values.kind
    return TagEvents(
        observations,
        tags,
        pa.record_batch(
            {
                "event_id": event_ids(tags.identities(observations.tag), observations),
                "event_time": pa.array(observations.event_time_us),
                "quality": _QUALITY_NAMES.take(pa.array(observations.quality)),
                "message_type": _MESSAGE_TYPE_NAMES.take(pa.array(observations.message_type)),
                "is_historical": pa.array(observations.historical),
                "ingestion_timestamp": pa.array(observations.received_us),
                "numeric_value": pa.array(values.number, mask=~values.has_number),
                "integer_value": pa.array(values.integer, mask=kind != Kind.INTEGER),
                "string_value": values.text,
                "boolean_value": pa.array(
                    values.integer.astype(np.bool_), mask=kind != Kind.BOOLEAN
                ),
                "quality_code": pa.array(observations.quality_code),
                "seq": _optional(observations.seq, pa.int32()),
                "payload_timestamp": _optional(observations.payload_time_us, pa.int64()),
                "arrival_number": pa.array(
                    np.arange(first_arrival, first_arrival + rows, dtype=np.int64)
                ),
            }
        ),
    )


def _optional(values: NDArray[np.int64], arrow_type: pa.DataType) -> pa.Array:
    """An integer column where -1 stands for null."""
    absent = values < 0
    array = pa.array(values, mask=absent) if absent.any() else pa.array(values)
    return array.cast(arrow_type)
