"""Network, clock and disk fail the consumer: what is lost is known, and no more than must be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.lasting import long

from faults.catalogue import SCENARIOS, play


@pytest.mark.parametrize(
    "name",
    [
        "full_disk",
        *long(
            "killed_primary_host",
            "flapping_connection",
            "clock_stepped_back",
            "damaged_batch",
            "damaged_page",
        ),
    ],
)
def test_what_is_lost_is_known_and_no_more_than_must_be(name, tmp_path):
    verdict = play(name, tmp_path, SCENARIOS[name].bounded, print)
    assert verdict.kept, str(verdict)
    print(verdict)  # noqa: T201 - the account, shown with -s


def test_every_scenario_is_in_the_suite():
    tested = {
        name
        for module in ("kills", "machine", "records", "service")
        for name in SCENARIOS
        if f'"{name}"' in Path(__file__).with_name(f"test_{module}.py").read_text("utf-8")
    }
    assert tested == SCENARIOS.keys()
