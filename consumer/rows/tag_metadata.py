"""From what births say of tags to rows of `tag_metadata`: one version follows the other.

Zerobus only appends. So a version that ends is written again, whole and under the same
`metadata_id`, with `valid_to`; the later row of a version counts. A row is joined from
three pieces, like those of tag_events (tag_events.py): what is constant for the tag, which
both tables have in common; what the birth says, encoded once and kept as it is
(metadata_versions.py) until the version ends; and the fields of the version.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from consumer.rows.event_id import as_text, place, record_digests
from consumer.rows.metadata_versions import Versions, VersionStore
from consumer.rows.tables import TAG_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from consumer.rows.tag_columns import TagColumns
    from sparkplug import TagMetadata, TagOwner

MOST_CHARACTERS: Final = 32_768
"""Longer texts are cut; longer `properties` are left out, because half of them is no JSON."""

MOST_AHEAD_US: Final = 3_600_000_000
"""A birth that is dated further ahead of its arrival than this is dated by its arrival."""

_CONTENT: Final = TAG_METADATA.wire_schema(
    "unit", "low", "high", "documentation", "tooltip", "read_only", "template", "properties"
)
_CUT: Final = ("unit", "documentation", "tooltip", "template")
_VERSION: Final = TAG_METADATA.wire_schema(
    "metadata_id", "first_seen", "last_seen", "valid_from", "valid_to", "ingestion_timestamp"
)
_ID_MARK: Final = np.uint64(int.from_bytes(b"metadata", "little"))
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_STATE: Final = "tag_metadata/"
_NOTHING: Final = pa.scalar(b"")
_NO_TEXT: Final = pa.scalar(None, pa.string())


class MetadataRows:
    """Makes the rows of one MQTT server's births.

    Args:
        tags: the server's tags. Servers of one site tell of the same tags.
        store: the versions that hold.
    """

    def __init__(self, tags: TagColumns, store: VersionStore) -> None:
        self._catalogue = tags.catalogue
        self._tags = tags
        self._store = store

    def encode(self, metadata: TagMetadata, stamp_us: int) -> list[pa.BinaryArray]:
        """Encoded rows of the versions that one birth ends and begins; none if it ends none.

        Args:
            metadata: what the birth says.
            stamp_us: time of arrival, greater than with every call before: becomes the
                ingestion_timestamp of all rows.
        """
        if not len(metadata):
            return []
        self._tags.extend()
        content = _content(metadata)
        since_us = max(metadata.since_us, 0)
        if since_us > stamp_us + MOST_AHEAD_US:
            since_us = stamp_us
        pieces: list[pa.BinaryArray] = []
        for owner, rows in self._by_owner(metadata.tag):
            pieces += self._take(owner, metadata, rows, content, (since_us, stamp_us))
        return pieces

    def _by_owner(self, tags: NDArray[np.int32]) -> Iterator[tuple[TagOwner, NDArray[np.int64]]]:
        """The positions of the tags of each node or device."""
        owners = self._catalogue.owners
        start = 0
        for owner, run in groupby(owners[tag] for tag in tags.tolist()):
            count = sum(1 for _ in run)
            yield owner, np.arange(start, start + count)
            start += count

    def _take(
        self,
        owner: TagOwner,
        metadata: TagMetadata,
        rows: NDArray[np.int64],
        content: pa.BinaryArray,
        times: tuple[int, int],
    ) -> list[pa.BinaryArray]:
        """Compare with the versions that hold, note those that hold from now on."""
        since_us, stamp_us = times
        state = _state_key(self._tags.names.site, owner)
        versions = self._store.get(state)
        tags, retired = metadata.tag[rows], metadata.retired[rows]
        keys = self._keys(tags)
        found, position = versions.find(keys)
        said = content.take(pa.array(rows))
        same = found & ~retired
        if same.any():
            equal = pc.equal(versions.content.take(pa.array(position)), said)
            same &= equal.to_numpy(zero_copy_only=False)
        ends = np.flatnonzero(found & ~same)
        begins = np.flatnonzero(~retired & ~same)
        if not len(ends) and not len(begins):
            return []
        # What an edge node's clock says that was set back must not come before what it
        # said already.
        since = np.full(len(rows), since_us, dtype=np.int64)
        first_seen = since.copy()
        if found.any():
            since[found] = np.maximum(since_us, versions.valid_from[position[found]] + 1)
            first_seen[found] = versions.first_seen[position[found]]
        ended = position[ends]
        begun = Versions(
            keys[begins], first_seen[begins], since[begins], said.take(pa.array(begins))
        )
        self._store.put(state, versions.replaced(ended, begun))
        pieces = []
        if len(ends):
            old = Versions(
                versions.key[ended],
                versions.first_seen[ended],
                versions.valid_from[ended],
                versions.content.take(pa.array(ended)),
            )
            pieces.append(self._rows(tags[ends], old, stamp_us, valid_to=since[ends]))
        if len(begins):
            pieces.append(self._rows(tags[begins], begun, stamp_us))
        return pieces

    def _keys(self, tags: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Keys that name tags, metrics of one datatype, in the versions of their owner."""
        datatype = self._catalogue.datatype[tags].astype(np.uint64)
        keys: NDArray[np.uint64] = self._tags.identities(tags)[0] ^ (datatype * _SPREAD)
        return keys

    def _rows(
        self,
        tags: NDArray[np.int32],
        versions: Versions,
        stamp_us: int,
        valid_to: NDArray[np.int64] | None = None,
    ) -> pa.BinaryArray:
        """Encoded rows of versions, one per tag; `valid_to`, in microseconds, if they end."""
        count = len(tags)
        digests = record_digests(
            self._tags.identities(tags),
            versions.valid_from.view(np.uint64),
            self._catalogue.datatype[tags].astype(np.uint64),
            np.zeros(count, dtype=np.uint64),
            np.full(count, _ID_MARK),
        )
        batch = pa.RecordBatch.from_arrays(
            [
                as_text(digests),
                pa.array(versions.first_seen),
                pa.array(versions.valid_from if valid_to is None else valid_to),
                pa.array(versions.valid_from),
                pa.nulls(count, pa.int64()) if valid_to is None else pa.array(valid_to),
                pa.array(np.full(count, stamp_us, dtype=np.int64)),
            ],
            schema=_VERSION,
        )
        return pc.binary_join_element_wise(
            self._tags.plain_prefixes(tags), versions.content, TAG_METADATA.encode(batch), _NOTHING
        )


