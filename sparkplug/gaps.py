"""What edge nodes sent and the host did not get: one record per gap. No I/O, no clock.

What is known of a gap, and what cannot be, is in docs/gaps.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from sparkplug.events import Event, EventKind, Healing

HEALABLE_GAPS: Final = 16
"""The latest gaps of each node that may still be healed."""

_BD_SEQ_BEHIND: Final = 128
"""A bdSeq that is further ahead than this was not counted on, but begun anew."""


class GapReason(StrEnum):
    """How it is known that messages are missing."""

    SEQUENCE_GAP = "sequence_gap"
    """A hole in seq, within a session that was listened to."""
    AWAY = "away"
    """A node was not where it was left when the host was not running, or not connected; or
    it was in a session whose birth was never heard."""
    SESSION_END = "session_end"
    """A session ended: whether anything is missing at its end nobody can tell."""
    SESSIONS_MISSED = "sessions_missed"
    """bdSeq jumped: whole sessions were not seen, or attempts to connect that failed."""


class Span(NamedTuple):
    """Two times in microseconds since 1970 UTC, the earlier one first."""

    since_us: int
    until_us: int


@dataclass(slots=True, eq=False)
class Gap:
    """Messages of a node that did not come, or may not have come.

    Args:
        group_id, edge_node_id: of the node.
        reason: how it is known.
        found_us: when it became known, microseconds since 1970 UTC, by the host's clock.
        first: the seq that was expected and did not come; None where none was.
        count: how many are missing, modulo 256; None where that is not known. That of an
            open gap of reason AWAY may be taken back: its node may have begun to count anew.
        missing: those of them that have not come late; only of a hole in seq.
        from_us, to_us: times between which they were sent, by the clock of the node
            (payload timestamps, times of arrival where there are none); None: not known (yet).
        sessions: whole sessions that were missed, as far as bdSeq tells.
        ended_by: what ended it, apart from history; OPEN while nothing did. History may have come
            for such a one as well, and `healing` says so then.
        healed_us: when it was healed first, by the host's clock.
        late: how many of `count` came late.
        history_rows: rows of history that came after it, of times within it.
        guessed: nothing came from behind the gap, but its node counts from elsewhere.
        number: for whoever keeps records; 0 if there is none.
        order: counts the holes in seq of one node as they are found, since the start; 0: none.
    """

    group_id: str
    edge_node_id: str
    reason: GapReason
    found_us: int
    first: int | None = None
    count: int | None = None
    missing: set[int] = field(default_factory=set)
    from_us: int | None = None
    to_us: int | None = None
    sessions: int = 0
    ended_by: Healing = Healing.OPEN
    healed_us: int | None = None
    late: int = 0
    history_rows: int = 0
    guessed: bool = False
    number: int = 0
    order: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The node's group id and edge node id."""
        return self.group_id, self.edge_node_id

    @property
    def healing(self) -> Healing:
        """The best that was done for it: a late message is all there was, history its values."""
        if self.history_rows and self.ended_by is not Healing.LATE_ARRIVAL:
            return Healing.HISTORY_FLUSH
        return self.ended_by

    @property
    def span_us(self) -> Span | None:
        """Times between which the missing messages were sent.

        None where they are not known. By the clock of the node, which may have been set back.
        """
        if self.from_us is None or self.to_us is None:
            return None
        return Span(min(self.from_us, self.to_us), max(self.from_us, self.to_us))

    def event(self) -> Event:
        """The event that tells of it now; of one gap all have the same time, node and seq."""
        return Event(
            EventKind.GAP,
            self.found_us,
            self.group_id,
            self.edge_node_id,
            reason=self.reason,
            seq=self.first,
            missing=self.count,
            healing=self.healing,
        )


class GapChange(NamedTuple):
    """A gap was found (`before` is None), or something was made up for.

    The gap may have changed again since: what a change adds to accounts is told by itself.

    Args:
        gap: as it is now.
        before, after: how it was healed.
        missing: messages more that are missing; less than 0 if their number was taken back
            and is unknown now.
        settled: missing messages whose number became final.
        sessions: whole sessions more that were missed.
        late: messages of the gap that came with this change.
        history_rows: rows of history that came with it.
        flushed: missing messages more for which there is history instead.
    """

    gap: Gap
    before: Healing | None
    after: Healing
    missing: int = 0
    settled: int = 0
    sessions: int = 0
    late: int = 0
    history_rows: int = 0
    flushed: int = 0

    @property
    def made_unknown(self) -> bool:
        """Whether this change made the size of the gap unknown."""
        return self.missing < 0 or (self.before is None and not self.missing)


def steps_of_bd_seq(before: int | None, now: int | None) -> int | None:
    """How many sessions further a birth is than the one before it: 0 is the same session.

    None if either has no bdSeq. It grows by one per CONNECT, modulo 256 (tck-id
    topics-nbirth-bdseq-increment), so multiples of 256 more are possible. Some nodes begin
    anew, others send a time: what is no small step ahead is another session, and no more.
    """
    if before is None or now is None:
        return None
    if now == before:
        return 0
    steps = (now - before) % 256 if max(now, before) < 256 else now - before
    return steps if 0 < steps <= _BD_SEQ_BEHIND else 1
