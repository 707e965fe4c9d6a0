"""How many generated cases a test tries, and which: the same each time, or others to explore.

The suite is the same every time: of each test the same cases, whatever ran before it, on
every machine. Other cases are tried by `make explore` and `make fuzz`, in the profile
`explore` of hypothesis, by a seed that repeats them.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, configuration, settings
from hypothesis.internal.conjecture import providers

if TYPE_CHECKING:
    from _pytest.mark.structures import ParameterSet

EXPLORE: Final = "explore"
SUITE: Final = "suite"
TIMES_AS_MANY: Final = 5
"""Cases of a test where others are explored, for each that it tries in the suite."""

_FEW: Final = 50
"""Cases of a test that does not say how many."""

_seed = 0


def register_profiles() -> None:
    """Let hypothesis know both profiles, and use the one that is the same every time."""
    # Nothing is kept from one run to the next but tables of Unicode, which take long to make.
    configuration.set_hypothesis_home_dir(Path(sys.prefix) / "cache" / "hypothesis")
    # Hypothesis tries numbers and texts that stand in the modules that happen to be loaded. So
    # the cases would be others with each change of a module, and where a test runs alone.
    providers._get_local_constants = providers.Constants
    settings.register_profile(
        SUITE,
        max_examples=_FEW,
        derandomize=True,
        database=None,
        # Machines that run the suite are slow and shared: an example that takes long is no finding.
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,  # what is needed to try the case again
    )
    settings.register_profile(
        EXPLORE,
        settings.get_profile(SUITE),
        max_examples=_FEW * TIMES_AS_MANY,
        derandomize=False,
    )
    settings.load_profile(SUITE)


def explore(config: pytest.Config) -> None:
    """Take over the seed of a run that explores."""
    global _seed  # noqa: PLW0603 - one run, one seed; modules of tests ask when they are loaded
    if config.getoption("--hypothesis-profile") != EXPLORE:
        return
    given = config.getoption("--hypothesis-seed")
    if given is None or not given.isdecimal():
        raise pytest.UsageError(f"--hypothesis-profile={EXPLORE} needs --hypothesis-seed=NUMBER")
    _seed = int(given)


def is_exploring() -> bool:
    """Whether cases are tried that the suite does not try."""
    return settings.get_current_profile_name() == EXPLORE


def examples(number: int, **options: Any) -> settings:
    """So many cases of a test that hypothesis makes, and more of them to explore."""
    return settings(max_examples=number * (TIMES_AS_MANY if is_exploring() else 1), **options)


def seeds(number: int) -> list[ParameterSet]:
    """So many seeds of a test that draws its cases itself, the first ones; or others to explore."""
    chosen: list[int] | range = range(number)
    if is_exploring():
        draw = random.Random(_seed)
        chosen = [draw.randrange(2**32) for _ in range(number * TIMES_AS_MANY)]
    return [pytest.param(each, marks=pytest.mark.seeded) for each in chosen]
