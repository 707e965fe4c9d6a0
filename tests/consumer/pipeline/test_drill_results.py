"""What is kept of a drill, and what it makes of what earlier drills showed."""

from __future__ import annotations

import pytest

from consumer.pipeline.drill_results import result_of, why
from sparkplug import NodeAfter, NodeBefore

SECOND_US = 1_000_000
BEFORE = NodeBefore(
    "Plant", "Edge", was_alive=True, sent_us=SECOND_US, moments=40, pause_us=SECOND_US
)
BACK_US = 46 * SECOND_US
WHAT_CAME = {
    "kept": NodeAfter(BEFORE, BACK_US, rows=44, hole_us=SECOND_US),
    "partly": NodeAfter(BEFORE, BACK_US, rows=5, hole_us=40 * SECOND_US),
    "lost": NodeAfter(BEFORE, BACK_US, hole_us=45 * SECOND_US),
    "not_known": NodeAfter(BEFORE),
}


def results_of(*verdicts):
    """The result after drills of these verdicts, one after the other."""
    result = None
    for at_ms, verdict in enumerate(verdicts, 1):
        result = result_of("plant", WHAT_CAME[verdict], at_ms, result)
        assert result.verdict == verdict
    return result


@pytest.mark.parametrize(
    ("verdicts", "is_good"),
    [
        (["kept"], True),
        (["kept", "not_known"], True),
        (["kept", "lost"], False),
        (["kept", "lost", "not_known"], False),
        (["kept", "partly", "not_known"], False),
        (["kept", "lost", "not_known", "not_known"], False),
        (["kept", "lost", "kept", "not_known"], True),
    ],
)
def test_what_a_drill_held_against_a_node_stands_until_another_shows_that_it_keeps_its_data(
    verdicts, is_good
):
    assert results_of(*verdicts).is_good(10) is is_good


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"hole_us": 40 * SECOND_US}, "history lacks 40.0 s of the 45.0 s"),
        ({"tags_lost": 1}, "no history of 1 tag that published before"),
        ({"tags_lost": 1200}, "no history of 1,200 tags that published before"),
        ({"went_on": True}, "some history, though it went on publishing"),
    ],
)
def test_of_a_part_it_is_said_what_is_missing(more, words):
    node = WHAT_CAME["kept"]._replace(**more)
    assert node.verdict == "partly"
    assert why(node).startswith(words)
