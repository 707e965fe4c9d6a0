"""Zerobus is away, silent, or refuses whoever comes: nothing is lost."""

from __future__ import annotations

import pytest
from support.lasting import long

from faults.catalogue import SCENARIOS, play


@pytest.mark.parametrize(
    "name",
    [
        "endpoint_down",
        *long("silent_service", "status_codes", "refused_tokens", "untrusted_certificate"),
    ],
)
def test_nothing_is_lost(name, tmp_path):
    verdict = play(name, tmp_path, SCENARIOS[name].bounded, print)
    assert verdict.kept, str(verdict)
    print(verdict)  # noqa: T201 - the account, shown with -s
