"""Messages and records that are refused, and a table that changes, cost nobody else anything."""

from __future__ import annotations

import pytest
from support.lasting import long

from faults.catalogue import SCENARIOS, play


@pytest.mark.parametrize(
    "name",
    [
        "malformed_messages",
        *long("poison_records", "dropped_column"),
    ],
)
def test_everything_else_lands(name, tmp_path):
    verdict = play(name, tmp_path, SCENARIOS[name].bounded, print)
    assert verdict.kept, str(verdict)
    print(verdict)  # noqa: T201 - the account, shown with -s
