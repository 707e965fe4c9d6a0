"""Processes are killed under load; what was committed lands, what was not is known."""

from __future__ import annotations

import pytest
from support.lasting import long

from faults.catalogue import SCENARIOS, play
from faults.rig import Size


@pytest.mark.parametrize(
    "name",
    [
        "killed_consumer",
        *long(
            "killed_among_births",
            "killed_between_pieces",
            "killed_between_post_and_answer",
            "killed_zerobus",
            "killed_broker",
        ),
    ],
)
def test_what_was_committed_lands_and_what_was_not_is_known_to_be_missing(name, tmp_path):
    verdict = play(name, tmp_path, SCENARIOS[name].bounded, print)
    assert verdict.kept, str(verdict)
    print(verdict)  # noqa: T201 - the account, shown with -s


@pytest.mark.long
def test_of_twenty_kills_between_post_and_answer_none_costs_an_event(tmp_path):
    verdict = play("killed_between_post_and_answer", tmp_path, Size(times=20), print)
    assert verdict.kept, str(verdict)
