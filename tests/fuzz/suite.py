"""The generated tests of the suite, with cases that it does not try.

The suite tries the same cases every time; here others are tried until the time is over, by
seeds that repeat them. Several processes at once; each goes through the files that have such
tests in an order of its own, so that a short time does not see the first ones only.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

from support.generated import EXPLORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROJECT: Final = Path(__file__).parents[2]
_TESTS: Final = Path(__file__).parents[1]
_SIGNS: Final = ("@given(", "seeds(")
"""What a file has in it that generates cases."""

_LONGEST_TEST: Final = 900
"""Seconds for one test that found something and shortens it."""

_SHORTEST_ROUND: Final = 10
"""Seconds that are worth another process."""

_LONGEST_TEXT: Final = 20_000


class BrokenError(RuntimeError):
    """Nothing could be explored: that says nothing about what is tested."""


class Finding(NamedTuple):
    """A test that failed, by its id; what it said, and how to have it fail again.

    Or tests of which one ended the process, or never ended.
    """

    test: str
    said: str
    command: str


class Explored(NamedTuple):
    """How many tests were run, each with cases of its own; those that failed."""

    tests: int
    findings: list[Finding]


def files() -> list[Path]:
    """The files of the suite that generate cases."""
    every = sorted(_TESTS.rglob("test_*.py"))
    return [each for each in every if any(sign in each.read_text("utf-8") for sign in _SIGNS)]


def explore(
    seconds: float,
    seed: int,
    *,
    paths: Sequence[Path] | None = None,
    processes: int | None = None,
    tell: Callable[[Finding], None] = lambda _: None,
) -> Explored:
    """Try other cases for so long; a test that runs when the time is over ends first.

    Args:
        seconds: how long.
        seed: of the first process; the next ones have the numbers that follow.
        paths: files of tests, by default those of the suite.
        processes: at once; by default as many as there are processors.
        tell: called with each finding, at once.

    Raises:
        BrokenError: pytest did not run, or had no test to run.
    """
    seeds, end = count(seed), time.monotonic() + seconds
    chosen = [str(path) for path in (files() if paths is None else paths)]

    def rounds() -> Explored:
        tests, found = 0, list[Finding]()
        left = seconds
        while not (tests or found) or left > _SHORTEST_ROUND:
            explored = _one_round(chosen, next(seeds), max(left, 1.0))
            tests += explored.tests
            found += explored.findings
            for finding in explored.findings:
                tell(finding)
            left = end - time.monotonic()
        return Explored(tests, found)

    width = processes or os.cpu_count() or 1
    with ThreadPoolExecutor(width) as pool:
        running = [pool.submit(rounds) for _ in range(width)]
    all_of_them = [each.result() for each in running]
    findings = [finding for each in all_of_them for finding in each.findings]
    return Explored(sum(each.tests for each in all_of_them), findings)


def _one_round(paths: list[str], seed: int, seconds: float) -> Explored:
    """One process: all files by one seed, or as many as there is time for."""
    shuffled = random.Random(seed).sample(paths, len(paths))
    command = [*_pytest(seed), "-q", "-m", "hypothesis or seeded", *shuffled]
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        options = [
            f"--session-timeout={seconds:.0f}",
            *("-o", "junit_family=xunit1", f"--junit-xml={report}"),  # 1: with names of files
            f"--basetemp={directory}/tests",
        ]
        try:
            done = subprocess.run(
                [*command, *options],
                check=False,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=seconds + _LONGEST_TEST + 60,
            )
        except subprocess.TimeoutExpired as error:
            finding = Finding(
                "one of these", f"does not end\n{error.stdout!r}", shlex.join(command)
            )
            return Explored(0, [finding])
        said = f"pytest ended with {done.returncode}:\n{done.stdout[-_LONGEST_TEXT:]}"
        if done.returncode < 0:
            return Explored(0, [Finding("one of these", said, shlex.join(command))])
        # 0: all passed; 1: some failed, or the time was over.
        if done.returncode not in (0, 1) or not report.exists():
            raise BrokenError(said)
        cases = list(ET.parse(report).iter("testcase"))
    if not cases:
        raise BrokenError(said)
    return Explored(len(cases), [each for case in cases for each in _findings(case, seed)])


def _findings(case: ET.Element, seed: int) -> list[Finding]:
    """What a test case of the report says, if it failed."""
    said = [each.text or "" for tag in ("failure", "error") for each in case.iter(tag)]
    if not said:
        return []
    file = case.get("file", "")
    module = file.removesuffix(".py").replace("/", ".")
    classes = case.get("classname", "").removeprefix(module).strip(".").split(".")
    test = "::".join([file, *filter(None, classes), case.get("name", "")])
    return [Finding(test, "\n".join(said)[-_LONGEST_TEXT:], shlex.join([*_pytest(seed), test]))]


def _pytest(seed: int) -> list[str]:
    """The command, to be given in the project's directory."""
    python = Path(sys.executable)
    if python.is_relative_to(PROJECT):
        python = python.relative_to(PROJECT)
    return [
        *(str(python), "-m", "pytest", "-n", "0", f"--timeout={_LONGEST_TEST}"),
        *(f"--hypothesis-profile={EXPLORE}", f"--hypothesis-seed={seed}"),
    ]