def _state_key(site: str, owner: TagOwner) -> str:
    where = place(site, owner.group_id, owner.edge_node_id, owner.device_id)
    return _STATE + xxhash.xxh3_128_hexdigest(where)


def _content(metadata: TagMetadata) -> pa.BinaryArray:
    """Encode what a birth says of each tag, long texts cut: one message per tag."""
    columns: list[Any] = [_plain(getattr(metadata, field.name), field.type) for field in _CONTENT]
    for name in _CUT:
        index = _CONTENT.get_field_index(name)
        if _has_long(columns[index]):
            columns[index] = pc.utf8_slice_codeunits(columns[index], 0, MOST_CHARACTERS)
    index = _CONTENT.get_field_index("properties")
    if _has_long(columns[index]):
        fits = pc.less_equal(pc.binary_length(columns[index]), MOST_CHARACTERS)
        columns[index] = pc.if_else(fits, columns[index], _NO_TEXT)
    return TAG_METADATA.encode(pa.RecordBatch.from_arrays(columns, schema=_CONTENT))


def _plain(column: Any, arrow_type: pa.DataType) -> Any:
    """A column as one contiguous Arrow array of `arrow_type`."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if column.type == arrow_type else column.cast(arrow_type)


def _has_long(column: Any) -> bool:
    longest = pc.max(pc.binary_length(column)).as_py()
    return longest is not None and longest > MOST_CHARACTERS
