"""What of a fleet outlives the process: what is to be kept, and taken in at the next start."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from sparkplug.decoded import Decoded
from sparkplug.host.fleet_state import ENDED_IN_DOUBT
from sparkplug.host.node_table import NOT_BORN
from sparkplug.messages import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sparkplug.gaps import Gap
    from sparkplug.host.absence import Absence
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import HeldMessage, NodeKey
    from sparkplug.host.reading.awaiting_births import AwaitingBirths
    from sparkplug.host.reading.restoring import Restoration
    from sparkplug.memory import RememberedBirth
    from sparkplug.messages import Message


class FleetMemory:
    """What one fleet knows that the next run must know, too, beside `Decoded.memories`.

    Args:
        state: of the fleet.
        awaiting: what waits for births.
        restoration: takes births in.
        absence: what is known of nodes that are not heard.
    """

    def __init__(
        self,
        state: FleetState,
        awaiting: AwaitingBirths,
        restoration: Restoration,
        absence: Absence,
    ) -> None:
        self._state = state
        self._awaiting = awaiting
        self._restoration = restoration
        self._absence = absence
        self._unfinished: tuple[NodeKey, int] | None = None  # with the seq of before

    # ------------------------------------------------------------------ to be kept

    def sequence_state(self) -> bytes:
        """The seq expected of every node, by slot, as it is to be kept with the rows."""
        nodes = self._state.nodes
        expected = nodes.next_seq[: nodes.size].astype("<i2")
        in_doubt = self._state.completeness.nodes_left_in_doubt
        if in_doubt:
            edge_nodes = (self._state.by_id.get(key) for key in in_doubt)
            ended = [each.index for each in edge_nodes if each is not None and not each.owner.born]
            expected[ended] = ENDED_IN_DOUBT
        if self._unfinished is not None:
            key, before = self._unfinished
            if edge_node := self._state.by_id.get(key):
                expected[edge_node.index] = before
        return expected.tobytes()

    def conduct_state(self) -> bytes:
        """What was learned of every node, by slot: whether it answers, its longest pause.

        The same object as long as there is nothing new; pauses are news every ten minutes.
        """
        return self._absence.conduct

    def held(self) -> list[HeldMessage]:
        """What waits for a birth, to be kept on disk until the next start."""
        return self._awaiting.held()

    def no_longer_held(self) -> set[int]:
        """Numbers on disk of restored messages that are held no longer; told once."""
        if not self._awaiting.left:
            return set()
        left = self._awaiting.left.copy()
        self._awaiting.left.clear()
        return left

    @contextlib.contextmanager
    def unfinished(self, group_id: str, edge_node_id: str) -> Iterator[None]:
        """Nothing that is fed of a node meanwhile is kept before the end, what is of others is.

        Until then `sequence_state` has the node's seq of before, tag ids stay what they are, and
        no time passes for what waits of the node. Feed one message of it at first, and no more.
        """
        self._state.declared.drop_dead()
        key = (group_id, edge_node_id)
        edge_node = self._state.by_id.get(key)
        before = np.frombuffer(self.sequence_state(), dtype="<i2")
        self._unfinished = key, NOT_BORN if edge_node is None else int(before[edge_node.index])
        try:
            yield
        finally:
            self._unfinished = None

    @property
    def has_unfinished(self) -> bool:
        """Whether what was fed of a node is not kept yet."""
        return self._unfinished is not None

    @property
    def unfinished_session(self) -> EdgeNodeState | None:
        """Of the node of which what was fed is not kept yet; None if there is none."""
        return None if self._unfinished is None else self._state.by_id.get(self._unfinished[0])

    # ------------------------------------------------------------------ at a start

    def restore(
        self,
        births: Iterable[RememberedBirth],
        sequence_state: bytes,
        held: Iterable[HeldMessage] = (),
        now: float = 0.0,
        conduct: bytes = b"",
    ) -> dict[NodeKey, int]:
        """Take in what an earlier run remembered, before anything is fed.

        No births give rows. Every node is unconfirmed until its first message.

        Args:
            births: those of each node in the order in which they came; read once, piece by piece.
            sequence_state: of the last batch whose rows were kept.
            held: of the end of the earlier run.
            now: monotonic seconds.
            conduct: `conduct_state` of the same run.

        Returns:
            The slot of each node from now on, by (group id, edge node id).
        """
        self._state.now = now
        whole = len(sequence_state) // 2 * 2
        next_seq = np.frombuffer(sequence_state[:whole], dtype="<i2")
        slots = self._restoration.restore(births, next_seq)
        self._state.hearing.restore(conduct, slots)
        self._absence.learn()
        self._awaiting.restore(held)
        self._state.recent.clear()
        return {key: edge_node.index for key, edge_node in self._state.by_id.items()}

    def restore_gaps(self, gaps: Iterable[Gap], sent: Mapping[NodeKey, int]) -> None:
        """Take in what an earlier run knew of gaps, after `restore`, before anything is fed.

        Args:
            gaps: those that may still be healed, oldest first.
            sent: by (group id, edge node id) when the last message of a node was sent, as
                `Fleet.take_received` told it.
        """
        self._state.completeness.restore(gaps, sent, self._state.by_id)
        for key, sent_us in sent.items():
            if edge_node := self._state.by_id.get(key):
                self._state.read_times.restore(edge_node.owners(), sent_us)

    def warm_start(self, messages: Sequence[Message], now: float) -> Decoded:
        """Take in births that a Sparkplug-aware server keeps, where they tell anything new.

        They give no rows. Where the seq of such a node is nobody knows: its data is held
        and it is asked for its births as if it were unknown, except that metrics in data
        are read that carry a name which the kept birth declares.
        """
        decoded = Decoded()
        self._state.now = now
        self._restoration.warm_start(messages)
        decoded.counts[Reason.CERTIFICATE] += len(messages)
        decoded.discarded[Reason.CERTIFICATE] += len(messages)
        return decoded
