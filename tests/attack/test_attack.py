"""Attackers cost little, and the honest fleet nothing: what `make attack` does, in small."""

from __future__ import annotations

import pytest
from faults.rig import Size

from attack.calm import calm
from attack.gauge import most_lines
from attack.judge import Cost
from attack.mix import mixed
from attack.shapes import SHAPES
from attack.strangers import DEEDS

BUDGET = 512.0

PLAYED = (*SHAPES, *DEEDS)


def _part(name: str) -> float:
    return SHAPES[name].in_suite if name in SHAPES else 0.05


# Two halves, for two workers.
@pytest.mark.long
@pytest.mark.parametrize("names", [PLAYED[::2], PLAYED[1::2]], ids=["one", "other"])
def test_no_shape_takes_more_than_it_may(names, tmp_path):
    with calm(tmp_path, BUDGET) as system:
        system.start()
        costs = [system.play(name, _part(name), delivered=False) for name in names]
        costs.append(after := Cost("restart"))
        system.restart(after)
    for each in costs:
        each.judge(BUDGET)
        print(each.line())  # noqa: T201 - the account, shown with -s
    assert not [each.line() for each in costs if not each.kept]


def test_the_fleet_loses_nothing_beside_attackers(tmp_path):
    size = Size(seconds=4.0, nodes=8, rate=1_000.0)
    verdict = mixed(tmp_path, size, PLAYED, BUDGET, print, part=0.01)
    assert verdict.kept, str(verdict)


# The judge itself


def _log(*seconds: float) -> str:
    return "".join(f"2026-01-01T00:00:{each:06.3f}Z warning some text\n" for each in seconds)


def test_lines_are_counted_in_any_stretch_of_a_second_and_over_restarts():
    assert most_lines([]) == 0
    assert most_lines([_log(1.0, 1.5, 2.0, 2.4)]) == 3  # from 1.5 on
    assert most_lines([_log(1.0, 1.5), _log(1.9)]) == 3


def test_lines_of_a_traceback_are_of_the_line_before():
    assert most_lines([_log(1.0) + "  Traceback\n  File\n" + _log(5.0)]) == 3


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (Cost("a", decode=1.2), "a message took 1.2 s"),
        (Cost("a", peak=600.0), "600 MiB"),
        (Cost("a", restart=600.0), "600 MiB at the restart"),
        (Cost("a", lines=51), "51 lines of the log in a second"),
    ],
)
def test_what_is_beyond_a_limit_is_said(cost, said):
    cost.judge(BUDGET)
    assert cost.problems == [said]


def test_what_is_within_the_limits_is_as_promised():
    cost = Cost("a", flood=True, decode=20.0, peak=512.0, restart=512.0, lines=50)
    cost.judge(BUDGET)
    assert cost.kept
