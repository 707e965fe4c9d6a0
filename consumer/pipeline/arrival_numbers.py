"""Finds the first arrival number of a run: behind all that were ever given, whatever was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.spool import latest_us

if TYPE_CHECKING:
    from consumer.spool import Spool

ARRIVAL_KEY: Final = "next_arrival_number"
FIRST_KEY: Final = "first_arrival_number"
"""Key of the spool's state: the arrival number from which on none was left out."""

_COUNTED_FROM_ONE: Final = 10**15
"""Numbers that begin at a time are greater: it is the year 2001 in microseconds."""


def next_arrival(spool: Spool, now_us: int) -> int:
    """The first arrival number of a run.

    A run goes on where the one before it ended. Where nothing says where that was, numbers begin
    at the present time: in a new spool, and in one that lost its state with a damaged file. That
    is more than any number before as long as there were fewer than a million rows per second,
    and the clock was not set back; therefore it is at least the latest time that stands in the
    file. A spool of an earlier release, which counted from 1, begins anew once, so that its rows
    are behind those of every spool before it.

    Args:
        spool: open.
        now_us: microseconds since 1970 UTC, by the clock of this machine.
    """
    known = spool.state.get(ARRIVAL_KEY)
    if isinstance(known, int) and known >= _COUNTED_FROM_ONE:
        return known
    before = known if isinstance(known, int) else 0
    with spool.snapshot() as db:
        first = max(before, now_us, latest_us(db) + 1)
    spool.write_soon(lambda _: None, {ARRIVAL_KEY: first, FIRST_KEY: first})
    return first
