"""The state of one edge node: births, deaths, alias table, names. No I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.nodes.aliases import AliasTable
from sparkplug.host.nodes.sequence import Sequence
from sparkplug.host.owner import MetricOwner

if TYPE_CHECKING:
    from collections.abc import Sequence as Listing

    from numpy.typing import NDArray

    from sparkplug.host.nodes.aliases import AliasPool
    from sparkplug.host.nodes.seq_place import SeqPlace
    from sparkplug.host.nodes.sequence import WindowRoom
    from sparkplug.host.nodes.waiting import Waiting

TRANSMISSION_VERSION = "Node Info/Transmission Version"
"""Metric that Ignition's MQTT Transmission declares in every NBIRTH."""

LATE_SECONDS: Final = 2.0
"""For so long after an NDEATH an NBIRTH with its bdSeq may belong to the session that ended."""

_BD_SEQ_MODULUS: Final = 256


class EdgeNodeState:
    """One edge node as its host application sees it (specification 5.4 to 5.9).

    It is made with the first birth of the node, and has its present session, or knows how the last
    one ended: sessions begin and end in it, with an NBIRTH and an NDEATH. `owner.born` says whether
    one goes on. The sequence counter lives in the fleet's columns, because every message needs it.
    """

    def __init__(
        self, group_id: str, edge_node_id: str, index: int, pool: AliasPool, windows: WindowRoom
    ) -> None:
        self.index = index
        self.owner = MetricOwner(group_id, edge_node_id, None)
        self.devices: dict[str, MetricOwner] = {}
        self.born_at: dict[str, SeqPlace] = {}  # where DBIRTHs stand, if that is known
        self.table = AliasTable(pool)
        self.bd_seq: int | None = None
        self.counted_bd_seq: int | None = None  # of the last birth not kept by a server
        self._other_bd_seqs: frozenset[int] = frozenset()  # of the session before, and its death
        self.sequence = Sequence(windows)
        self.by_certificate = False  # in doubt, and what is known comes from the server
        self.in_doubt = False  # alive, but what its aliases stand for is not known
        self.asked_unsure_at: float | None = None  # for a birth that tells what aliases mean
        self.late_birth: Waiting | None = None
        self.dead_bd_seq: int | None = None  # of the death that came last
        self.died_at = 0.0  # monotonic seconds: when that death was heard
        self._births = 0
        self.collided = False  # an alias stood for two tags: owners look in their own first
        self.published: tuple[int, int, bool, bool] | None = None  # where the table was said to be

    def owners(self) -> list[MetricOwner]:
        """The node itself and its devices."""
        return [self.owner, *self.devices.values()]

    def owner_of(self, device_id: str | None) -> MetricOwner | None:
        """A device of the node, the node itself for None; None if there is no such device."""
        return self.owner if device_id is None else self.devices.get(device_id)

    def begin(self, bd_seq: int | None) -> None:
        """An NBIRTH: the alias table is void, every device waits for its own DBIRTH."""
        others = {n for n in (self.bd_seq, self.dead_bd_seq) if n is not None} - {bd_seq}
        self._other_bd_seqs = frozenset(others) or self._other_bd_seqs
        self.bd_seq = bd_seq
        self.in_doubt = self.by_certificate = False
        self.dead_bd_seq = None
        self.born_at.clear()
        self.collided = False
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

    def may_have_ended(self, bd_seq: int | None, now: float) -> bool:
        """Whether an NBIRTH with this bdSeq may be one of the session that ended just now.

        Its payload timestamp does not tell: the clocks of the node and of the host are two.
        """
        if self.owner.born or self.dead_bd_seq is None or self.late_birth is not None:
            return False
        return bd_seq == self.dead_bd_seq and now < self.died_at + LATE_SECONDS

    def due(self, reorder_timeout: float) -> float:
        """Monotonic time at which what waits here waits no longer. Only while something does."""
        if self.late_birth is not None:
            return self.died_at + LATE_SECONDS
        return self.sequence.due(reorder_timeout)

    def ended_by(self, bd_seq: int | None) -> bool:
        """Whether an NDEATH with this bdSeq ends the present session.

        A death without bdSeq, or of a session whose birth had none, is honoured: a
        lost death is worse than a false one, which the next message heals. So is the death of
        a session that can only be later; not one of before, where the numbers begin anew.
        """
        if bd_seq is None or self.bd_seq is None or bd_seq == self.bd_seq:
            return True
        return bd_seq not in self._other_bd_seqs and _is_ahead(bd_seq, self.bd_seq)

    def end_device(self, owner: MetricOwner) -> None:
        """A DDEATH: the device is offline, its aliases stand for nothing."""
        owner.born = False
        self._withdraw_aliases(owner)

    def replace_aliases(
        self,
        owner: MetricOwner,
        aliases: NDArray[np.uint64],
        tags: NDArray[np.int32],
        *,
        silent: bool,
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
        owner.replace_aliases(aliases, tags, silent=silent)
        self.table.update(aliases, tags)
        had_collided, self.collided = self.collided, self.collided or len(taken) > 0
        if self.collided:
            for other in (owner,) if had_collided else self.owners():
                other.own_aliases = dict(
                    zip(other.aliases.tolist(), other.alias_tags.tolist(), strict=True)
                )

    def _withdraw_aliases(self, owner: MetricOwner) -> None:
        self.table.remove(owner.aliases, owner.alias_tags)
        owner.forget_aliases()
        owner.own_aliases = None
        if self.collided:  # what it hid comes to light again, the latest birth on top
            self.table.clear()
            for other in sorted(self.owners(), key=lambda each: each.birth_number):
                self.table.update(other.aliases, other.alias_tags)

    def resolve(
        self,
        owner: MetricOwner,
        names: Listing[str | None] | None,
        aliases: NDArray[np.uint64],
        has_alias: NDArray[np.bool_],
        *,
        steady: bool = False,
    ) -> NDArray[np.int32]:
        """Tag ids of the metrics of one data message; NO_TAG where nothing is declared.

        A name is looked up in its own node or device; it wins over an alias. An alias is
        looked up in the owner first where owners collide, then in the whole node. `steady`:
        only in what the owner's last two births agree on.
        """
        tags = np.full(len(aliases), NO_TAG, dtype=np.int32)
        own = owner.steady if steady else owner.own_aliases
        if not steady:
            tags[has_alias] = self.table.get(aliases[has_alias])
        if own is not None:
            mine = np.array([own.get(alias, NO_TAG) for alias in aliases.tolist()], dtype=np.int32)
            found = has_alias & (mine != NO_TAG)
            tags[found] = mine[found]
        if names is not None:
            by_name = owner.tags.get
            named = np.array([bool(name) for name in names], dtype=np.bool_)
            found_by_name = [by_name(name, NO_TAG) if name else NO_TAG for name in names]
            tags[named] = np.array(found_by_name, dtype=np.int32)[named]
        return tags


def _is_ahead(bd_seq: int, present: int) -> bool:
    """Whether a bdSeq is that of a later session.

    It wraps at 256 (tck-id topics-nbirth-bdseq-increment); larger numbers do not wrap.
    """
    if max(bd_seq, present) < _BD_SEQ_MODULUS:
        return 0 < (bd_seq - present) % _BD_SEQ_MODULUS < _BD_SEQ_MODULUS // 2
    return bd_seq > present >= _BD_SEQ_MODULUS
