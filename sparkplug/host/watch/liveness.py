"""Who is alive on which server of a site, and tags that are STALE although their node may live.

A death makes tags STALE, and the next birth takes that back. Two things are not so simple:

- Servers that share a site show the same nodes. A node that dies on one of them while it is
  alive on another is alive; and what its death on one said is taken back by its birth on
  another.
- When the connection to a server is lost, its tags may be said to be STALE, but the sessions
  of its nodes may go on. Then data takes it back for its own tags, and the node is asked for
  a birth that does so for the others.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.host.catalogue import NEVER, NO_TAG
from sparkplug.host.observations import SessionTags
from sparkplug.host.watch.twins import Twins
from sparkplug.memory import TakenBackMemory
from sparkplug.messages import ROW_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from sparkplug.decoded import Observations
    from sparkplug.host.catalogue import TagCatalogue, TagOwner
    from sparkplug.host.node_table import NodeTable, TopicTable
    from sparkplug.host.nodes.session import EdgeNodeSession
    from sparkplug.host.owner import MetricOwner

_IS_DATA: Final = np.array([each.endswith("DATA") for each in ROW_TYPES])
_MOST_RETIRED: Final = 100_000


class Liveness:
    """One fleet's view of who is alive. `peers` are those of the other servers of its site.

    Args:
        catalogue: of the fleet.
        sessions: of the fleet, by (group id, edge node id).
        nodes: of the fleet; `confirmed` is read.
        topics: of the fleet; `node` and `live` are read.
        births_give_rows: whether a birth says of its tags that they are not STALE.
    """

    def __init__(
        self,
        catalogue: TagCatalogue,
        sessions: Mapping[tuple[str, str], EdgeNodeSession],
        nodes: NodeTable,
        topics: TopicTable,
        *,
        births_give_rows: bool,
    ) -> None:
        self.peers: tuple[Liveness, ...] = ()
        self._catalogue = catalogue
        self._sessions = sessions
        self._nodes = nodes
        self._topics = topics
        self._twins: dict[Liveness, Twins] = {}
        self._births_give_rows = births_give_rows
        self._unsettled: set[tuple[str, str]] = set()
        self._any_unsettled_tag = False
        self._retired = OrderedDict[int, None]()  # oldest first

    # ------------------------------------------------------------------ deaths and births

    def alive_nowhere_else(self, owners: Iterable[MetricOwner]) -> list[MetricOwner]:
        """Those of some nodes and devices that no other server of the site shows alive."""
        return [each for each in owners if not any(peer.shows(each) for peer in self.peers)]

    def shows(self, owner: MetricOwner) -> bool:
        """Whether a node or device is alive here for certain."""
        session = self._sessions.get((owner.group_id, owner.edge_node_id))
        if session is None or session.in_doubt or not self._nodes.confirmed[session.index]:
            return False
        here = _owner_in(session, owner.device_id)
        return here is not None and here.born

    def said_stale(self, owner: MetricOwner, tags: NDArray[np.int32]) -> None:
        """Rows say that these tags of a node or device are STALE: other servers note it.

        Only of tags that a row was given for: what is known of others here may be from before a
        restart, and be taken back on another server since.
        """
        self._any_unsettled_tag |= not self._births_give_rows
        self._catalogue.stale[tags] = True
        self._tell_peers(owner, tags)

    def _tell_peers(self, owner: MetricOwner, tags: NDArray[np.int32]) -> None:
        if self.peers:
            names = {self._catalogue.names[tag] for tag in tags.tolist()}
            for peer in self.peers:
                peer.heard_stale(owner, names)

    def heard_stale(self, owner: MetricOwner, names: AbstractSet[str]) -> None:
        """Another server made tags of a node or device STALE that may be alive here."""
        key = (owner.group_id, owner.edge_node_id)
        here = _owner_in(self._sessions.get(key), owner.device_id)
        if here is None:
            return
        tags = here.declared
        if not here.tags.keys() <= names:
            known = [here.tags[name] for name in names if name in here.tags]
            tags = np.array(known, dtype=np.int32)
        # Of one that is not born again either: it needs no second row.
        self._catalogue.stale[self._with_rows(tags)] = True
        if here.born:
            self._unsettled.add(key)
            self._any_unsettled_tag = True

    def born(self, owner: MetricOwner) -> None:
        """A birth has declared the tags of a node or device; no row of it was made yet.

        Its values are to take back what was said on other servers.
        """
        if owner.device_id is None:
            self._unsettled.discard((owner.group_id, owner.edge_node_id))
        for peer in self.peers:
            for name in peer.hand_over(owner):
                if name in owner.tags:
                    self._catalogue.stale[owner.tags[name]] = True

    def hand_over(self, owner: MetricOwner) -> list[str]:
        """Names of a node's or device's tags that are STALE here; from now on they are not."""
        here = _owner_in(self._sessions.get((owner.group_id, owner.edge_node_id)), owner.device_id)
        if here is None:
            return []
        stale = here.declared[self._catalogue.stale[here.declared]]
        self._catalogue.stale[stale] = False
        return [self._catalogue.names[tag] for tag in stale.tolist()]

    # ------------------------------------------------------------------ values on other servers

    def read_elsewhere(self, tags: NDArray[np.int32]) -> NDArray[np.int64]:
        """When the newest value was measured that another server of the site has of each tag.

        Only servers count that are certain of the tag's node or device; NEVER where none is.
        """
        newest = np.full(len(tags), NEVER)
        for peer in self.peers:
            if peer not in self._twins:
                self._twins[peer] = Twins(self._catalogue, peer.find, peer.catalogue)
            np.maximum(newest, peer.read_last(*self._twins[peer].of(tags)), out=newest)
        return newest

    @property
    def catalogue(self) -> TagCatalogue:
        """Of the fleet."""
        return self._catalogue

    def find(self, owner: TagOwner) -> MetricOwner | None:
        """The node or device of the same ids here."""
        return _owner_in(self._sessions.get((owner.group_id, owner.edge_node_id)), owner.device_id)

    def read_last(self, tags: NDArray[np.int32], topics: NDArray[np.int64]) -> NDArray[np.int64]:
        """The time of the last value here of tags of these data topics; NEVER if it is not sure."""
        sure = (tags != NO_TAG) & self._topics.live[topics]
        sure &= self._nodes.confirmed[self._topics.node[topics]]
        read_us = np.full(len(tags), NEVER)
        read_us[sure] = self._catalogue.read_us[tags[sure]]
        return read_us

    # ------------------------------------------------------------------ ends that were not heard

    def gone(self, owners: Iterable[MetricOwner]) -> tuple[list[MetricOwner], list[SessionTags]]:
        """Nodes and devices are not taken for alive any more.

        Returns:
            Those of them that no other server shows alive, and the tags of each.
        """
        gone = self.alive_nowhere_else(owners)
        by_owner: list[SessionTags] = []
        for owner, tags in zip(gone, self.with_rows_by_owner(gone), strict=True):
            due = tags[~self._catalogue.stale[tags]]
            self.said_stale(owner, due)
            by_owner.append(SessionTags(due, tags))
        return gone, by_owner

    def lost(
        self, unborn: Iterable[MetricOwner] = ()
    ) -> tuple[list[MetricOwner], list[SessionTags]]:
        """The connection is lost: who is STALE now, and the tags of each.

        `unborn` are those whose births were waited for.
        """
        sessions = [each for each in self._sessions.values() if each.owner.born]
        alive = [owner for each in sessions for owner in each.owners() if owner.born]
        self._unsettled |= {(each.owner.group_id, each.owner.edge_node_id) for each in sessions}
        self._any_unsettled_tag = True
        return self.gone([*alive, *unborn])

    def given_up(
        self, session: EdgeNodeSession, unborn: Iterable[MetricOwner]
    ) -> tuple[list[MetricOwner], list[SessionTags]]:
        """A node is taken for dead, though its session may go on; returns what `gone` does."""
        self._unsettled.add((session.owner.group_id, session.owner.edge_node_id))
        self._any_unsettled_tag = True
        return self.gone([*(each for each in session.owners() if each.born), *unborn])

    # ------------------------------------------------------------------ tags left out by births

    def left_out(self, owner: MetricOwner, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        """Which of these tags gave rows, and have a value no more.

        They are of the birth before. That of now, or another server that shows the owner
        alive, may declare a tag of the same name.
        """
        tags = self._with_rows(tags)
        for showing in (owner.tags, *(p.tags_of(owner) for p in self.peers if p.shows(owner))):
            tags = tags[~self._catalogue.named(tags, showing)]
        return tags

    def retire(self, owner: MetricOwner, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows say that tags which were left out are STALE; returns those that one is due for."""
        for tag in tags.tolist():
            self._retired[_tag_key(owner, self._catalogue.names[tag])] = None
        while len(self._retired) > _MOST_RETIRED:
            self._retired.popitem(last=False)  # of a dict each would be looked for anew
        due = tags[~self._catalogue.stale[tags]]
        self._tell_peers(owner, due)
        return due

    def back(self, owner: MetricOwner, tags: NDArray[np.int32]) -> None:
        """A birth declares tags that the one before did not: some may have been retired."""
        fleets = [each for each in (self, *self.peers) if each.has_retired]
        taken: dict[int, int] = {}  # by tag key; a name may be declared twice
        for tag in tags.tolist() if fleets else ():
            key = _tag_key(owner, self._catalogue.names[tag])
            if key not in taken:
                taken[key] = sum(each.take_retired(key) for each in fleets)
            if taken[key]:
                self._catalogue.stale[tag] = True
                self._any_unsettled_tag |= not self._births_give_rows

    def tags_of(self, owner: MetricOwner) -> Mapping[str, int]:
        """The tags that a node or device has here, by name."""
        here = _owner_in(self._sessions.get((owner.group_id, owner.edge_node_id)), owner.device_id)
        return {} if here is None else here.tags

    @property
    def has_retired(self) -> bool:
        """Whether any tags are known that a birth left out."""
        return bool(self._retired)

    def take_retired(self, key: int) -> bool:
        """Whether a tag was left out; it is not from now on."""
        return self._retired.pop(key, 0) is None

    # ------------------------------------------------------------------ data that goes on

    def take_back(self, observations: Observations) -> list[NDArray[np.int32]]:
        """Rows of present values: their tags are not STALE any more. Returns those that were."""
        if not self._any_unsettled_tag:
            return []
        present = _IS_DATA[observations.message_type] & ~observations.historical
        tags = observations.tag[present]
        taken_back = tags[self._catalogue.stale[tags]]
        self._catalogue.stale[tags] = False
        self._any_unsettled_tag = bool(self._catalogue.stale.any())
        if not len(taken_back):
            return []
        for peer in self.peers:
            for tag in taken_back.tolist():
                peer.heard_value(self._catalogue.owners[tag], self._catalogue.names[tag])
        return [taken_back]

    def heard_value(self, owner: TagOwner, name: str) -> None:
        """Another server has a value of a tag that may be STALE here: it is not any more."""
        here = self.find(owner)
        if here is not None and name in here.tags:
            self._catalogue.stale[here.tags[name]] = False

    def taken_back_memories(self, taken_back: Iterable[NDArray[np.int32]]) -> list[TakenBackMemory]:
        """For each node or device whose tags `take_back` has returned."""
        owners = {self._catalogue.owners[tag] for tags in taken_back for tag in tags.tolist()}
        found = (TakenBackMemory(o.group_id, o.edge_node_id, o.device_id) for o in owners)
        return sorted(found, key=lambda each: (each[:2], each.device_id or ""))

    def partly_stale(self, owners: Iterable[MetricOwner]) -> list[TakenBackMemory]:
        """For those of some nodes and devices of whose tags some are not STALE."""
        return self.taken_back_memories(
            tags[~self._catalogue.stale[tags]] for tags in self.with_rows_by_owner(owners)
        )

    def unsettled(self, owner: MetricOwner) -> None:
        """Some tags of a node or device were said to be STALE: it is asked when it goes on."""
        self._unsettled.add((owner.group_id, owner.edge_node_id))

    def stale_after_all(self, tags: NDArray[np.int32]) -> list[MetricOwner]:
        """Rows that took back what was said of these tags were lost.

        Returns:
            Whose tags they are.
        """
        self._catalogue.stale[tags] = True
        self._any_unsettled_tag = True
        names = {
            (owner.group_id, owner.edge_node_id, owner.device_id)
            for owner in map(self._catalogue.owners.__getitem__, tags.tolist())
        }
        found = (_owner_in(self._sessions.get((g, n)), device) for g, n, device in names)
        return [each for each in found if each is not None]

    def to_ask(self) -> list[tuple[str, str]]:
        """Nodes that go on without a birth, though their tags were said to be STALE; once."""
        if not self._unsettled:
            return []
        confirmed = self._nodes.confirmed
        ended = {key for key in self._unsettled if not self._sessions[key].owner.born}
        found = [key for key in self._unsettled - ended if confirmed[self._sessions[key].index]]
        self._unsettled -= ended.union(found)
        return sorted(found)

    def with_rows_by_owner(self, owners: Iterable[MetricOwner]) -> list[NDArray[np.int32]]:
        """The tags that give rows, of each of some nodes and devices.

        Those that only births which a server keeps have left out had a value, too.
        """
        return [self._with_rows(self._all_tags(owner)) for owner in owners]

    def _all_tags(self, owner: MetricOwner) -> NDArray[np.int32]:
        left_out = owner.left_out
        if not len(left_out):
            return owner.declared
        left_out = left_out[~self._catalogue.named(left_out, owner.tags)]
        return np.union1d(owner.declared, left_out).astype(np.int32)

    def _with_rows(self, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        return tags[self._catalogue.gives_rows(tags) & self._catalogue.is_read(tags)]


def _tag_key(owner: MetricOwner, name: str) -> int:
    """Stands for a tag, at every server of its site. Two that share one would do no harm."""
    return hash((owner.group_id, owner.edge_node_id, owner.device_id, name))


def _owner_in(session: EdgeNodeSession | None, device_id: str | None) -> MetricOwner | None:
    return None if session is None else session.owner_of(device_id)
