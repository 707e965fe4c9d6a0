"""What becomes of a message that takes part in seq: a table of decisions. No I/O, no clock.

The rules are in docs/decoding.md, "In which order messages are read" and "What is held until
its birth comes".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from sparkplug.host.nodes.sequence import BEHIND


class Step(Enum):
    """What to do with a message."""

    BEGIN_LATE_SESSION = auto()
    """The late birth of its node is a birth after all: read that, then decide anew."""
    HOLD = auto()
    """Hold it until the NBIRTH of its node comes."""
    MISS_AND_HOLD = auto()
    """Messages are missing since an absence, perhaps a birth: note a gap, doubt, hold it."""
    DOUBT_AND_HOLD = auto()
    """Nothing shows that the session goes on: doubt, hold it."""
    READ = auto()
    """Read it, count on, and read what follows it in the window."""
    WAIT = auto()
    """Let it wait in the window for what is missing before it."""
    READ_LATE = auto()
    """Read it as a late message, unless it was read before."""


class Standing(NamedTuple):
    """What is known of an edge node when a message of it comes.

    Args:
        born: it is in a session.
        in_doubt: what its aliases stand for is not known, although it is in a session.
        confirmed: since the last absence of the host a message has continued its seq.
        partial: topic filters show a part of it only; every distance is 0 then.
        late_birth_follows: it is in no session, a late birth of it waits, and the seq of the
            message is the next one behind that birth's.
    """

    born: bool
    in_doubt: bool
    confirmed: bool
    partial: bool
    late_birth_follows: bool


def decide(node: Standing, ahead: int) -> Step:
    """Judge a message of a known node. The first case that holds decides.

    Args:
        node: what is known of its node.
        ahead: the distance of its seq from the expected one, 0 to 255; it means nothing where
            the node is in no session, or in doubt.
    """
    if node.late_birth_follows:
        return Step.BEGIN_LATE_SESSION
    if not node.born or node.in_doubt:
        return Step.HOLD
    if not node.confirmed and ahead:
        return Step.MISS_AND_HOLD
    if not node.confirmed and node.partial:
        return Step.DOUBT_AND_HOLD
    if ahead == 0:
        return Step.READ
    return Step.WAIT if ahead < BEHIND else Step.READ_LATE
