"""What is constant for a tag, described and encoded once, when its birth declares it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from consumer.event_id import identities, identities_of, place
from consumer.schema import COLUMNS, encode_columns
from consumer.templates import PathTemplate
from sparkplug.datatypes import DataType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.catalogue import TagCatalogue

_CONSTANT: Final = tuple(column.name for column in COLUMNS if column.constant_per_tag)

_DATATYPE_NAMES: Final = {int(each): each.name for each in DataType}
_MOST_SMALL_BYTES: Final = 2**31 - 1


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
        self.catalogue = catalogue
        self.names = names
        self._path = PathTemplate(names.tag_path, server=names.server, site=names.site)
        self._source = PathTemplate(names.source_system_id, server=names.server, site=names.site)
        self._reset()

    def _reset(self) -> None:
        self._generation = self.catalogue.generation
        self._known = 0
        self._batches: list[pa.RecordBatch] = []
        self._prefixes = pa.array([], pa.binary())
        self._identities = np.empty((3, 0), dtype=np.uint64)
        self._last_rows = np.empty(0, dtype=np.uint64)  # half of the last digest per tag

    def extend(self) -> None:
        """Take in tags that were declared since the last call."""
        if self.catalogue.generation != self._generation:
            self._reset()
        first, last = self._known, len(self.catalogue)
        if first == last:
            return
        batch, digests = self._describe(first, last)
        self._batches.append(batch)
        self._prefixes = _joined(self._prefixes, encode_columns(batch))
        self._identities = np.hstack([self._identities, digests])
        fresh = np.zeros(last - first, dtype=np.uint64)
        self._last_rows = np.concatenate([self._last_rows, fresh])
        self._known = last

    def prefixes(self, tags: NDArray[np.int32]) -> pa.BinaryArray:
        """The encoded constant fields of each row."""
        prefixes = self._prefixes.take(pa.array(tags))
        return prefixes if prefixes.type == pa.binary() else prefixes.cast(pa.binary())

    def identities(self, tags: NDArray[np.int32]) -> NDArray[np.uint64]:
        """The identity of each row, for `event_ids`: shape (3, n)."""
        return self._identities.take(tags, axis=1)

    def repeats(self, tags: NDArray[np.int32], digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each observation is the one that its tag's row before it was."""
        words = _half(digests)
        before = self._last_rows[tags]
        order = np.argsort(tags, kind="stable")
        again = tags[order[1:]] == tags[order[:-1]]
        before[order[1:][again]] = words[order[:-1][again]]
        repeated: NDArray[np.bool_] = before == words
        return repeated

    def remember(self, tags: NDArray[np.int32], digests: NDArray[np.uint64]) -> None:
        """Note the last row of each tag."""
        self._last_rows[tags] = _half(digests)

    def forget_last_rows(self) -> None:
        """Rows were lost on their way: nothing is a repetition of them."""
        self._last_rows[:] = 0

    def columns(self, tags: NDArray[np.int32]) -> dict[str, pa.Array]:
        """The constant columns themselves, for readers of Arrow batches."""
        table = pa.Table.from_batches(self._batches).combine_chunks().take(pa.array(tags))
        return {name: table.column(name).combine_chunks() for name in _CONSTANT}

    def _describe(self, first: int, last: int) -> tuple[pa.RecordBatch, NDArray[np.uint64]]:
        """Constant columns and identities of the tags from `first` to `last`."""
        catalogue = self.catalogue
        columns: dict[str, list[str | None]] = {name: [] for name in _CONSTANT}
        digests: list[bytes] = []
        start = first
        for owner, run in groupby(catalogue.owners[first:last]):
            count = len(list(run))
            names = catalogue.names[start : start + count]
            start += count
            ids = (owner.group_id, owner.edge_node_id, owner.device_id)
            paths = self._path.texts(*ids, names)
            columns["tag_path"] += paths
            columns["tag_provider"] += map(self._path.provider_of, paths)
            columns["source_system_id"] += self._source.texts(*ids, names)
            columns["group_id"] += [owner.group_id] * count
            columns["edge_node_id"] += [owner.edge_node_id] * count
            columns["device_id"] += [owner.device_id] * count
            columns["metric_name"] += names
            digests += identities_of(names, place(self.names.site, *ids))
        codes = catalogue.datatype[first:last].tolist()
        columns["data_type"] += map(_DATATYPE_NAMES.__getitem__, codes)
        batch = pa.record_batch({k: pa.array(v, pa.string()) for k, v in columns.items()})
        return batch, identities(digests)


def _half(digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One word of each digest: 64 bits suffice to tell a tag's rows apart."""
    return digests[:, 1].astype(np.uint64)


def _joined(first: pa.Array, second: pa.Array) -> pa.Array:
    """Two binary arrays as one, with 64-bit offsets once 32 bits do not suffice."""
    if first.nbytes + second.nbytes > _MOST_SMALL_BYTES:
        first, second = first.cast(pa.large_binary()), second.cast(pa.large_binary())
    return pa.concat_arrays([first, second])
