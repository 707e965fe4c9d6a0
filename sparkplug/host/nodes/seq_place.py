"""Where a message stands in the seq of its session, as far as gaps tell. No I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.names import SEQ_MODULUS

if TYPE_CHECKING:
    from sparkplug.gaps import Gap


class SeqPlace(NamedTuple):
    """Where a message of a session stands.

    `gap` is the last one that was known when it was read, or the one that it was missing in; if
    it stands within that, `seq` is its own, None if it stands behind.
    """

    gap: Gap | None = None
    seq: int | None = None

    def is_next_before(self, other: SeqPlace) -> bool:
        """Whether this one is before another for certain, and nothing is missing in between."""
        gap = self.gap
        if gap is None or gap is not other.gap or self.seq is None:
            return False
        if gap.first is None or gap.guessed:
            return False
        here = (self.seq - gap.first) % SEQ_MODULUS
        there = SEQ_MODULUS if other.seq is None else (other.seq - gap.first) % SEQ_MODULUS
        between = (here < (seq - gap.first) % SEQ_MODULUS < there for seq in gap.missing)
        return here < there and not any(between)

    def is_before(self, other: SeqPlace) -> bool:
        """Whether this one is before another, which was missing in its gap, for certain."""
        gap = other.gap
        if gap is None or gap.first is None or gap.guessed or other.seq is None:
            return False
        if self.gap is not gap:
            return self.gap is None or self.gap.order < gap.order
        if self.seq is None:
            return False
        return (self.seq - gap.first) % SEQ_MODULUS < (other.seq - gap.first) % SEQ_MODULUS


NOWHERE: Final = SeqPlace()
"""The place of a message whose seq says nothing."""
