"""Tag ids: every metric that a birth declared, as a row of append-only columns.

A tag is one metric of one node or device with one datatype. Its id is dense, so that
whatever depends on the tag alone is gathered from columns with one `take`. A rebirth
that declares the same metrics finds the same ids; ids that no birth declares any more
are dropped by `keep`, which starts a new generation of ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from sparkplug.datatypes import READING_OF_CODE, READINGS, DataType, Reading
from sparkplug.host.tag_states import TagStates
from sparkplug.names import BD_SEQ

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from numpy.typing import NDArray

MAX_NAME_CHARACTERS: Final = 4096
"""Metrics with longer names are not declared: every row of a tag repeats its name."""

NO_TAG: Final = -1
"""Tag id of a metric that cannot be resolved."""

_STRUCTURED: Final = np.isin(np.arange(256), (DataType.Template, DataType.Bytes, DataType.File))

_CONTROL_PREFIXES: Final = ("Node Control/", "Device Control/")


class TagOwner(Protocol):
    """What the catalogue needs to know of the node or device that a tag belongs to."""

    @property
    def group_id(self) -> str:
        """Group id of the topic."""

    @property
    def edge_node_id(self) -> str:
        """Edge node id of the topic."""

    @property
    def device_id(self) -> str | None:
        """Device id of the topic, None at node level."""

    @property
    def tags(self) -> dict[str, int]:
        """Its tags by name."""


def is_control(name: str) -> bool:
    """Whether a metric steers the session rather than being data: it gives no rows.

    Names are those of the specification exactly, case and all.
    """
    return name == BD_SEQ or name.startswith(_CONTROL_PREFIXES)


def _place(owner: TagOwner) -> str:
    ids = (owner.group_id, owner.edge_node_id, owner.device_id)
    return "/".join(part for part in ids if part is not None)


class TagCatalogue:
    """Columns over tag ids. `len()` is the number of ids handed out in this generation.

    `wanted` is asked once per tag whether `group/node[/device]/metric` is to give rows.
    `characters` are those of all names together; `states` is what was last read and said of tags.
    Each of `on_renamed` is told the new id of each old one, NO_TAG at the end, whenever `keep` has
    given them.
    """

    def __init__(self, wanted: Callable[[str], bool] | None = None) -> None:
        self._wanted = wanted
        self.generation = 0
        self.on_renamed: list[Callable[[NDArray[np.int32]], None]] = []
        self.names: list[str] = []
        self.owners: list[TagOwner] = []
        self.any_structured = False
        self.longest_name = 0
        self.characters = 0
        self.states = TagStates()
        self._size = 0
        self._datatype = np.zeros(1024, dtype=np.uint8)
        self._emitted = np.zeros(1024, dtype=np.bool_)
        self._name_length = np.zeros(1024, dtype=np.int16)

    def __len__(self) -> int:
        return self._size

    @property
    def datatype(self) -> NDArray[np.uint8]:
        """Datatype code per tag; 0 (Unknown) for codes the specification does not list."""
        return self._datatype[: self._size]

    def datatype_of(self, tags: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Datatype code of each tag."""
        found: NDArray[np.uint8] = self._datatype[tags]
        return found

    def reading_of(self, tags: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Index into READINGS of each tag."""
        found: NDArray[np.uint8] = READING_OF_CODE[self._datatype[tags]]
        return found

    @property
    def emitted(self) -> NDArray[np.bool_]:
        """Whether a tag gives rows; False for bdSeq, control metrics and unwanted tags."""
        return self._emitted[: self._size]

    def gives_rows(self, tags: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether each of these tags gives rows; False for NO_TAG."""
        found: NDArray[np.bool_] = self._emitted[tags] & (tags != NO_TAG)
        return found

    def with_rows(self, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        """Those of these tags that give rows, and whose values are read."""
        return tags[self.gives_rows(tags) & self.is_read(tags)]

    def name_lengths(self, tags: NDArray[np.int32]) -> NDArray[np.int16]:
        """How many characters the name of each of these tags has; anything for NO_TAG."""
        found: NDArray[np.int16] = self._name_length[tags]
        return found

    def named(self, tags: NDArray[np.int32], names: Container[str]) -> NDArray[np.bool_]:
        """Whether the name of each of these tags is among some names."""
        return np.fromiter((self.names[tag] in names for tag in tags.tolist()), np.bool_, len(tags))

    def never_gives_rows(self, owner: TagOwner, name: str, *, is_template: bool) -> bool:
        """Whether a metric of this name gives no row, whatever a birth says of it.

        A template that is not wanted itself may have members that are.
        """
        if is_control(name):
            return True
        if self._wanted is None or is_template:
            return False
        return not self._wanted(f"{_place(owner)}/{name}")

    def is_structured(self, tags: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether one metric of these tags may be no row, or several: templates and files.

        `any_structured` is False as long as there are no such tags at all.
        """
        found: NDArray[np.bool_] = _STRUCTURED[self._datatype[tags]] & (tags != NO_TAG)
        return found

    def take_back_stale(
        self, tags: NDArray[np.int32], eligible: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which of these metrics are the first to give a row after their tag was STALE.

        `eligible` are those that may. Their tags are not STALE any more.
        """
        back = eligible & self.gives_rows(tags) & self.is_read(tags)
        back &= self.states.stale[tags]
        found, first = np.unique(tags[back], return_index=True)
        taken = np.zeros(len(tags), dtype=np.bool_)
        taken[np.flatnonzero(back)[first]] = True
        self.states.stale[found] = False
        return taken

    def is_read(self, tags: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether values of these tags are read at all: not those of complex datatypes."""
        scalar: NDArray[np.bool_] = self.reading_of(tags) != READINGS.index(Reading.COMPLEX)
        return scalar

    def append(self, owner: TagOwner, names: Sequence[str], codes: NDArray[np.uint8]) -> int:
        """Add tags of one owner; return the first id, the others follow it."""
        first = self._size
        self._reserve(first + len(names))
        self._datatype[first : first + len(names)] = codes
        emitted = [not is_control(name) for name in names]
        if self._wanted is not None:
            place = _place(owner)
            emitted = [
                e and self._wanted(f"{place}/{n}") for e, n in zip(emitted, names, strict=True)
            ]
        self._emitted[first : first + len(names)] = emitted
        lengths = list(map(len, names))
        self._name_length[first : first + len(names)] = lengths
        self.longest_name = max(self.longest_name, max(lengths, default=0))
        self.characters += sum(lengths)
        self.any_structured = self.any_structured or bool(_STRUCTURED[codes].any())
        self.names.extend(names)
        self.owners.extend([owner] * len(names))
        self.states.append(len(names))
        self._size = first + len(names)
        return first

    def keep(self, live: NDArray[np.int32]) -> NDArray[np.int32]:
        """Drop all tags but `live` (ascending ids); return the new id of each old one."""
        renamed = np.full(self._size + 1, NO_TAG, dtype=np.int32)
        renamed[live] = np.arange(len(live), dtype=np.int32)
        self._datatype = np.concatenate([self._datatype[live], np.zeros(1024, dtype=np.uint8)])
        self._emitted = np.concatenate([self._emitted[live], np.zeros(1024, dtype=np.bool_)])
        lengths = self._name_length[live]
        self._name_length = np.concatenate([lengths, np.zeros(1024, dtype=np.int16)])
        self.longest_name, self.characters = int(lengths.max(initial=0)), int(lengths.sum())
        self.names = [self.names[tag] for tag in live.tolist()]
        self.owners = [self.owners[tag] for tag in live.tolist()]
        self.states.keep(live)
        self._size = len(live)
        self.generation += 1
        for told in self.on_renamed:
            told(renamed)
        return renamed

    def _reserve(self, size: int) -> None:
        if size > len(self._datatype):
            grown = max(size, 2 * len(self._datatype))
            self._datatype = np.resize(self._datatype, grown)
            self._emitted = np.resize(self._emitted, grown)
            self._name_length = np.resize(self._name_length, grown)
