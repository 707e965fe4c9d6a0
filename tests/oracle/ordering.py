"""docs/decoding.md, "In which order messages are read"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.arrivals import sent_after
from oracle.holding import MEBIBYTE
from oracle.node import KNOWN_GAPS, Gap, Trust, Waiting
from oracle.reading import Reading

if TYPE_CHECKING:
    from oracle.arrivals import Arrival, Message
    from oracle.node import Node

LATE_SECONDS = 2.0
WINDOW_MESSAGES = 256
WINDOW_BYTES = 16 * MEBIBYTE


def is_over(node: Node, died: int | None) -> bool:
    """Whether the session of a node that is born has ended, if an NDEATH has this bdSeq."""
    born = node.bd_seq
    if died is None or born is None or died == born:
        return True
    if died in node.other_bd_seqs:
        return False
    if died < 256 and born < 256:
        return 1 <= (died - born) % 256 <= 127
    return died >= 256 and born >= 256 and died > born


class Ordering(Reading):
    """Brings the messages of a node in the order of their seq, and begins and ends its sessions.

    Attributes:
        gaps: (group, edge node, first missing seq, number missing, healing) whenever a
            gap of known size is found ("open") or healed; of a healed one the number is that
            of the beginning.
        found: (group, edge node, gap) for every gap.
    """

    def __init__(self, *, reorder_timeout: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.reorder_timeout = reorder_timeout
        self.gaps: list[tuple[str, str, int | None, int | None, str]] = []
        self.found: list[tuple[str, str, Gap]] = []

    # Messages of a born node, but NBIRTH and NDEATH

    def sequenced(self, node: Node, message: Message) -> None:
        """Read the message when its turn is."""
        distance = node.distance(message)
        if node.trust is Trust.UNCONFIRMED:
            continues = distance == 0 and node.is_whole
            node.trust = Trust.CONFIRMED if continues else Trust.REFUTED
            if distance:
                self._found(node, Gap("away", node.expected_seq, distance))
        if node.trust is Trust.REFUTED:
            self.ask_rebirth(message, "data_before_birth")
            self.hold(node, message, "data_before_birth")
        elif distance == 0:
            node.astray_since = None
            message.gap = node.gaps[-1] if node.gaps else None
            self._read_next(node, message)
            self._read_window(node)
        elif distance < 128:
            self._wait(node, message)
        else:
            self._late(node, message)

    def _read_next(self, node: Node, message: Message) -> None:
        node.expected_seq = (message.seq + 1) % 256
        node.last_sent = message.sent_or_come
        self.remember(node, message)
        self.read(node, message)

    def _read_window(self, node: Node) -> None:
        """Read what now follows in the window, and then what is late by now."""
        while following := [w for w in node.window if node.distance(w.message) == 0]:
            node.window.remove(following[0])
            following[0].message.gap = node.gaps[-1] if node.gaps else None
            self._read_next(node, following[0].message)
        late = [w for w in node.window if node.distance(w.message) >= 128]
        node.window = [w for w in node.window if w not in late]
        for waiting in late:
            self._late(node, waiting.message)

    def _wait(self, node: Node, message: Message) -> None:
        for waiting in node.window:
            before, same_seq = waiting.message.arrival, waiting.message.seq == message.seq
            same_topic = before.topic == message.arrival.topic
            if same_topic and same_seq and before.payload == message.arrival.payload:
                self.counts["duplicate"] += 1
                node.received -= 1
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
        node.astray_since = None
        there = {message.seq for message in waiting}
        holes = range(node.distance(waiting[-1]))
        missing = [(node.expected_seq + hole) % 256 for hole in holes]
        gap = self._gap(node, [seq for seq in missing if seq not in there], ask=ask)
        for message in waiting:
            message.gap, message.is_in_gap = gap, True
            self._read_next(node, message)

    def _late(self, node: Node, message: Message) -> None:
        if self.was_read_lately(node, message):
            self.counts["duplicate"] += 1
            node.received -= 1
            return
        self.counts["late"] += 1
        self.remember(node, message)
        gaps = [gap for gap in node.gaps if message.seq in gap.missing]
        if gaps:
            gap = gaps[-1]
            message.gap, message.is_in_gap = gap, True
            gap.missing.remove(message.seq)
            gap.late += 1
            self.read_late(node, message)
            if not gap.missing:
                self._healed(node, gap, "late_arrival")
            return
        message.is_astray = True
        self.read_late(node, message)
        node.astray_seq = message.seq
        if node.astray_since is None:
            node.astray_since = self.now
            node.astray_distance = node.distance(message)
        if self.reorder_timeout == 0:
            self._counting_was_lost(node)

    def _counting_was_lost(self, node: Node) -> None:
        """Count on behind the last late message."""
        assert not node.window
        node.astray_since = None
        missing = range(node.expected_seq, node.expected_seq + node.astray_distance)
        self._gap(node, [seq % 256 for seq in missing]).is_guessed = True
        node.expected_seq = (node.astray_seq + 1) % 256

    # Gaps

    def _gap(self, node: Node, missing: list[int], *, ask: bool = True) -> Gap:
        self.counts["sequence_gap"] += 1
        if ask:
            self.request(node.group, node.name, "sequence_gap")
        if len(node.gaps) == KNOWN_GAPS:
            self._healed(node, node.gaps[0], "not_at_all")
        gap = Gap("sequence_gap", missing[0], len(missing), set(missing))
        node.holes += 1
        gap.order = node.holes
        node.gaps.append(gap)
        self._found(node, gap)
        return gap

    def _found(self, node: Node, gap: Gap) -> None:
        self.found.append((node.group, node.name, gap))
        if gap.healing == "open":
            node.unhealed.append(gap)
        if gap.number is not None:
            self.gaps.append((node.group, node.name, gap.first, gap.number, gap.healing))

    def _healed(self, node: Node, gap: Gap, how: str) -> None:
        gap.healing = how
        node.unhealed.remove(gap)
        if gap in node.gaps:
            node.gaps.remove(gap)
        if gap.number is not None:
            self.gaps.append((node.group, node.name, gap.first, gap.number, how))

    def _heal_by_birth(self, node: Node, birth: Message) -> None:
        """No gap is open any more; and what the NBIRTH tells of the sessions before it."""
        before, now = node.bd_seq, birth.bd_seq
        further = None
        if before is not None and now is not None:
            further = now - before
            if 0 <= now < 256 and 0 <= before < 256:
                further %= 256
            if further and not 0 < further <= 128:
                further = 1
        missed = max((further or 0) - 1, 0)
        ended = any(gap.reason == "session_end" for gap in node.unhealed)
        away = [gap for gap in node.unhealed if gap.reason == "away"]
        if further and away and not ended:
            # The seq that it was counted by was that of another session.
            [gap] = away
            gap.number, gap.sessions, missed = None, missed, 0
        for gap in list(node.unhealed):
            self._healed(node, gap, "rebirth_snapshot")
        unconfirmed = node.is_born and node.trust is Trust.UNCONFIRMED and node.distance(birth)
        unheard = (unconfirmed or node.was_heard) and not (away or ended)
        unheard_again = node.left_refuted and not (further or ended)
        if unheard or unheard_again:
            reason = "away"
        elif missed:
            reason = "sessions_missed"
        elif further and not (away or ended):
            reason = "session_end"
        else:
            return
        self._found(node, Gap(reason, sessions=missed, healing="rebirth_snapshot"))

    # Sessions

    def node_birth(self, node: Node, message: Message) -> None:
        """Begin a session, and read what waited for it."""
        if not self.is_readable_birth(message):
            self.lost_node_birth(node, message.arrival)
            return
        node.was_born = True
        new = sent_after(message, [w.message for w in node.window])
        node.window = [w for w in node.window if w.message not in new]
        self.skip_holes(node, ask=False)
        self._heal_by_birth(node, message)
        node.was_heard = node.left_refuted = False
        others = {n for n in (node.bd_seq, node.dead_bd_seq) if n is not None}
        node.other_bd_seqs = others - {message.bd_seq} or node.other_bd_seqs
        devices = [device for device in node.scopes if device is not None]
        self.ends_unheard(node, devices, message.arrival.received_at_us)
        self._end_session(node)
        node.expected_seq = (message.seq + 1) % 256
        node.bd_seq = message.bd_seq
        node.last_sent = message.sent_or_come
        transmission = "Node Info/Transmission Version"
        node.is_ignition = any(m.name == transmission for m in message.payload.metrics)
        self.remember(node, message)
        self.birth(node, message)
        held_before = self.take(node, None)
        whole = [held.message for held in held_before if held.reason == "data_before_birth"]
        after = sent_after(message, whole)
        new += after
        for held in held_before:
            if held.message not in after or held.reason != "data_before_birth":
                self.read_held(node, held)
        if node.late_birth is not None:
            late, node.late_birth = node.late_birth, None
            self.read_held(node, late)
        for each in new:
            self.sequenced(node, each)

    def node_death(self, node: Node, message: Message) -> None:
        """End the session, if it is over by what the death says."""
        died = message.bd_seq
        if node.is_born and is_over(node, died):
            self.skip_holes(node, ask=False)
            scopes = [*node.scopes.values(), *(each.scope for each in node.unborn.values())]
            node.unborn.clear()
            for scope in scopes:
                self.stale(scope, message, message.arrival.received_at_us)
            is_ahead = died not in {None, node.bd_seq} and node.bd_seq is not None
            if not (is_ahead and any(gap.reason == "away" for gap in node.unhealed)):
                self._found(node, Gap("session_end"))
            self._end_session(node)
            node.ended_by = died
            if message.is_empty:
                self.ask_rebirth(message, "empty_death")
        else:
            self.counts["death_of_other_session"] += 1
            if message.is_empty:
                return
        if not node.is_born:
            self.session_ended(node)
            if node.was_born and died is not None:
                node.dead_bd_seq, node.died_at = died, self.now

    def device_death_without_seq(self, node: Node, message: Message) -> None:
        """End a device at once, by a DDEATH of no bytes."""
        device = message.topic.device
        if device not in node.scopes or node.trust is Trust.REFUTED:
            self.counts["death_of_other_session"] += 1
            return
        self.stale(node.scopes.pop(device), message, message.arrival.received_at_us)
        self.ask_rebirth(message, "empty_death")

    def lost_node_birth(self, node: Node, birth: Arrival) -> None:
        """After a birth that cannot be read the aliases may mean something else."""
        if node.is_born:
            self.skip_holes(node, ask=False)
            self.ends_unheard(node, list(node.scopes), birth.received_at_us)
            self._end_session(node)

    def _end_session(self, node: Node) -> None:
        assert not node.window
        node.scopes.clear()
        node.trust = Trust.CONFIRMED
        node.astray_since = None
        node.dead_bd_seq = None
        node.ended_by = None

    # Nodes without session

    def before_birth(self, node: Node, message: Message) -> None:
        """Hold a message, unless it follows the late birth that waits for it."""
        if node.late_birth is not None:
            birth = node.late_birth.message
            if (message.seq - birth.seq) % 256 == 1:
                node.late_birth = None
                self.node_birth(node, birth)
                self.sequenced(node, message)
                return
        node.was_heard |= not node.was_born
        self.ask_rebirth(message, "data_before_birth")
        self.hold(node, message, "data_before_birth")

    def is_late_birth(self, node: Node, message: Message) -> bool:
        """Whether the session that an NBIRTH would begin may have ended already."""
        if node.is_born or node.late_birth is not None:
            return False
        if node.dead_bd_seq is None or message.bd_seq != node.dead_bd_seq:
            return False
        return self.now - node.died_at < LATE_SECONDS

    def is_late_birth_again(self, node: Node, message: Message) -> bool:
        """Whether the very same NBIRTH waits."""
        late = node.late_birth
        return late is not None and late.message.arrival.payload == message.arrival.payload

    def read_late_birth(self, node: Node) -> None:
        """Nothing has followed a late birth: it is a birth."""
        assert node.late_birth is not None
        birth, node.late_birth = node.late_birth.message, None
        self.request(node.group, node.name, "late_birth")
        self.node_birth(node, birth)

    def read_late_birth_of_before(self, node: Node) -> None:
        """A late birth has waited since the start, and no other NBIRTH has come."""
        late, node.late_before = node.late_before, None
        if late not in node.held or node.is_born or node.late_birth is not None:
            return
        node.held.remove(late)
        node.late_birth = late
        self.read_late_birth(node)
        if node.is_born:
            self._settle(node)
            node.trust = Trust.UNCONFIRMED

    # Time

    def time_passes(self) -> None:
        """What happens because nothing has come."""
        for node in self.nodes.values():
            latest = self.now - self.reorder_timeout
            if node.window:
                if min(waiting.since for waiting in node.window) <= latest:
                    self.skip_holes(node)
            elif node.astray_since is not None and node.astray_since <= latest:
                self._counting_was_lost(node)
            before = node.late_before
            if before is not None and self.now - before.since >= LATE_SECONDS:
                self.read_late_birth_of_before(node)
            if node.late_birth is not None and self.now - node.died_at >= LATE_SECONDS:
                self.read_late_birth(node)
        self.expire()

    def time_is_up(self) -> None:
        """Nothing that is missing will come."""
        for node in self.nodes.values():
            self._settle(node)

    def _settle(self, node: Node) -> None:
        if node.window:
            self.skip_holes(node)
        elif node.astray_since is not None:
            self._counting_was_lost(node)
