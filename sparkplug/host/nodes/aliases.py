"""Alias tables: for each edge node a map from alias to tag id.

Tables of dense aliases (what every known publisher sends) are regions of one array,
so that a batch over any number of nodes is resolved with one gather. A table whose
aliases are scattered over 64 bits is a dictionary instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.host.catalogue import NO_TAG

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DENSE_MINIMUM: Final = 4096
_DENSE_FACTOR: Final = 16
"""A table is dense while its largest alias is below both bounds' sum: memory stays linear."""


class AliasPool:
    """The array that all dense tables live in. Position 0 holds NO_TAG for what is out of range."""

    def __init__(self) -> None:
        self.tags: NDArray[np.int32] = np.full(65_536, NO_TAG, dtype=np.int32)
        self._top = 1
        self._given_back = 0
        self._tables: set[AliasTable] = set()

    def adopt(self, table: AliasTable) -> None:
        """Take note of a table, so that compaction can move its region."""
        self._tables.add(table)

    def allocate(self, size: int) -> int:
        """Reserve a region filled with NO_TAG; return where it starts."""
        if self._top + size > len(self.tags):
            grown = np.full(max(2 * len(self.tags), self._top + size), NO_TAG, dtype=np.int32)
            grown[: self._top] = self.tags[: self._top]
            self.tags = grown
        base = self._top
        self.tags[base : base + size] = NO_TAG
        self._top += size
        return base

    def give_back(self, size: int) -> None:
        """Note that a region of this size is no longer used."""
        self._given_back += size

    @property
    def wasteful(self) -> bool:
        """Whether more than half of the array is no longer used."""
        return self._given_back > 65_536 and 2 * self._given_back > self._top

    def compact(self) -> None:
        """Move all regions together. Every table's `base` changes."""
        old = self.tags
        self.tags = np.full(max(65_536, 2 * (self._top - self._given_back)), NO_TAG, np.int32)
        self._top = 1
        self._given_back = 0
        for table in self._tables:
            base = self.allocate(table.size)
            self.tags[base : base + table.size] = old[table.base : table.base + table.size]
            table.base = base

    def rename(self, renamed: NDArray[np.int32]) -> None:
        """Apply new tag ids to all tables; `renamed[-1]` must be NO_TAG."""
        self.tags = renamed[self.tags]
        for table in self._tables:
            if table.scattered is not None:
                table.scattered = {
                    alias: int(renamed[tag]) for alias, tag in table.scattered.items()
                }


class AliasTable:
    """One edge node's aliases: `base` and `size` of its region, or `scattered`."""

    def __init__(self, pool: AliasPool) -> None:
        self._pool = pool
        self._count = 0
        self.base = 0
        self.size = 0
        self.scattered: dict[int, int] | None = None
        pool.adopt(self)

    def clear(self) -> None:
        """Forget all aliases (an NBIRTH replaces the whole table)."""
        self._pool.tags[self.base : self.base + self.size] = NO_TAG
        self._count = 0
        if self.scattered is not None:
            self.scattered = None

    def get(self, aliases: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Tag ids, NO_TAG for unknown aliases."""
        if self.scattered is not None:
            known = self.scattered.get
            found = [known(alias, NO_TAG) for alias in aliases.tolist()]
            return np.array(found, dtype=np.int32)
        inside = aliases < np.uint64(self.size)
        positions = np.where(inside, aliases.astype(np.int64) + self.base, 0)
        return self._pool.tags[positions]

    def update(self, aliases: NDArray[np.uint64], tags: NDArray[np.int32]) -> None:
        """Add aliases; the last of equal ones wins."""
        if len(aliases) == 0:
            return
        self._count += len(aliases)
        largest = int(aliases.max())
        if self.scattered is None and largest >= _DENSE_MINIMUM + _DENSE_FACTOR * self._count:
            region = self._pool.tags[self.base : self.base + self.size]
            used = np.flatnonzero(region != NO_TAG)
            self.scattered = dict(zip(used.tolist(), region[used].tolist(), strict=True))
            self._pool.give_back(self.size)
            self.base = self.size = 0
        if self.scattered is not None:
            self.scattered.update(zip(aliases.tolist(), tags.tolist(), strict=True))
            return
        if largest >= self.size:
            self._grow(max(largest + 1, min(2 * self.size, largest + _DENSE_MINIMUM)))
        self._pool.tags[aliases.astype(np.int64) + self.base] = tags

    def remove(self, aliases: NDArray[np.uint64], tags: NDArray[np.int32]) -> None:
        """Forget aliases that still stand for these tags."""
        if self.scattered is not None:
            for alias, tag in zip(aliases.tolist(), tags.tolist(), strict=True):
                if self.scattered.get(alias) == tag:
                    del self.scattered[alias]
            return
        positions = aliases[self.get(aliases) == tags].astype(np.int64) + self.base
        self._pool.tags[positions] = NO_TAG
        self._count -= len(positions)

    def _grow(self, size: int) -> None:
        base = self._pool.allocate(size)
        old = self._pool.tags[self.base : self.base + self.size]
        self._pool.tags[base : base + self.size] = old
        self._pool.give_back(self.size)
        self.base, self.size = base, size
