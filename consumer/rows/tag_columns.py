"""What is constant for a tag, described and encoded once, when it appears.

`ConstantColumns` keeps it, whoever declares tags; `TagColumns` has those of births.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.rows.event_id import identities, identities_of, place
from consumer.rows.layouts import DEFAULT_LAYOUT
from consumer.rows.tables import COLUMNS, TAG_EVENTS
from consumer.rows.templates import PathTemplate, SourceNames
from sparkplug import DataType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.rows.layouts import TagLayout
    from sparkplug import TagCatalogue

CONSTANT: Final = tuple(column.name for column in COLUMNS if column.constant_per_tag)

DATATYPE_NAMES: Final = {int(each): each.name for each in DataType}
_INT32: Final = pa.int32()
_TAKE: Final = pc.get_function("array_take")
_MOST_SMALL_BYTES: Final = 2**31 - 1
_PIECE: Final = 10_000
"""Tags described at a time: the texts of more would not be used again, but take memory."""


class ConstantColumns(ABC):
    """The constant columns of tags that have dense ids, in the order in which they appear."""

    def __init__(self, layout: TagLayout = DEFAULT_LAYOUT) -> None:
        self.layout = layout
        self._forget_all()

    def _forget_all(self) -> None:
        """Begin anew: ids that were given stand for nothing any more."""
        self._known = 0
        self._prefixes = _Records()
        self._identities = np.empty((3, 1024), dtype=np.uint64)
        self._last_rows = np.zeros(1024, dtype=np.uint64)  # half of the last digest per tag

    @abstractmethod
    def extend(self) -> None:
        """Take in tags that appeared since the last call."""

    @abstractmethod
    def _describe(self, tags: Sequence[int]) -> tuple[pa.RecordBatch, NDArray[np.uint64]]:
        """Constant columns and identities of these tags."""

    def _extend_to(self, last: int) -> None:
        """Take in all tags before this id that are not known yet."""
        first = self._known
        if first == last:
            return
        self._reserve(last)
        for start in range(first, last, _PIECE):
            tags = range(start, min(start + _PIECE, last))
            batch, digests = self._describe(tags)
            self._identities[:, tags.start : tags.stop] = digests
            self._prefixes.extend(self._encode(batch))
            self._known = tags.stop  # with each piece: what fails later must not shift the rest

    def _encode(self, batch: pa.RecordBatch) -> pa.BinaryArray:
        """Constant fields of the layout: its names are the descriptor's only."""
        layout = self.layout
        if layout.is_default:
            return TAG_EVENTS.encode(batch)
        if layout.speaks_of_kinds:
            kinds = pa.array(map(layout.datatype, batch.column("data_type").to_pylist()))
            batch = batch.set_column(batch.schema.get_field_index("data_type"), "data_type", kinds)
        wanted = [name for name in batch.schema.names if name in layout.names]
        if not wanted:
            return pa.array([b""] * len(batch), pa.binary())
        return TAG_EVENTS.encode(batch.select(wanted))

    def plain_prefixes(self, tags: NDArray[np.int32]) -> pa.BinaryArray:
        """The encoded constant columns of each row, all of them, whatever the layout.

        Made anew with every call unless the layout has them all: for few rows.
        """
        if self.layout.is_default:
            return self.prefixes(tags)
        distinct, position = np.unique(tags, return_inverse=True)
        batch, _ = self._describe(distinct.tolist())
        return TAG_EVENTS.encode(batch).take(pa.array(position))

    def _reserve(self, size: int) -> None:
        """Make room; half as much again, so that a tag is moved few times however they come."""
        room = len(self._last_rows)
        if size <= room:
            return
        more = max(size, room * 3 // 2) - room
        self._identities = np.pad(self._identities, ((0, 0), (0, more)))
        self._last_rows = np.pad(self._last_rows, (0, more))

    def prefixes(self, tags: NDArray[np.int32]) -> pa.BinaryArray:
        """The encoded constant fields of each row."""
        return self._prefixes.take(tags)

    @property
    def longest_prefix(self) -> int:
        """Bytes of the longest of all prefixes that there were."""
        return self._prefixes.longest

    def prefix_sizes(self, tags: NDArray[np.int32]) -> NDArray[np.int64]:
        """Bytes of the encoded constant fields of each row."""
        return self._prefixes.sizes(tags)

    def identities(self, tags: NDArray[np.int32]) -> NDArray[np.uint64]:
        """The identity of each row, for `event_ids`: shape (3, n)."""
        return self._identities.take(tags, axis=1)

    def repeats(
        self, tags: NDArray[np.int32], digests: NDArray[np.uint64], present: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Whether each observation equals the last row of its tag before it that was present."""
        words = _half(digests)
        before = self._last_rows[tags]
        order = np.argsort(tags, kind="stable")
        place = np.arange(len(order))
        begins = np.diff(tags[order], prepend=-1) != 0
        first = np.maximum.accumulate(np.where(begins, place, 0))
        last = np.full(len(order), -1)  # the place of the last present row before each
        last[1:] = np.maximum.accumulate(np.where(present[order], place, -1))[:-1]
        again = np.flatnonzero(last >= first)
        before[order[again]] = words[order[last[again]]]
        repeated: NDArray[np.bool_] = before == words
        return repeated

    def remember(self, tags: NDArray[np.int32], digests: NDArray[np.uint64]) -> None:
        """Note the last present row of each tag."""
        self._last_rows[tags] = _half(digests)

    def forget_last_rows(self) -> None:
        """Rows were lost on their way: nothing is a repetition of them."""
        self._last_rows[:] = 0

    def columns(self, tags: NDArray[np.int32]) -> dict[str, pa.Array]:
        """The constant columns themselves, for readers of Arrow batches.

        Made anew with every call, because what is sent are the encoded prefixes. The ids
        must be of the catalogue's present generation.
        """
        distinct, position = np.unique(tags, return_inverse=True)
        batch, _ = self._describe(distinct.tolist())
        rows = batch.take(pa.array(position))
        return {name: rows.column(name) for name in CONSTANT}


class TagColumns(ConstantColumns):
    """The constant columns of every tag of one catalogue, extended as tags appear."""

    def __init__(
        self, catalogue: TagCatalogue, names: SourceNames, layout: TagLayout = DEFAULT_LAYOUT
    ) -> None:
        super().__init__(layout)
        self.catalogue = catalogue
        self.names = names
        self._path = PathTemplate(names.tag_path, server=names.server, site=names.site)
        self._source = PathTemplate(names.source_system_id, server=names.server, site=names.site)
        self._generation = catalogue.generation

    def extend(self) -> None:
        """Take in tags that were declared since the last call."""
        if self.catalogue.generation != self._generation:
            self._forget_all()
            self._generation = self.catalogue.generation
        self._extend_to(len(self.catalogue))

    def prefix_of(self, group_id: str, edge_node_id: str, device_id: str | None) -> str:
        """What the paths of the tags of a node or device begin with, as far as all of them do."""
        path = self._path.texts(group_id, edge_node_id, device_id, ["\0"])[0]
        return path.partition("\0")[0]

    def path_of(self, group_id: str, edge_node_id: str, device_id: str | None, name: str) -> str:
        """The tag_path of a metric of a node or device."""
        return self._path.texts(group_id, edge_node_id, device_id, [name])[0]

    def source_system_id_of(
        self, group_id: str, edge_node_id: str, device_id: str | None, name: str
    ) -> str:
        """The source_system_id of a metric of a node or device."""
        return self._source.texts(group_id, edge_node_id, device_id, [name])[0]

    def _describe(self, tags: Sequence[int]) -> tuple[pa.RecordBatch, NDArray[np.uint64]]:
        """Constant columns and identities of these tags."""
        catalogue = self.catalogue
        columns: dict[str, list[str | None]] = {name: [] for name in CONSTANT}
        digests: list[bytes] = []
        for owner, run in groupby(tags, catalogue.owners.__getitem__):
            names = [catalogue.names[tag] for tag in run]
            ids = (owner.group_id, owner.edge_node_id, owner.device_id)
            paths = self._path.texts(*ids, names)
            columns["tag_path"] += paths
            columns["tag_provider"] += map(self._path.provider_of, paths)
            columns["source_system_id"] += self._source.texts(*ids, names)
            columns["group_id"] += [owner.group_id] * len(names)
            columns["edge_node_id"] += [owner.edge_node_id] * len(names)
            columns["device_id"] += [owner.device_id] * len(names)
            columns["metric_name"] += names
            digests += identities_of(names, place(self.names.site, *ids))
        codes = catalogue.datatype[list(tags)].tolist()
        columns["data_type"] += map(DATATYPE_NAMES.__getitem__, codes)
        batch = pa.record_batch({k: pa.array(v, pa.string()) for k, v in columns.items()})
        return batch, identities(digests)


class _Records:
    """Encoded records, one behind the other, in memory that grows where it is.

    A bytearray asks for an eighth more than it needs and is moved by the page: adding
    records costs what they are long, and needs no second copy of those before.
    """

    def __init__(self) -> None:
        self.longest = 0
        self._size = 0
        self._data = bytearray()
        self._offsets = np.zeros(1024, dtype=np.int32)
        self._view: pa.Array | None = None

    def extend(self, records: pa.BinaryArray) -> None:
        """Add records at the end."""
        self._view = None  # what Arrow looks at cannot grow
        first, last = self._size, self._size + len(records)
        ends = np.frombuffer(records.buffers()[1], dtype=np.int32)
        ends = ends[records.offset : records.offset + len(records) + 1]
        begin, end = int(ends[0]), int(ends[-1])
        self.longest = max(self.longest, int(np.diff(ends).max(initial=0)))
        if len(self._data) + end - begin > _MOST_SMALL_BYTES:
            self._offsets = self._offsets.astype(np.int64)
        if last >= len(self._offsets):
            more = max(last + 1, len(self._offsets) * 3 // 2) - len(self._offsets)
            self._offsets = np.pad(self._offsets, (0, more))
        self._offsets[first + 1 : last + 1] = ends[1:].astype(np.int64) + (len(self._data) - begin)
        self._data += memoryview(records.buffers()[2])[begin:end]
        self._size = last

    def sizes(self, positions: NDArray[np.int32]) -> NDArray[np.int64]:
        """Bytes of the records at these positions."""
        sizes: NDArray[np.int64] = self._offsets[positions + 1].astype(np.int64)
        sizes -= self._offsets[positions]
        return sizes

    def take(self, positions: NDArray[np.int32]) -> pa.BinaryArray:
        """Copies of the records at these positions."""
        if self._view is None:
            small = self._offsets.dtype == np.int32
            self._view = pa.Array.from_buffers(
                pa.binary() if small else pa.large_binary(),
                self._size,
                [None, pa.py_buffer(self._offsets), pa.py_buffer(self._data)],
            )
        # Built by hand: pa.array(positions) costs as much as the rest.
        indices = pa.Array.from_buffers(
            _INT32, len(positions), [None, pa.py_buffer(np.ascontiguousarray(positions))]
        )
        taken = _TAKE.call([self._view, indices])
        return taken if taken.type == pa.binary() else taken.cast(pa.binary())


def _half(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The second word of each digest: 64 bits suffice to tell a tag's rows apart."""
    return digests.view(np.uint64)[:, 1]
