"""Whatever happened, what is alive is shown with its value, and all else is STALE."""

from __future__ import annotations

import pytest
from support.generated import seeds

from oracle.plant import Plant

STEPS = 25


@pytest.mark.parametrize("stale_when_lost", [False, True], ids=["deaths", "all"])
@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("seed", seeds(25))
def test_in_the_end_the_table_shows_what_is_so(seed, servers, stale_when_lost):
    plant = Plant(seed, servers, stale_when_lost=stale_when_lost)
    for _ in range(STEPS):
        plant.step()
    plant.settle()
    assert plant.shown == plant.so_it_is()
