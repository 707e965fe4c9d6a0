"""docs/decoding.md, "In which order messages are read"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.arrivals import not_earlier
from oracle.holding import MEBIBYTE
from oracle.node import KNOWN_GAPS, Gap, Kind, Trust, Waiting
from oracle.reading import Reading

if TYPE_CHECKING:
    from oracle.arrivals import Message
    from oracle.node import Held, Node

WINDOW_MESSAGES = 256
WINDOW_BYTES = 16 * MEBIBYTE
READ_LATELY_BYTES = 16 * MEBIBYTE


class Ordering(Reading):
    """Brings the messages of a node in the order of their seq, and begins and ends its sessions.

    Attributes:
        gaps: (group, edge node, first missing seq, number missing, healing) whenever a
            gap is found ("open") or healed; of a healed one the number is that of the beginning.
    """

    def __init__(self, *, reorder_timeout: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.reorder_timeout = reorder_timeout
        self.batch = 0
        self.gaps: list[tuple[str, str, int, int, str]] = []

    # Messages of a born node, but NBIRTH and NDEATH

    def sequenced(self, node: Node, message: Message) -> None:
        """Read the message when its turn is."""
        distance = node.distance(message)
        if node.trust is Trust.UNCONFIRMED:
            node.trust = Trust.REFUTED if distance else Trust.CONFIRMED
        if node.trust is Trust.REFUTED:
            self.ask_rebirth(message, "data_before_birth")
            self.hold(node, message, "data_before_birth")
        elif distance == 0:
            node.astray_since = None
            self._read_next(node, message)
            self._read_window(node)
        elif distance < 128:
            self._wait(node, message)
        else:
            self._late(node, message)

    def _read_next(self, node: Node, message: Message) -> None:
        node.expected_seq = (message.seq + 1) % 256
        self._remember(node, message)
        self.read(node, message)

    def _read_window(self, node: Node) -> None:
        """Read what now follows in the window."""
        while following := [w for w in node.window if node.distance(w.message) == 0]:
            node.window = [w for w in node.window if w not in following]
            for waiting in following:
                self._read_next(node, waiting.message)

    def _wait(self, node: Node, message: Message) -> None:
        for waiting in node.window:
            same_seq = waiting.message.seq == message.seq
            if same_seq and waiting.message.arrival.payload == message.arrival.payload:
                self.counts["duplicate"] += 1
                return
        node.window.append(Waiting(message, self.now))
        size = sum(len(w.message.arrival.payload) for w in node.window)
        if self.reorder_timeout == 0 or len(node.window) > WINDOW_MESSAGES or size > WINDOW_BYTES:
            self.skip_holes(node)

    def skip_holes(self, node: Node, *, ask: bool = True) -> None:
        """Read all that waits in order of distance, and say what is missing."""
        if not node.window:
            return
        waiting = sorted((w.message for w in node.window), key=node.distance)
        node.window = []
        there = {message.seq for message in waiting}
        holes = range(node.distance(waiting[-1]))
        missing = [(node.expected_seq + hole) % 256 for hole in holes]
        self._gap(node, [seq for seq in missing if seq not in there], ask=ask)
        for message in waiting:
            self._read_next(node, message)

    def _late(self, node: Node, message: Message) -> None:
        for _, seq, payload in node.read_lately:
            if seq == message.seq and payload == message.arrival.payload:
                self.counts["duplicate"] += 1
                return
        self.counts["late"] += 1
        self._remember(node, message)
        self.read_late(node, message)
        for gap in reversed(node.gaps):
            if message.seq in gap.missing:
                gap.missing.remove(message.seq)
                if not gap.missing:
                    self._healed(node, gap, "late_arrival")
                return
        node.astray_seq = message.seq
        if node.astray_since is None:
            node.astray_since = self.now
        if self.reorder_timeout == 0:
            self._counting_was_lost(node)

    def _counting_was_lost(self, node: Node) -> None:
        """Count on behind the last late message."""
        node.astray_since = None
        distance = (node.astray_seq - node.expected_seq) % 256
        self._gap(node, [(node.expected_seq + n) % 256 for n in range(distance)])
        node.expected_seq = (node.astray_seq + 1) % 256
        self._read_window(node)

    def _remember(self, node: Node, message: Message) -> None:
        """Keep what was read in this batch and the two before it."""
        node.read_lately.append((self.batch, message.seq, message.arrival.payload))
        node.read_lately = [each for each in node.read_lately if each[0] >= self.batch - 2]
        while sum(len(payload) for _, _, payload in node.read_lately) > READ_LATELY_BYTES:
            node.read_lately.pop(0)

    # Gaps

    def _gap(self, node: Node, missing: list[int], *, ask: bool = True) -> None:
        self.counts["sequence_gap"] += 1
        if ask:
            self.request(node.group, node.name, "sequence_gap")
        self.gaps.append((node.group, node.name, missing[0], len(missing), "open"))
        node.gaps = [*node.gaps, Gap(missing[0], len(missing), set(missing))][-KNOWN_GAPS:]

    def _healed(self, node: Node, gap: Gap, how: str) -> None:
        node.gaps.remove(gap)
        self.gaps.append((node.group, node.name, gap.first, gap.number, how))

    # Sessions

    def node_birth(self, node: Node, message: Message) -> None:
        """Begin a session, and read what waited for it."""
        new = [w.message for w in node.window if not_earlier(w.message, message)]
        node.window = [w for w in node.window if not not_earlier(w.message, message)]
        self.skip_holes(node, ask=False)
        for gap in list(node.gaps):
            self._healed(node, gap, "rebirth_snapshot")
        self._end_session(node)
        node.expected_seq = (message.seq + 1) % 256
        node.bd_seq = message.bd_seq
        transmission = "Node Info/Transmission Version"
        node.is_ignition = any(m.name == transmission for m in message.payload.metrics)
        self._remember(node, message)
        self.birth(node, message)
        for held in self.take(node, None):
            if held.kind is Kind.WHOLE and not_earlier(held.message, message):
                new.append(held.message)
            else:
                self._read_held(node, held)
        for each in new:
            self.sequenced(node, each)

    def _read_held(self, node: Node, held: Held) -> None:
        """Read what was sent before the NBIRTH that it waited for."""
        if held.kind is Kind.LATE_BIRTH:
            self.data(node, held.message.with_verb("NDATA"), is_birth=True)
        elif held.kind is Kind.METRICS:
            self.read_late(node, held.message, settle=True)
        elif held.message.topic.verb == "DDEATH":
            self.counts["death_of_other_session"] += 1
        else:
            self.read_late(node, held.message)

    def node_death(self, node: Node, message: Message) -> None:
        """End the session the death belongs to; a death without bdSeq is believed."""
        died = message.bd_seq
        if died is not None:
            node.died_at[died] = message.arrival.received_at_us
        is_other = died is not None and node.bd_seq is not None and died != node.bd_seq
        if node.is_born and not is_other:
            self.skip_holes(node, ask=False)
            for scope in node.scopes.values():
                self.stale(scope, message, message.arrival.received_at_us)
            self._end_session(node)
        else:
            self.counts["death_of_other_session"] += 1
        if not node.is_born:
            self.session_ended(node)

    def lost_node_birth(self, node: Node) -> None:
        """After a birth that cannot be read the aliases may mean something else."""
        self.skip_holes(node, ask=False)
        self._end_session(node)

    def _end_session(self, node: Node) -> None:
        assert not node.window
        node.scopes.clear()
        node.trust = Trust.CONFIRMED
        node.astray_since = None

    # Nodes without session

    def before_birth(self, node: Node, message: Message) -> None:
        """Hold a message, unless it follows the late birth that waits for it."""
        late_births = [held for held in node.held if held.kind is Kind.LATE_BIRTH]
        if late_births:
            birth = late_births[-1].message
            if (message.seq - birth.seq) % 256 == 1:
                node.held.remove(late_births[-1])
                self.node_birth(node, birth)
                self.sequenced(node, message)
                return
        self.ask_rebirth(message, "data_before_birth")
        self.hold(node, message, "data_before_birth")

    def is_late_birth(self, node: Node, message: Message) -> bool:
        """Whether the session that an NBIRTH would begin has ended already."""
        if node.is_born or message.bd_seq not in node.died_at:
            return False
        return message.sent_at is None or message.sent_at <= node.died_at[message.bd_seq]

    # Time

    def time_passes(self) -> None:
        """What happens because nothing has come."""
        for node in self.nodes.values():
            while due := self._due(node):
                _, what = min(due)
                if what == "window":
                    self.skip_holes(node)
                else:
                    self._counting_was_lost(node)
        self.expire()

    def _due(self, node: Node) -> list[tuple[float, str]]:
        due = [(waiting.since, "window") for waiting in node.window]
        if node.astray_since is not None:
            due.append((node.astray_since, "lost count"))
        return [(since, what) for since, what in due if self.now - since >= self.reorder_timeout]
