"""Tags that rows say are STALE, and what takes that back.

A death makes tags STALE, and the next birth takes that back. Two things are not so simple:

- Servers that share a site show the same nodes. A node that dies on one of them while it is
  alive on another is alive; and what its death on one said is taken back by its birth on
  another.
- When the connection to a server is lost, its tags may be said to be STALE, but the sessions
  of its nodes may go on. Then data takes it back for its own tags, and the node is asked for
  a birth that does so for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug.host.observations import SessionTags
from sparkplug.memory import TakenBackMemory
from sparkplug.messages import ROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from sparkplug.decoded import Observations
    from sparkplug.host.catalogue import TagOwner
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.watch.presence import Presence
    from sparkplug.host.watch.unsettled import UnsettledNodes

_IS_DATA: Final = np.array([each.endswith("DATA") for each in ROW_TYPES])


class Gone(NamedTuple):
    """Nodes and devices that are not taken for alive any more, and the tags of each.

    Those that another server of the site shows alive are not among them.
    """

    owners: list[MetricOwner]
    by_owner: list[SessionTags]


class StaleTags:
    """What rows of one fleet say of tags that are STALE, kept in step with its site.

    Args:
        presence: who is alive here, and on the other servers of the site.
        edge_nodes: of the fleet, by (group id, edge node id).
        unsettled: whose tags are said to be STALE though they may live is noted there.
        births_give_rows: whether a birth says of its tags that they are not STALE.

    Attributes:
        peers: those of the other servers of the site.
    """

    def __init__(
        self,
        presence: Presence,
        edge_nodes: Mapping[NodeKey, EdgeNodeState],
        unsettled: UnsettledNodes,
        *,
        births_give_rows: bool,
    ) -> None:
        self.peers: tuple[StaleTags, ...] = ()
        self._presence = presence
        self._catalogue = presence.catalogue
        self._states = presence.catalogue.states
        self._edge_nodes = edge_nodes
        self._unsettled = unsettled
        self._births_give_rows = births_give_rows
        self._data_may_take_back = False

    # ------------------------------------------------------------------ deaths and births

    def note_said(self, owner: MetricOwner, tags: NDArray[np.int32]) -> None:
        """Rows say that these tags of a node or device are STALE: other servers note it.

        Only of tags that a row was given for: what is known of others here may be from before a
        restart, and be taken back on another server since.
        """
        self._data_may_take_back |= not self._births_give_rows
        self._states.stale[tags] = True
        self._tell_peers(owner, tags)

    def said_of_retired(self, owner: MetricOwner, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows say that tags which a birth left out are STALE.

        Returns:
            Those that one is due for.
        """
        due = tags[~self._states.stale[tags]]
        self._tell_peers(owner, due)
        return due

    def were_retired(self, tags: NDArray[np.int32]) -> None:
        """A birth declares tags again of which rows say that they are STALE."""
        if len(tags):
            self._states.stale[tags] = True
            self._data_may_take_back |= not self._births_give_rows

    def _tell_peers(self, owner: MetricOwner, tags: NDArray[np.int32]) -> None:
        if self.peers:
            names = {self._catalogue.names[tag] for tag in tags.tolist()}
            for peer in self.peers:
                peer.note_stale(owner, names)

    def note_stale(self, owner: MetricOwner, names: AbstractSet[str]) -> None:
        """Note that tags of a node or device were made STALE, though it may be alive here.

        That was on another server of the site, or here before a restart.
        """
        here = self._presence.find(owner)
        if here is None:
            return
        tags = here.declared
        if not here.tags.keys() <= names:
            known = [here.tags[name] for name in names if name in here.tags]
            tags = np.array(known, dtype=np.int32)
        # Of one that is not born again either: it needs no second row.
        self._states.stale[self._catalogue.with_rows(tags)] = True
        if here.born:
            self._unsettled.note(here)
            self._data_may_take_back = True

    def born(self, owner: MetricOwner) -> None:
        """A birth has declared the tags of a node or device; no row of it was made yet.

        Its values are to take back what was said on other servers.
        """
        if owner.device_id is None:
            self._unsettled.settle(owner)
        for peer in self.peers:
            for name in peer.hand_over(owner):
                if name in owner.tags:
                    self._states.stale[owner.tags[name]] = True

    def hand_over(self, owner: MetricOwner) -> list[str]:
        """Names of a node's or device's tags that are STALE here; from now on they are not."""
        here = self._presence.find(owner)
        if here is None:
            return []
        stale = here.declared[self._states.stale[here.declared]]
        self._states.stale[stale] = False
        return [self._catalogue.names[tag] for tag in stale.tolist()]

    # ------------------------------------------------------------------ ends that were not heard

    def declare_gone(self, owners: Iterable[MetricOwner]) -> Gone:
        """Take nodes and devices for alive no more, unless they are so on another server.

        Their tags are noted as STALE here, and the other servers of the site are told.

        Returns:
            Who is gone, and the tags that rows of quality STALE are due for.
        """
        gone = self._presence.alive_nowhere_else(owners)
        by_owner: list[SessionTags] = []
        for owner, tags in zip(gone, self.with_rows_by_owner(gone), strict=True):
            due = tags[~self._states.stale[tags]]
            self.note_said(owner, due)
            by_owner.append(SessionTags(due, tags))
        return Gone(gone, by_owner)

    def declare_lost(self, unborn: Iterable[MetricOwner] = ()) -> Gone:
        """The connection is lost: make all who are alive gone, and who was waited for.

        Their nodes are to be asked. `unborn` are those whose births were waited for.
        """
        edge_nodes = [each for each in self._edge_nodes.values() if each.owner.born]
        alive = [owner for each in edge_nodes for owner in each.owners() if owner.born]
        for each in edge_nodes:
            self._unsettled.note(each.owner)
        self._data_may_take_back = True
        return self.declare_gone([*alive, *unborn])

    def declare_given_up(self, edge_node: EdgeNodeState, unborn: Iterable[MetricOwner]) -> Gone:
        """Make a node gone, though its session may go on; it is to be asked then."""
        self._unsettled.note(edge_node.owner)
        self._data_may_take_back = True
        return self.declare_gone([*(each for each in edge_node.owners() if each.born), *unborn])

    # ------------------------------------------------------------------ data that goes on

    def take_back(self, observations: Observations) -> list[NDArray[np.int32]]:
        """Rows of present values: their tags are not STALE any more. Returns those that were."""
        if not self._data_may_take_back:
            return []
        present = _IS_DATA[observations.message_type] & ~observations.historical
        tags = observations.tag[present]
        taken_back = tags[self._states.stale[tags]]
        self._states.stale[tags] = False
        self._data_may_take_back = bool(self._states.stale.any())
        if not len(taken_back):
            return []
        for peer in self.peers:
            for tag in taken_back.tolist():
                peer.heard_value(self._catalogue.owners[tag], self._catalogue.names[tag])
        return [taken_back]

    def heard_value(self, owner: TagOwner, name: str) -> None:
        """Another server has a value of a tag that may be STALE here: it is not any more."""
        here = self._presence.find(owner)
        if here is not None and name in here.tags:
            self._states.stale[here.tags[name]] = False

    def stale_after_all(self, tags: NDArray[np.int32]) -> list[MetricOwner]:
        """Rows that took back what was said of these tags were lost.

        Returns:
            Whose tags they are.
        """
        self._states.stale[tags] = True
        self._data_may_take_back = True
        owners = {
            (owner.group_id, owner.edge_node_id, owner.device_id): owner
            for owner in map(self._catalogue.owners.__getitem__, tags.tolist())
        }
        found = map(self._presence.find, owners.values())
        return [each for each in found if each is not None]

    # ------------------------------------------------------------------ to be remembered

    def taken_back_memories(self, taken_back: Iterable[NDArray[np.int32]]) -> list[TakenBackMemory]:
        """For each node or device whose tags `take_back` has returned."""
        owners = {self._catalogue.owners[tag] for tags in taken_back for tag in tags.tolist()}
        found = (TakenBackMemory(o.group_id, o.edge_node_id, o.device_id) for o in owners)
        return sorted(found, key=lambda each: (each[:2], each.device_id or ""))

    def partly_stale(self, owners: Iterable[MetricOwner]) -> list[TakenBackMemory]:
        """For those of some nodes and devices of whose tags some are not STALE."""
        return self.taken_back_memories(
            tags[~self._states.stale[tags]] for tags in self.with_rows_by_owner(owners)
        )

    def with_rows_by_owner(self, owners: Iterable[MetricOwner]) -> list[NDArray[np.int32]]:
        """The tags that give rows, of each of some nodes and devices.

        Those that only births which a server keeps have left out had a value, too.
        """
        return [self._catalogue.with_rows(self._all_tags(owner)) for owner in owners]

    def _all_tags(self, owner: MetricOwner) -> NDArray[np.int32]:
        left_out = owner.left_out
        if not len(left_out):
            return owner.declared
        left_out = left_out[~self._catalogue.named(left_out, owner.tags)]
        return np.union1d(owner.declared, left_out).astype(np.int32)
