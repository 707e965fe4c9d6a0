"""What an NBIRTH shows of the time before it: every combination of what is known by then."""

from itertools import product

import pytest

from sparkplug.gaps import GapReason
from sparkplug.host.watch.before_birth import BeforeBirth, before_birth

NOTHING = BeforeBirth(None)
AWAY, AWAY_2 = BeforeBirth(GapReason.AWAY), BeforeBirth(GapReason.AWAY, sessions=2)
MISSED_2 = BeforeBirth(GapReason.SESSIONS_MISSED, sessions=2)
ENDED = BeforeBirth(GapReason.SESSION_END)
TAKEN_BACK = BeforeBirth(None, takes_back=True)
TAKEN_BACK_2 = BeforeBirth(None, sessions=2, takes_back=True)

STEPS = (None, 0, 1, 3)
NEITHER, AWAY_OPEN, AWAY_COUNTED = (False, False), (True, False), (True, True)

# By what is open (away, counted), whether it is doubtful, and whether it was left in doubt, when
# no end was heard: one verdict for each of STEPS.
TABLE = {
    (NEITHER, False, False): (NOTHING, NOTHING, ENDED, MISSED_2),
    (NEITHER, False, True): (AWAY, AWAY, ENDED, MISSED_2),
    (NEITHER, True, False): (AWAY, AWAY, AWAY, AWAY_2),
    (NEITHER, True, True): (AWAY, AWAY, AWAY, AWAY_2),
    (AWAY_OPEN, False, False): (NOTHING, NOTHING, NOTHING, MISSED_2),
    (AWAY_OPEN, False, True): (AWAY, AWAY, NOTHING, MISSED_2),
    (AWAY_OPEN, True, False): (NOTHING, NOTHING, NOTHING, MISSED_2),
    (AWAY_OPEN, True, True): (AWAY, AWAY, NOTHING, MISSED_2),
    (AWAY_COUNTED, False, False): (NOTHING, NOTHING, TAKEN_BACK, TAKEN_BACK_2),
    (AWAY_COUNTED, False, True): (AWAY, AWAY, TAKEN_BACK, TAKEN_BACK_2),
    (AWAY_COUNTED, True, False): (NOTHING, NOTHING, TAKEN_BACK, TAKEN_BACK_2),
    (AWAY_COUNTED, True, True): (AWAY, AWAY, TAKEN_BACK, TAKEN_BACK_2),
}
CASES = [
    (*known, steps, verdict)
    for known, verdicts in TABLE.items()
    for steps, verdict in zip(STEPS, verdicts, strict=True)
]


def judged(steps, open_gaps, doubtful, left_in_doubt, *, end_heard):
    away, counted = open_gaps
    return before_birth(
        steps,
        end_heard=end_heard,
        away=away,
        counted=counted,
        doubtful=doubtful,
        left_in_doubt=left_in_doubt,
    )


def test_the_table_has_every_combination():
    every = product((NEITHER, AWAY_OPEN, AWAY_COUNTED), (False, True), (False, True))
    assert set(TABLE) == set(every)


@pytest.mark.parametrize(("open_gaps", "doubtful", "left_in_doubt", "steps", "expected"), CASES)
def test_what_a_birth_shows_when_no_end_was_heard(
    open_gaps, doubtful, left_in_doubt, steps, expected
):
    assert judged(steps, open_gaps, doubtful, left_in_doubt, end_heard=False) == expected


@pytest.mark.parametrize(("open_gaps", "doubtful", "left_in_doubt"), TABLE)
def test_behind_an_end_that_was_heard_only_whole_sessions_are_missed(
    open_gaps, doubtful, left_in_doubt
):
    found = [judged(s, open_gaps, doubtful, left_in_doubt, end_heard=True) for s in STEPS]
    assert found == [NOTHING, NOTHING, NOTHING, MISSED_2]
