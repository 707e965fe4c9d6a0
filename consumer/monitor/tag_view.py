"""All tags of all servers as columns, for who searches, sorts and turns pages.

A view is made anew when tags came or went, and not for each request: a request works on columns,
and looks one by one only at the tags of its page.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consumer.monitor.folders import Folder
from sparkplug import DataType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.pipeline import Source
    from consumer.spool import OwnerPlace
    from sparkplug import TagOwner

    Mask = NDArray[np.bool_]

DATATYPES: Final = {int(each): each.name for each in DataType}
_ATTEMPTS: Final = 20
_MOST_WORDS: Final = 8
_PIECE: Final = 10_000
"""Tags that are taken in at a time: what is made of more in between would take memory."""


class Of(NamedTuple):
    """Where tags are: everything that is not empty must be the tag's own.

    Args:
        server, group_id, edge_node_id: of the tag.
        device_id: of the tag; None for any, empty for the node itself.
        folder: begin of its name up to a `/`.
    """

    server: str = ""
    group_id: str = ""
    edge_node_id: str = ""
    device_id: str | None = None
    folder: str = ""


class _Part(NamedTuple):
    """The tags of one server."""

    generation: int
    names: list[str]  # of the catalogue, by tag id
    tags: NDArray[np.int32]
    owners: list[TagOwner]
    owner: NDArray[np.int32]  # position in `owners`
    codes: NDArray[np.uint8]


class TagView:
    """The tags that present births declare and that give rows, as columns over their positions.

    Args:
        sources: of all servers.
        version: counts the views.

    Attributes:
        places: server, group, node and device of each node and device that has tags.
        owner: for each tag the position of its node or device in `places`.
        tag: its id in the catalogue of its server.
        source: the position of its server in `sources`.
        codes: its datatype.
    """

    def __init__(self, sources: Sequence[Source], version: int) -> None:
        self.version = version
        self.sources = sources
        parts = [_part(source) for source in sources]
        self._names = [part.names for part in parts]
        self._generations = [part.generation for part in parts]
        self.places: list[OwnerPlace] = []
        self.source_of_place: list[int] = []
        owner: list[NDArray[np.int32]] = []
        for index, (source, part) in enumerate(zip(sources, parts, strict=True)):
            owner.append(part.owner + np.int32(len(self.places)))
            self.places += [
                (source.name, each.group_id, each.edge_node_id, each.device_id or "")
                for each in part.owners
            ]
            self.source_of_place += [index] * len(part.owners)
        self.owner: NDArray[np.int32] = np.concatenate(owner)
        self.tag: NDArray[np.int32] = np.concatenate([part.tags for part in parts])
        self.codes: NDArray[np.uint8] = np.concatenate([part.codes for part in parts])
        self.source = np.array(self.source_of_place, dtype=np.int32)[self.owner]
        self.starts = np.cumsum([0, *(len(part.tags) for part in parts)]).tolist()
        pieces = [
            pc.utf8_lower(
                pa.array(
                    [part.names[tag] for tag in part.tags[start : start + _PIECE].tolist()],
                    pa.string(),
                )
            )
            for part in parts
            for start in range(0, len(part.tags), _PIECE)
        ]
        self._lower = pa.concat_arrays(pieces) if pieces else pa.array([], pa.string())
        self._folder = "", np.zeros(0, dtype=np.bool_)
        self._owner_texts = lowered(
            [
                sources[index].tags.prefix_of(place[1], place[2], place[3] or None)
                for place, index in zip(self.places, self.source_of_place, strict=True)
            ]
        )

    def __len__(self) -> int:
        return len(self.tag)

    @property
    def is_current(self) -> bool:
        """Whether tag ids are still those of the catalogues."""
        return self._generations == [each.fleet.catalogue.generation for each in self.sources]

    @property
    def tags_of_sources(self) -> list[NDArray[np.int32]]:
        """The ids of the tags of each server, in the order of their positions."""
        bounds = zip(self.starts, self.starts[1:], strict=False)
        return [self.tag[start:stop] for start, stop in bounds]

    def name(self, position: int) -> str:
        """The name of a tag."""
        return self._names[int(self.source[position])][int(self.tag[position])]

    def place(self, position: int) -> OwnerPlace:
        """Server, group, node and device of a tag."""
        return self.places[int(self.owner[position])]

    def find(self, place: OwnerPlace, name: str) -> int | None:
        """The position of a tag; None if there is none."""
        try:
            owner = self.places.index(place)
        except ValueError:
            return None
        found = [at for at in np.flatnonzero(self.owner == owner).tolist() if self.name(at) == name]
        return found[-1] if found else None

    # ------------------------------------------------------------------ searching

    def where(self, of: Of) -> Mask:
        """Which tags are there."""
        wanted = np.array(
            [
                (not of.server or place[0] == of.server)
                and (not of.group_id or place[1] == of.group_id)
                and (not of.edge_node_id or place[2] == of.edge_node_id)
                and (of.device_id is None or place[3] == of.device_id)
                for place in self.places
            ],
            dtype=np.bool_,
        )
        found: Mask = wanted[self.owner] if len(self.places) else np.zeros(0, dtype=np.bool_)
        if of.folder:
            found &= self._below(of.folder)
        return found

    def _below(self, folder: str) -> Mask:
        """Which tags are in a folder of any node or device; kept until another one is asked for."""
        last, found = self._folder
        if last != folder:
            begin = Folder(folder).begin
            found = _flags(pc.starts_with(self._lower, lowered([begin])[0])).copy()
            # Names that differ only in their case are of different tags, and so are folders.
            for position in np.flatnonzero(found).tolist():
                found[position] = self.name(position).startswith(begin)
            self._folder = folder, found
        return found

    def search(self, text: str, units: Units | None) -> Mask:
        """Which tags have each of the first words of a text in path, name, datatype or unit."""
        found = np.ones(len(self), dtype=np.bool_)
        for word in lowered(text.split()[:_MOST_WORDS]):
            found &= self._has(word, units)
        return found

    def _has(self, word: str, units: Units | None) -> Mask:
        found = _flags(pc.match_substring(self._lower, word))
        found |= self._owners_with(word in text for text in self._owner_texts)
        # A word may begin in the path of the node or device, and end in the name.
        for at, character in enumerate(word[:-1]):
            if character == "/":
                before, behind = word[: at + 1], word[at + 1 :]
                ends = self._owners_with(text.endswith(before) for text in self._owner_texts)
                if ends.any():
                    found |= ends & _flags(pc.starts_with(self._lower, behind))
        types = [code for code, name in DATATYPES.items() if word in name.lower()]
        if types:
            found |= np.isin(self.codes, types)
        if units is not None:
            found |= units.has(word)
        return found

    def _owners_with(self, wanted: object) -> Mask:
        flags = np.fromiter(wanted, dtype=np.bool_, count=len(self.places))  # type: ignore[call-overload]
        found: Mask = flags[self.owner] if len(flags) else np.zeros(0, dtype=np.bool_)
        return found

    # ------------------------------------------------------------------ sorting

    @cached_property
    def by_path(self) -> NDArray[np.int32]:
        """Positions in the order of paths: by server, node and device, and there by name."""
        owners = sorted(range(len(self.places)), key=self._owner_texts.__getitem__)
        rank = np.empty(len(owners), dtype=np.int32)
        rank[owners] = np.arange(len(owners))
        return np.lexsort((self.name_rank, rank[self.owner])).astype(np.int32)

    @cached_property
    def name_rank(self) -> NDArray[np.int32]:
        """The place of each tag in the order of names; equal names have different ones."""
        order = pc.sort_indices(self._lower).to_numpy()
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return rank

    @cached_property
    def datatype_rank(self) -> NDArray[np.int64]:
        """The place of each tag's datatype in the order of their names."""
        ordered = sorted(DATATYPES, key=DATATYPES.__getitem__)
        rank = np.zeros(256, dtype=np.int64)
        rank[ordered] = np.arange(len(ordered))
        found: NDArray[np.int64] = rank[self.codes]
        return found


