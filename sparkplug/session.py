"""The state of one edge node: births, deaths, alias table, names. No I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.aliases import AliasTable
from sparkplug.catalogue import NO_TAG
from sparkplug.sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Sequence as Listing

    from numpy.typing import NDArray

    from sparkplug.aliases import AliasPool
    from sparkplug.catalogue import TagCatalogue
    from sparkplug.holding import Waiting

TRANSMISSION_VERSION = "Node Info/Transmission Version"
"""Metric that Ignition's MQTT Transmission declares in every NBIRTH."""


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
        self.tags: dict[str, int] = {}
        # All tags of the birth: a name declared twice has two, the earlier by alias only.
        self.declared: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        # Paths of the leaves of its templates, which are among its tags; ascending.
        self.leaves: list[str] = []
        self.own_aliases: dict[int, int] | None = None  # only if another owner uses one too
        self.aliases: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self.alias_tags: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    def declare(
        self, catalogue: TagCatalogue, names: Listing[str | None], codes: NDArray[np.uint8]
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
                    catalogue.stale[index] = old != NO_TAG and catalogue.stale[old]
                for index in np.flatnonzero(~kept).tolist():
                    name = names[index]
                    tags[index] = first + fresh[name, int(codes[index])] if name else NO_TAG
        self.tags = {name: tag for name, tag in zip(names, tags.tolist(), strict=True) if name}
        self.declared = np.unique(tags[tags != NO_TAG])
        return tags

    def forget_aliases(self) -> None:
        """Nothing is known by alias any more."""
        self.aliases = self.aliases[:0]
        self.alias_tags = self.alias_tags[:0]

    def rename(self, renamed: NDArray[np.int32]) -> None:
        """Apply new tag ids after the catalogue was compacted."""
        self.tags = {name: int(renamed[tag]) for name, tag in self.tags.items()}
        self.declared = renamed[self.declared]
        self.alias_tags = renamed[self.alias_tags]
        if self.own_aliases is not None:
            self.own_aliases = {a: int(renamed[tag]) for a, tag in self.own_aliases.items()}


class EdgeNodeSession:
    """One edge node as its host application sees it (specification 5.4 to 5.9).

    The sequence counter lives in the fleet's columns, because every message needs it.
    """

    def __init__(self, group_id: str, edge_node_id: str, index: int, pool: AliasPool) -> None:
        self.index = index
        self.owner = MetricOwner(group_id, edge_node_id, None)
        self.devices: dict[str, MetricOwner] = {}
        self.table = AliasTable(pool)
        self.bd_seq: int | None = None
        self.counted_bd_seq: int | None = None  # the same, of births that edge nodes sent
        self.sequence = Sequence()
        self.by_certificate = False  # in doubt, and what is known comes from the server
        self.in_doubt = False  # alive, but what its aliases stand for is not known
        self.late_birth: Waiting | None = None
        self.dead_bd_seq: int | None = None  # of the death that came last
        self.died_us = 0
        self._births = 0
        self._collided = False

    def owners(self) -> list[MetricOwner]:
        """The node itself and its devices."""
        return [self.owner, *self.devices.values()]

    def owner_of(self, device_id: str | None) -> MetricOwner | None:
        """A device of the node, the node itself for None; None if there is no such device."""
        return self.owner if device_id is None else self.devices.get(device_id)

    def begin(self, bd_seq: int | None) -> None:
        """An NBIRTH: the alias table is void, every device waits for its own DBIRTH."""
        self.bd_seq = bd_seq
        self.in_doubt = self.by_certificate = False
        self.dead_bd_seq = None
        self._collided = False
        self.table.clear()
        for owner in self.owners():
            owner.born = False
            owner.own_aliases = None
            owner.forget_aliases()

    def end(self) -> None:
        """An NDEATH: node and devices are offline."""
        self.in_doubt = self.by_certificate = False
        for owner in self.owners():
            owner.born = False

    def ended_by(self, bd_seq: int | None) -> bool:
        """Whether an NDEATH with this bdSeq ends the present session.

        A death without bdSeq, or of a session whose birth had none, is honoured: a
        lost death is worse than a false one, which the next message heals.
        """
        return bd_seq is None or self.bd_seq is None or bd_seq == self.bd_seq

    def end_device(self, owner: MetricOwner) -> None:
        """A DDEATH: the device is offline, its aliases stand for nothing."""
        owner.born = False
        self._withdraw_aliases(owner)

    def take_aliases(
        self, owner: MetricOwner, aliases: NDArray[np.uint64], tags: NDArray[np.int32]
    ) -> None:
        """Replace an owner's aliases by those of its new birth.

        Aliases are unique over the whole node (tck-id payloads-alias-uniqueness), but some
        publishers number per device. Each owner involved then looks in its own first.
        """
        self._withdraw_aliases(owner)
        self._births += 1
        owner.birth_number = self._births
        standing = self.table.get(aliases)
        taken = aliases[(standing != NO_TAG) & ~np.isin(standing, tags)]
        owner.aliases, owner.alias_tags = aliases, tags
        self.table.update(aliases, tags)
        self._collided = self._collided or len(taken) > 0
        if self._collided:
            for other in self.owners():
                other.own_aliases = dict(
                    zip(other.aliases.tolist(), other.alias_tags.tolist(), strict=True)
                )

    def _withdraw_aliases(self, owner: MetricOwner) -> None:
        self.table.remove(owner.aliases, owner.alias_tags)
        owner.forget_aliases()
        owner.own_aliases = None
        if self._collided:  # what it hid comes to light again, the latest birth on top
            self.table.clear()
            for other in sorted(self.owners(), key=lambda each: each.birth_number):
                self.table.update(other.aliases, other.alias_tags)

    def resolve(
        self,
        owner: MetricOwner,
        names: Listing[str | None] | None,
        aliases: NDArray[np.uint64],
        has_alias: NDArray[np.bool_],
    ) -> NDArray[np.int32]:
        """Tag ids of the metrics of one data message; NO_TAG where nothing is declared.

        A name is looked up in its own node or device; it wins over an alias. An alias is
        looked up in the owner first where owners collide, then in the whole node.
        """
        tags = np.full(len(aliases), NO_TAG, dtype=np.int32)
        tags[has_alias] = self.table.get(aliases[has_alias])
        if owner.own_aliases is not None:
            own = owner.own_aliases.get
            mine = [own(alias, NO_TAG) for alias in aliases.tolist()]
            found = has_alias & (np.array(mine, dtype=np.int32) != NO_TAG)
            tags[found] = np.array(mine, dtype=np.int32)[found]
        if names is not None:
            by_name = owner.tags.get
            named = np.array([bool(name) for name in names], dtype=np.bool_)
            found_by_name = [by_name(name, NO_TAG) if name else NO_TAG for name in names]
            tags[named] = np.array(found_by_name, dtype=np.int32)[named]
        return tags
