"""What was not seen of an edge node before its NBIRTH: a table of decisions (docs/gaps.md)."""

from __future__ import annotations

from typing import NamedTuple

from sparkplug.gaps import GapReason


class BeforeBirth(NamedTuple):
    """What an NBIRTH shows of the time before it.

    Args:
        reason: of the gap that is known from now on; None if there is no new one.
        sessions: whole sessions that were missed: of the new gap, or of the one whose number is
            taken back.
        takes_back: whether the number missing in an open gap of reason AWAY means nothing: the
            seq behind that gap was that of another session.
    """

    reason: GapReason | None
    sessions: int = 0
    takes_back: bool = False


def before_birth(
    steps: int | None,
    *,
    end_heard: bool,
    away: bool,
    counted: bool,
    doubtful: bool,
    left_in_doubt: bool,
) -> BeforeBirth:
    """Judge an NBIRTH by what is known before it. The first case that holds decides.

    Args:
        steps: how many sessions further than the NBIRTH before it, by bdSeq; 0: it is the same
            session, None: not known.
        end_heard: a gap of reason SESSION_END is open: a death was heard since the last NBIRTH.
        away: a gap of reason AWAY is open: the node was not where it was left.
        counted: an open gap of reason AWAY says how many messages are missing, as if the session
            had gone on.
        doubtful: nothing that was heard since an absence of the host continues the session
            before it, or there was none: data came of a node without any birth.
        left_in_doubt: the host went away while it waited for the birth that tells where the
            node is.
    """
    sessions = max((steps or 0) - 1, 0)
    if steps and counted and not end_heard:
        return BeforeBirth(None, sessions, takes_back=True)
    if doubtful and not away and not end_heard:
        return BeforeBirth(GapReason.AWAY, sessions)
    if left_in_doubt and not steps and not end_heard:
        return BeforeBirth(GapReason.AWAY)  # once more, also after one that was counted
    if sessions:
        return BeforeBirth(GapReason.SESSIONS_MISSED, sessions)
    if steps and not away and not end_heard:
        return BeforeBirth(GapReason.SESSION_END)
    return BeforeBirth(None)
