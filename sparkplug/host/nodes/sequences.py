"""The seq that each node of a fleet is expected to send next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparkplug.host.node_table import NOT_BORN
from sparkplug.host.nodes.sequence import distance
from sparkplug.names import SEQ_MODULUS

if TYPE_CHECKING:
    from collections.abc import Sequence as Listing

    from sparkplug.host.node_table import NodeTable
    from sparkplug.host.nodes.session import EdgeNodeSession


class Sequences:
    """Where all nodes of one fleet are in their seq, and which of them have to be watched.

    Args:
        nodes: of the fleet; `next_seq` is written here for messages that are read one by one (by
            `Resolution.accept_regular` for those in sequence, and at a restart), `partial` is read.
        sessions: of the fleet, by index.

    Attributes:
        attentive: indices of the sessions whose next messages are to be taken one by one:
            something waits in their window, or a late birth.
    """

    def __init__(self, nodes: NodeTable, sessions: Listing[EdgeNodeSession]) -> None:
        self._nodes = nodes
        self._sessions = sessions
        self.attentive: set[int] = set()

    def expected(self, session: EdgeNodeSession) -> int:
        """The seq of a node's next message, NOT_BORN if none is expected."""
        return int(self._nodes.next_seq[session.index])

    def ahead(self, session: EdgeNodeSession, seq: int) -> int:
        """How far a seq is ahead of the expected one, 0 to 255; 0 if the node is seen in part."""
        if self._nodes.partial[session.index]:
            return 0
        return distance(seq, self.expected(session))

    def expect(self, session: EdgeNodeSession, seq: int) -> None:
        """Count on from here."""
        self._nodes.next_seq[session.index] = seq % SEQ_MODULUS
        session.sequence.counts_again()
        self.watch(session)

    def expect_nothing(self, session: EdgeNodeSession) -> None:
        """No message of a node is in order until its birth."""
        self._nodes.next_seq[session.index] = NOT_BORN

    def watch(self, session: EdgeNodeSession) -> None:
        """Note whether a node's next messages are to be taken one by one."""
        if session.sequence.needs_attention or session.late_birth is not None:
            self.attentive.add(session.index)
        else:
            self.attentive.discard(session.index)

    def watched(self) -> list[EdgeNodeSession]:
        """The sessions whose next messages are to be taken one by one."""
        return [self._sessions[index] for index in sorted(self.attentive)]
