"""The comparison of the gaps report with what was published notices what is wrong in it."""

from __future__ import annotations

import pytest

from faults.books import check_gaps, hidden_by_chance
from faults.notebook import Key, Sent
from faults.verdict import Verdict
from sparkplug.topics import MessageType


def session(number, *seqs):
    """An NBIRTH and data of these seq; with the number of the session for a time."""
    at_ms = 1_000 * number
    births = [Sent(Key("Plant", "Edge", None, "NBIRTH", 0, at_ms), MessageType.NBIRTH, ())]
    return births + [
        Sent(Key("Plant", "Edge", None, "NDATA", seq, at_ms + place), MessageType.NDATA, ())
        for place, seq in enumerate(seqs, start=1)
    ]


FIRST, SECOND = session(1, 1, 2, 3, 4, 5, 6), session(2, 1, 2, 3, 4, 5, 6, 7, 8)


def keys(*messages):
    return {each.key for each in messages}


def problems(sent, received, *, all_landed=True, lost_when_killed=0, **said):
    """What is wrong with a report that says this of the only edge node, in short."""
    gaps = {"found": said.get("found", 0), "of_unknown_size": said.get("unknown", 0)}
    account = {"group_id": "Plant", "edge_node_id": "Edge", "gaps": gaps}
    report = {"nodes": [account | {"missing": said.get("missing", 0)}], "total": {"gaps": gaps}}
    if said.get("silent"):
        report["nodes"] = []
    verdict = Verdict()
    check_gaps(
        verdict,
        report,
        {"Plant/Edge": sent},
        received,
        all_landed=all_landed,
        lost_when_killed=lost_when_killed,
    )
    return len(verdict.problems)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"found": 1, "missing": 2}, False),
        ({"found": 1, "unknown": 1}, False),
        ({"found": 1, "missing": 1}, True),  # too few
        ({"found": 1, "missing": 3}, True),  # too many
        ({"found": 1, "missing": 3, "unknown": 1}, True),
        ({"missing": 2}, True),
        ({}, True),
        ({"silent": True}, True),
    ],
)
def test_what_is_missing_in_a_session_is_in_the_report(said, wrong):
    assert bool(problems(FIRST, keys(*FIRST[:3], *FIRST[5:]), **said)) is wrong


def test_a_report_may_say_too_little_when_rows_were_lost_after_they_were_received():
    received = keys(*FIRST[:3], *FIRST[5:])
    assert not problems(FIRST, received, all_landed=False)
    assert problems(FIRST, received, all_landed=False, missing=3)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"found": 1, "missing": 1}, False),
        ({"found": 1, "missing": 0}, True),  # one waited, and two are in no gap
        ({"found": 1, "missing": 3}, True),
        ({}, True),
        ({"silent": True}, True),
    ],
)
def test_what_waited_when_the_consumer_was_killed_may_be_in_no_gap_and_no_more_than_that(
    said, wrong
):
    received = keys(*FIRST[:3], *FIRST[5:])
    assert bool(problems(FIRST, received, lost_when_killed=1, **said)) is wrong


@pytest.mark.parametrize(("said", "wrong"), [(1, True), (2, False), (259, True)])
def test_of_a_hole_no_more_than_its_size_modulo_256_needs_to_be_in_the_report(said, wrong):
    sent = session(1, *(seq % 256 for seq in range(1, 400)))
    received = keys(*sent[:100], *sent[358:])
    assert bool(problems(sent, received, found=1, missing=said)) is wrong


def test_a_lost_session_needs_a_gap():
    received = keys(*FIRST[:3], *SECOND[5:])
    assert problems(FIRST + SECOND, received)
    assert not problems(FIRST + SECOND, received, found=1, unknown=1)


def test_what_came_before_anything_was_heard_is_not_asked_for():
    assert not problems(FIRST, keys(*FIRST[4:]))


def test_a_session_that_seems_to_go_on_in_the_next_one_hides_what_is_between():
    sent = FIRST + SECOND
    received = keys(*FIRST[:4], *SECOND[4:7])
    assert hidden_by_chance(sent, received) == set(range(4, 11))
    assert problems(sent, received)  # the last one, 8, is not among them
    assert not problems(sent, received | keys(*SECOND[7:]))


@pytest.mark.parametrize(("said", "wrong"), [(0, True), (2, False)])
def test_of_a_hole_with_a_birth_in_it_no_more_than_seq_tells_needs_to_be_in_the_report(said, wrong):
    received = keys(*FIRST[:3], *SECOND[5:])
    assert bool(problems(FIRST + SECOND, received, found=1, missing=said)) is wrong
