"""Which nodes are silent, as docs/operating.md says it, for any habit."""

from __future__ import annotations

from itertools import chain

from hypothesis import assume, given
from hypothesis import strategies as st
from support.columnar import change, message, tag
from support.generated import examples
from support.host_side import Server

from oracle.messages import metric
from sparkplug.datatypes import DataType
from sparkplug.events import EventKind

LEAST = 60.0
TIMES = 3.0
DOUBT = 0.05
"""Pauses that did not come again count for less with time: within a day for no more than that."""


class Habit:
    """What is told of one node, worked out pause by pause."""

    def __init__(self) -> None:
        self.longest = self.observed = 0.0
        self.told: list[str] = []

    def pause(self, seconds: float, ends_with: str) -> bool:
        """Take a pause; False where it is too close to a bound to say what is told of it."""
        bound = max(LEAST, TIMES * self.longest)
        if any(abs(each - bound) < 2.0 + DOUBT * bound for each in (seconds, self.observed)):
            return False
        if seconds > bound and self.observed > bound:
            self.told += ["quiet", "quiet_over"]
        if ends_with == "NDATA":  # a pause that ends with a birth is no habit
            self.longest = max(self.longest, seconds)
            self.observed += seconds
        return True


def said_by(fleet: Server, pauses: list[tuple[float, str]]) -> list[str]:
    """What a fleet tells of a node that pauses like that."""
    now, seq = 0.0, 0
    bd_seq = metric("bdSeq", DataType.Int64, long_value=1)
    fleet.at(now, message("NBIRTH", bd_seq, tag("Ramp", 0)))
    for seconds, verb in pauses:
        until = now + seconds
        while now < until:
            now = min(until, now + 1.0)
            fleet.tick(now)
        if verb == "NBIRTH":
            seq = 0
            fleet.at(now, message("NBIRTH", bd_seq, tag("Ramp", 0)))
        else:
            seq = (seq + 1) % 256
            fleet.at(now, message("NDATA", change(0, now), seq=seq))
        fleet.tick(now)
    return [event.reason for event in fleet.told(EventKind.SILENT)]


PAUSES = st.sampled_from([5.0, 25.0, 70.0, 90.0, 240.0, 280.0, 800.0])
HABITS = st.tuples(PAUSES, st.integers(4, 15)).map(lambda each: [(each[0], "NDATA")] * each[1])
BREAKS = st.tuples(PAUSES, st.sampled_from(["NDATA", "NDATA", "NBIRTH"])).map(lambda each: [each])


@given(
    pauses=st.lists(st.one_of(HABITS, BREAKS), min_size=2, max_size=5).map(
        lambda parts: [*chain.from_iterable(parts)]
    )
)
@examples(60)
def test_a_node_is_silent_when_it_says_nothing_for_longer_than_its_habit(pauses):
    habit = Habit()
    assume(all(habit.pause(seconds, verb) for seconds, verb in pauses))
    assert said_by(Server(reorder_timeout=2.0, silent_after=TIMES), pauses) == habit.told
