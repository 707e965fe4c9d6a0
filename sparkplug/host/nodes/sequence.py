"""The sequence numbers of one edge node: what waits, what is missing. No I/O, no clock.

`seq` counts modulo 256 (tck-id payloads-sequence-num-incrementing), so a message is ahead
of what is expected, or behind, by its distance: what is less than half of the circle away
is ahead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sparkplug.host.nodes.seq_place import SeqPlace
from sparkplug.names import SEQ_MODULUS

if TYPE_CHECKING:
    from sparkplug.gaps import Gap
    from sparkplug.host.nodes.waiting import Waiting
    from sparkplug.messages import Message

BEHIND: Final = 128
"""From this distance on a message is late, below it is ahead of a missing one."""

MAX_WAITING: Final = 256
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
_KNOWN_GAPS: Final = 16


def distance(seq: int, expected: int) -> int:
    """How far ahead of the expected seq a seq is, 0 to 255."""
    return (seq - expected) % SEQ_MODULUS


@dataclass(slots=True)
class WindowRoom:
    """Bytes that the windows of all nodes of a fleet may have together, and what they have."""

    most: int
    taken: int = 0


@dataclass(slots=True, eq=False)
class Sequence:
    """What of one node waits for a missing message, and which messages never came.

    `lost_since` is the monotonic time of the first late message that no known gap
    explains, None when there is none; `lost_distance` is its distance, `lost_next` the
    seq behind the last of them, `lost_until_us` when that one was sent. `noted` is the number of
    gaps that were noted so far.
    """

    room: WindowRoom
    waiting: list[Waiting] = field(default_factory=list)
    waiting_bytes: int = 0
    gaps: deque[Gap] = field(default_factory=deque)
    lost_since: float | None = None
    lost_distance: int = 0
    lost_next: int = 0
    lost_until_us: int = 0
    noted: int = 0

    @property
    def needs_attention(self) -> bool:
        """Whether the node's next messages have to be looked at one by one."""
        return bool(self.waiting) or self.lost_since is not None

    def due(self, timeout: float) -> float:
        """Monotonic time at which waiting ends. Only while attention is needed."""
        # Whether counting was lost is settled when the window is emptied.
        since = self.waiting[0].since if self.waiting else self.lost_since
        assert since is not None
        return since + timeout

    # ------------------------------------------------------------------ the window

    def is_double(self, seq: int, message: Message) -> bool:
        """Whether the very same message waits already: of its topic, seq and payload."""
        return any(
            each.seq == seq
            and each.message.payload == message.payload
            and each.message.topic == message.topic
            for each in self.waiting
        )

    def wait(self, entry: Waiting) -> bool:
        """Put a message into the window; return whether the window is full now.

        It may have as much as the windows of all nodes leave free: so many large ones leave
        room for small ones.
        """
        self.waiting.append(entry)
        self._take(entry.size)
        most = min(MAX_WAITING_BYTES, self.room.most - self.room.taken)
        return len(self.waiting) > MAX_WAITING or self.waiting_bytes > most

    def _take(self, size: int) -> None:
        self.waiting_bytes += size
        self.room.taken += size

    def next_waiting(self, expected: int) -> Waiting | None:
        """Take the first waiting message of this seq out of the window."""
        for entry in self.waiting:
            if entry.seq == expected:
                self.waiting.remove(entry)
                self._take(-entry.size)
                return entry
        return None

    def take_waiting(self) -> list[Waiting]:
        """Empty the window; the messages in order of arrival."""
        taken, self.waiting = self.waiting, []
        self._take(-self.waiting_bytes)
        return taken

    # ------------------------------------------------------------------ gaps

    def note_gap(self, gap: Gap) -> Gap | None:
        """Remember a gap; return the one that is forgotten for it."""
        forgotten = self.gaps.popleft() if len(self.gaps) >= _KNOWN_GAPS else None
        self.gaps.append(gap)
        self.noted = gap.order = self.noted + 1
        return forgotten

    def explains(self, seq: int) -> Gap | None:
        """The latest known gap that this late message is missing in; it is no longer then."""
        for gap in reversed(self.gaps):
            if seq in gap.missing:
                gap.missing.discard(seq)
                if not gap.missing:
                    self.gaps.remove(gap)
                return gap
        return None

    @property
    def here(self) -> SeqPlace:
        """The place of a message in order."""
        return SeqPlace(self.gaps[-1] if self.gaps else None)

    def take_gaps(self) -> list[Gap]:
        """All known gaps; none is known any more."""
        taken = list(self.gaps)
        self.gaps.clear()
        return taken

    # ------------------------------------------------------------------ lost count

    def late_without_reason(self, seq: int, expected: int, now: float, sent_us: int) -> None:
        """Note a late message that is missing in no gap: was counting lost?"""
        if self.lost_since is None:
            self.lost_since = now
            self.lost_distance = distance(seq, expected)
        self.lost_next = (seq + 1) % SEQ_MODULUS
        self.lost_until_us = sent_us

    def counts_again(self) -> None:
        """A message in order came, or counting goes on elsewhere."""
        self.lost_since = None


def holes(seqs: list[int], expected: int) -> set[int]:
    """The numbers missing from the expected one up to the last of some seqs ahead of it."""
    last = max(distance(seq, expected) for seq in seqs)
    return {(expected + step) % SEQ_MODULUS for step in range(last + 1)} - set(seqs)
