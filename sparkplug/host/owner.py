"""A node or device that metrics belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sparkplug.host.catalogue import NO_TAG
from sparkplug.memory import StaleMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sparkplug.host.catalogue import TagCatalogue

    Aliases = tuple[NDArray[np.uint64], NDArray[np.int32]]


class OwnedTags(NamedTuple):
    """How many tags are remembered for a node or device, and the characters of their names."""

    tags: int
    characters: int


class MetricOwner:
    """A node or device: the metrics of its last birth, by name and by alias.

    `topic_index` is the position of its data topic in the fleet's columns.
    """

    def __init__(self, group_id: str, edge_node_id: str, device_id: str | None) -> None:
        self.group_id = group_id
        self.edge_node_id = edge_node_id
        self.device_id = device_id
        self.topic_index = -1
        self.born = False
        self.born_ms = -1  # payload timestamp of the birth, -1 if it has none
        self.birth_number = 0  # counts the births of its node
        self.unsure = False  # its aliases may have been given anew by a birth that was lost
        self.moves_aliases = False  # a birth gave an alias to another metric than the one before
        self.tags: dict[str, int] = {}
        # All tags of the birth: a name declared twice has two, the earlier by alias only.
        self.declared: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.characters = self.longest_name = 0  # of the names that its birth declared
        # Tags that only births which give no rows have left out: the next one that does tells.
        self.left_out: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        # Those of its tags that births which a server keeps alone have declared.
        self.kept: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        # Paths of the leaves of its templates, which are among its tags; ascending.
        self.leaves: list[str] = []
        self.own_aliases: dict[int, int] | None = None  # only if another owner uses one too
        self.aliases: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self.alias_tags: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        # Those of the last two births, also if they stand for nothing any more.
        self._last: Aliases | None = None
        self._before: Aliases | None = None
        self._steady: dict[int, int] | None = None

    def remembered(self, catalogue: TagCatalogue) -> OwnedTags:
        """How much is remembered for it."""
        left_out = int(catalogue.name_lengths(self.left_out).sum())
        return OwnedTags(len(self.declared) + len(self.left_out), self.characters + left_out)

    def declare(
        self, catalogue: TagCatalogue, names: Sequence[str | None], codes: NDArray[np.uint8]
    ) -> NDArray[np.int32]:
        """Replace the metrics by those of a birth; return the tag id of each, in order.

        A metric that keeps name and datatype keeps its id. NO_TAG for one without name.
        """
        before = self.tags
        known = [before.get(name, NO_TAG) if name else NO_TAG for name in names]
        tags = np.array(known, dtype=np.int32)
        if len(tags):
            kept = tags != NO_TAG
            kept[kept] = catalogue.datatype[tags[kept]] == codes[kept]
            fresh: dict[tuple[str, int], int] = {}
            for index in np.flatnonzero(~kept).tolist():
                name = names[index]
                if name:
                    fresh.setdefault((name, int(codes[index])), len(fresh))
            if fresh:
                first = catalogue.append(
                    self,
                    [name for name, _ in fresh],
                    np.array([code for _, code in fresh], dtype=np.uint8),
                )
                for index, (name, _) in enumerate(fresh, first):
                    # What was said of the metric when it had another datatype is to be
                    # taken back by the new tag.
                    old = before.get(name, NO_TAG)
                    catalogue.states.stale[index] = old != NO_TAG and catalogue.states.stale[old]
                for index in np.flatnonzero(~kept).tolist():
                    name = names[index]
                    tags[index] = first + fresh[name, int(codes[index])] if name else NO_TAG
        self.tags = {name: tag for name, tag in zip(names, tags.tolist(), strict=True) if name}
        lengths = [len(name) for name in names if name]
        self.characters, self.longest_name = sum(lengths), max(lengths, default=0)
        self.declared = np.unique(tags[tags != NO_TAG])
        return tags

    def replace_aliases(
        self, aliases: NDArray[np.uint64], tags: NDArray[np.int32], *, silent: bool
    ) -> None:
        """Note the aliases of a birth.

        `silent`: it releases nothing that was held. Aliases are steady then only as far as it
        and the births before it agree, back to the last one that was not silent.
        """
        self.aliases, self.alias_tags = aliases, tags
        before, self._steady = self._last, None
        self._before = before
        if before is not None and silent:
            common = _common(before, (aliases, tags))
            aliases = np.fromiter(common, np.uint64, len(common))
            tags = np.fromiter(common.values(), np.int32, len(common))
        elif (
            before is not None
            and np.array_equal(before[0], aliases)
            and np.array_equal(before[1], tags)
        ):
            aliases, tags = before  # most births repeat it: that takes no memory twice
        elif before is not None and not self.moves_aliases:
            _, here, there = np.intersect1d(aliases, before[0], return_indices=True)
            self.moves_aliases = bool((tags[here] != before[1][there]).any())
        self._last = (aliases, tags)

    @property
    def steady(self) -> dict[int, int]:
        """Aliases that stand for one tag in the last birth and in the one before it.

        Of births that release nothing, since the last that did, all must agree.
        """
        if self._steady is None:
            self._steady = {}
            if self._before is not None and self._last is not None:
                self._steady = _common(self._before, self._last)
        return self._steady

    def forget_birth_before(self) -> None:
        """After a start only the last birth is known, however often it was taken in."""
        self._before = self._steady = None

    def forget_steady(self) -> None:
        """What was held is read: `steady` may be large."""
        self._steady = None

    def forget_aliases(self) -> None:
        """Nothing is known by alias any more."""
        self.aliases = self.aliases[:0]
        self.alias_tags = self.alias_tags[:0]

    def rename(self, renamed: NDArray[np.int32]) -> None:
        """Apply new tag ids after the catalogue was compacted."""
        self.tags = {name: int(renamed[tag]) for name, tag in self.tags.items()}
        self.declared = renamed[self.declared]
        self.left_out = renamed[self.left_out]
        self.kept = renamed[self.kept]
        self.alias_tags = renamed[self.alias_tags]
        self._steady = None
        if self._before is not None:
            self._before = (self._before[0], renamed[self._before[1]])
        if self._last is not None:
            self._last = (self._last[0], renamed[self._last[1]])
        if self.own_aliases is not None:
            self.own_aliases = {a: int(renamed[tag]) for a, tag in self.own_aliases.items()}


def _common(one: Aliases, other: Aliases) -> dict[int, int]:
    """Aliases that stand for the same tag in both."""
    here, there = (dict(zip(a.tolist(), t.tolist(), strict=True)) for a, t in (one, other))
    return dict(here.items() & there.items())


def stale_memory(owner: MetricOwner) -> StaleMemory:
    """Rows of quality STALE were given for the tags of a node or device."""
    return StaleMemory(owner.group_id, owner.edge_node_id, owner.device_id)
