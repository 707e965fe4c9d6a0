"""Which version of its metadata each tag of one node or device has, kept in the spool.

The versions of all tags of a node or device are one value among the spool's states,
committed together with the rows that tell of them. So nothing of them is in memory, and
nothing is forgotten by a restart. They are read when a birth says something new.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from consumer.errors import SpoolDamaged
from consumer.log_budget import LogBudget
from consumer.rows.encoded import EncodedRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)

_HEAD: Final = np.dtype([("key", "<u8"), ("first_seen", "<i8"), ("valid_from", "<i8")])


@dataclass(frozen=True, slots=True)
class Versions:
    """One version per tag, in order of `key`, which names a tag.

    `first_seen` and `valid_from` are microseconds since 1970 UTC; `content` is what the
    birth said, as an encoded message.
    """

    key: NDArray[np.uint64]
    first_seen: NDArray[np.int64]
    valid_from: NDArray[np.int64]
    content: pa.BinaryArray

    @classmethod
    def none(cls) -> Versions:
        """No versions: those of a node or device that nothing is known of."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing.view(np.uint64), nothing, nothing, pa.array([], pa.binary()))

    def __len__(self) -> int:
        return len(self.key)

    def find(self, keys: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For each key whether there is a version, and its position (0 where there is none)."""
        if not len(self):
            return np.zeros(len(keys), dtype=np.bool_), np.zeros(len(keys), dtype=np.int64)
        position = np.minimum(np.searchsorted(self.key, keys), len(self) - 1)
        found = self.key[position] == keys
        return found, np.where(found, position, 0)

    def replaced(self, ended: NDArray[np.int64], begun: Versions) -> Versions:
        """A copy without the versions at the positions `ended`, and with those that begin."""
        kept = np.ones(len(self), dtype=np.bool_)
        kept[ended] = False
        key = np.concatenate([self.key[kept], begun.key])
        order = np.argsort(key, kind="stable")
        content = pa.concat_arrays([self.content.filter(pa.array(kept)), begun.content])
        return Versions(
            key[order],
            np.concatenate([self.first_seen[kept], begun.first_seen])[order],
            np.concatenate([self.valid_from[kept], begun.valid_from])[order],
            content.take(pa.array(order)),
        )

    def to_blob(self) -> bytes:
        """Encode as bytes with a checksum: a row of all keys and times, then a row per content."""
        heads = np.empty(len(self), dtype=_HEAD)
        heads["key"], heads["first_seen"] = self.key, self.first_seen
        heads["valid_from"] = self.valid_from
        first = EncodedRows.from_messages([heads.tobytes()]).array
        return EncodedRows(pa.concat_arrays([first, self.content])).to_blob(compress=True)

    @classmethod
    def from_blob(cls, blob: bytes) -> Versions:
        """Read what `to_blob` wrote.

        Raises:
            SpoolDamaged: the bytes are not what was written, or a later version's.
        """
        rows = EncodedRows.from_blob(blob).array
        if not len(rows) or len(rows[0].as_buffer()) != _HEAD.itemsize * (len(rows) - 1):
            raise SpoolDamaged("versions of metadata and their heads differ in number")
        heads = np.frombuffer(rows[0].as_buffer(), dtype=_HEAD)
        return cls(
            heads["key"].copy(),
            heads["first_seen"].copy(),
            heads["valid_from"].copy(),
            rows.slice(1),
        )


class VersionStore:
    """The versions of all nodes and devices: read from the spool, written with the next batch.

    Args:
        read: the value of a state in the spool, None where there is none.
        budget: says how many damaged ones are logged.
    """

    def __init__(
        self,
        read: Callable[[str], int | float | str | bytes | None],
        budget: LogBudget | None = None,
    ) -> None:
        self._read = read
        self._budget = budget or LogBudget()
        self._changed: dict[str, Versions] = {}

    def get(self, key: str) -> Versions:
        """The versions of the node or device that `key` names, with changes that wait for a commit.

        Damaged ones count as none: they begin anew.
        """
        changed = self._changed.get(key)
        if changed is not None:
            return changed
        blob = self._read(key)
        if not isinstance(blob, bytes):
            return Versions.none()
        try:
            return Versions.from_blob(blob)
        except SpoolDamaged as error:
            if self._budget.allows("metadata_versions_damaged", ours=True):
                _LOG.warning("metadata versions %s are damaged, they begin anew: %s", key, error)
            return Versions.none()

    def put(self, key: str, versions: Versions) -> None:
        """Change the versions of a node or device; `state` hands them out for the next commit."""
        self._changed[key] = versions

    def state(self) -> dict[str, bytes]:
        """Changed versions as bytes, by key, to be committed with the rows that tell of them."""
        return {key: versions.to_blob() for key, versions in self._changed.items()}

    def settle(self) -> None:
        """State and rows were committed, or neither was: the spool knows what holds."""
        self._changed.clear()
