"""Nodes behind a gap of which nobody knows what their aliases stand for until their next birth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.host.watch.unheard import ANSWER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.session import EdgeNodeSession
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.watch.hearing import Hearing


class UnsureAliases:
    """Which nodes of one fleet may have given their aliases anew in a birth that was missed.

    Args:
        sessions: of the fleet, by (group id, edge node id).
        nodes: of the fleet; `answers` is read, and taken back from who does not answer.
        hearing: how long somebody has listened.
        passive: whether nobody is asked for births, so that none of them is waited for.

    Attributes:
        indices: of the sessions that are unsure: their next messages are to be taken one by one.
    """

    def __init__(
        self,
        sessions: Mapping[NodeKey, EdgeNodeSession],
        nodes: NodeTable,
        hearing: Hearing,
        *,
        passive: bool,
    ) -> None:
        self._sessions = sessions
        self._nodes = nodes
        self._hearing = hearing
        self._passive = passive
        self.indices: set[int] = set()

    def may_wait_for_birth(self, session: EdgeNodeSession) -> bool:
        """Whether a node gives aliases anew, is asked for births, and known to answer."""
        return (
            not self._passive
            and bool(self._nodes.answers[session.index])
            and any(owner.moves_aliases for owner in session.owners())
        )

    def behind_gap(self, session: EdgeNodeSession) -> None:
        """Messages of a node are missing, and a birth may be among them.

        Only of nodes that are known to give aliases anew, and to answer: their next birth tells
        what the aliases mean.
        """
        if not self.may_wait_for_birth(session):
            return
        if session.index not in self.indices:
            self.indices.add(session.index)
            session.asked_unsure_at = None
        for owner in session.owners():
            owner.unsure = True

    def born(self, session: EdgeNodeSession, owner: MetricOwner) -> None:
        """A birth tells what the aliases of its node or device mean."""
        owner.unsure = False
        if session.index in self.indices and not any(
            each.unsure and each.born for each in session.owners()
        ):
            self.indices.discard(session.index)

    def died(self, session: EdgeNodeSession) -> None:
        """The session of a node is over."""
        self.indices.discard(session.index)

    def asked(self, session: EdgeNodeSession) -> None:
        """A rebirth request was sent to a node."""
        if session.index in self.indices and session.asked_unsure_at is None:
            session.asked_unsure_at = self._hearing.now

    def is_unsure(self, owner: MetricOwner) -> bool:
        """Whether what the aliases of a born node or device mean is to be told by its next birth.

        A node that leaves a request unanswered is not waited for: it is not known to answer.
        """
        session = self._sessions[owner.group_id, owner.edge_node_id]
        if session.index not in self.indices or not owner.unsure:
            return False
        asked_at = session.asked_unsure_at
        if asked_at is not None and self._hearing.now - asked_at > ANSWER_SECONDS:
            self.indices.discard(session.index)
            self._nodes.answers[session.index] = False
            return False
        return True
