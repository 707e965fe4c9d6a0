"""What becomes of a message that takes part in seq: every row of the table of decisions."""

from itertools import product

import pytest

from sparkplug.host.reading.decision import Standing, Step, decide

DISTANCES = (0, 1, 127, 128, 255)
HELD = (Step.HOLD,) * len(DISTANCES)
IN_SEQ = (Step.READ, Step.WAIT, Step.WAIT, Step.READ_LATE, Step.READ_LATE)
UNCONFIRMED = (Step.READ, *(Step.MISS_AND_HOLD,) * 4)

# By whether the node is born, in doubt, confirmed and seen in part: one step for each distance.
# What is seen in part has no other distance than 0.
TABLE = {
    **dict.fromkeys(product((False,), (False, True), (False, True), (False, True)), HELD),
    **dict.fromkeys(product((True,), (True,), (False, True), (False, True)), HELD),
    (True, False, False, False): UNCONFIRMED,
    (True, False, False, True): (Step.DOUBT_AND_HOLD,),
    (True, False, True, False): IN_SEQ,
    (True, False, True, True): (Step.READ,),
}
CASES = [
    (known, ahead, step)
    for known, steps in TABLE.items()
    for ahead, step in zip(DISTANCES, steps, strict=False)
]


def test_the_table_has_every_combination():
    assert set(TABLE) == set(product((False, True), repeat=4))


@pytest.mark.parametrize(("known", "ahead", "expected"), CASES)
def test_what_becomes_of_a_message(known, ahead, expected):
    assert decide(Standing(*known, late_birth_follows=False), ahead) is expected


@pytest.mark.parametrize("ahead", range(256))
def test_a_trusted_node_reads_waits_or_is_late_by_half_of_the_circle(ahead):
    node = Standing(
        born=True, in_doubt=False, confirmed=True, partial=False, late_birth_follows=False
    )
    expected = Step.READ if ahead == 0 else Step.WAIT if ahead < 128 else Step.READ_LATE
    assert decide(node, ahead) is expected


@pytest.mark.parametrize(("in_doubt", "confirmed", "partial"), [*product((False, True), repeat=3)])
@pytest.mark.parametrize("ahead", DISTANCES)
def test_what_follows_a_late_birth_makes_it_a_birth(in_doubt, confirmed, partial, ahead):
    node = Standing(
        born=False,
        in_doubt=in_doubt,
        confirmed=confirmed,
        partial=partial,
        late_birth_follows=True,
    )
    assert decide(node, ahead) is Step.BEGIN_LATE_SESSION