class Units:
    """The unit of each tag of a view.

    Args:
        names: all that there are.
        index: of each tag in `names`, -1 for none.
    """

    def __init__(self, names: Sequence[str], index: NDArray[np.int32]) -> None:
        self.names = names
        self.index = index

    def has(self, word: str) -> Mask:
        """Which tags have a word in their unit."""
        small = lowered(self.names)
        flags = np.array([word in name for name in small] + [False], dtype=np.bool_)
        found: Mask = flags[self.index]
        return found

    def get(self, position: int) -> str | None:
        """The unit of a tag; None if it has none."""
        index = int(self.index[position])
        return self.names[index] if index >= 0 else None

    @property
    def rank(self) -> NDArray[np.int64]:
        """The place of each tag's unit in the order of units; those without come last."""
        order = sorted(range(len(self.names)), key=self.names.__getitem__)
        rank = np.empty(len(order) + 1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        rank[-1] = len(order)
        found: NDArray[np.int64] = rank[self.index]
        return found


def _part(source: Source) -> _Part:
    """The tags of one server, of one generation of their ids."""
    catalogue = source.fleet.catalogue
    for _ in range(_ATTEMPTS):
        generation, size = catalogue.generation, len(catalogue)
        names, owners, codes = catalogue.names, catalogue.owners, catalogue.datatype
        declared, gives_rows = source.fleet.declared_tags(), catalogue.emitted
        if catalogue.generation == generation and len(codes) >= size <= len(gives_rows):
            break
    else:  # ids are given anew all the time; the next view tells
        size, declared = 0, np.empty(0, dtype=np.int32)
    shown = np.zeros(size, dtype=np.bool_)
    shown[declared[(declared >= 0) & (declared < size)]] = True
    shown &= gives_rows[:size] & (codes[:size] != DataType.Template)
    tags = np.flatnonzero(shown).astype(np.int32)
    owner = np.empty(len(tags), dtype=np.int32)
    numbers: dict[int, int] = {}
    distinct: list[TagOwner] = []
    for start in range(0, len(tags), _PIECE):
        for at, tag in enumerate(tags[start : start + _PIECE].tolist(), start):
            each = owners[tag]
            number = numbers.get(id(each))
            if number is None:
                number = numbers[id(each)] = len(distinct)
                distinct.append(each)
            owner[at] = number
    return _Part(generation, names, tags, distinct, owner, codes[tags].copy())


def lowered(texts: Sequence[str]) -> list[str]:
    """Texts in small letters, made of each letter as in the columns that are searched.

    Python makes others of some: of a sigma by what is beside it, and two of an I with a dot.
    """
    small: list[str] = pc.utf8_lower(pa.array(texts, pa.string())).to_pylist()
    return small


def _flags(found: pa.BooleanArray) -> Mask:
    flags: Mask = found.to_numpy(zero_copy_only=False)
    return flags
