"""The suite tries the same cases every time; exploration tries others, and tells what it finds."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import __main__ as program
from fuzz import suite

FAULTY = Path(__file__).with_name("faulty_tests.py")


def run(*command, **environment):
    return subprocess.run(
        command,
        check=False,
        cwd=suite.PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def cases_of(file, *options, **environment):
    """What the test that writes its cases was given, in a process of its own."""
    test = f"{FAULTY}::test_that_writes_its_cases"
    command = [sys.executable, "-m", "pytest", "-n", "0", *options, test]
    assert run(*command, CASES=str(file), **environment).returncode == 0
    return file.read_text("utf-8").splitlines()


@pytest.mark.long
def test_the_suite_tries_the_same_cases_whatever_is_loaded_and_however_sets_are_ordered(tmp_path):
    first = cases_of(tmp_path / "first", PYTHONHASHSEED="1")
    again = cases_of(tmp_path / "again", "-p", "consumer.cli", PYTHONHASHSEED="2")
    assert len(set(first)) > 5
    assert first == again


def example_in(said):
    """The lines of a report that tell of the case that failed."""
    return [line.lstrip("E ") for line in said.splitlines() if "numbers=" in line]


@pytest.mark.long
def test_what_exploration_finds_fails_again_by_the_command_that_it_tells(monkeypatch):
    monkeypatch.setenv("CASES", os.devnull)
    monkeypatch.setattr(suite, "_SHORTEST_ROUND", 300)  # one round, however long it takes
    seen = []
    explored = suite.explore(300, 7, paths=[FAULTY], processes=1, tell=seen.append)
    assert explored.findings == seen
    found = {each.test.removeprefix("tests/fuzz/faulty_tests.py::"): each for each in seen}
    generated = found.pop("test_that_numbers_are_small")
    assert len(found) == 5  # as many times more seeds than in the suite
    assert all(each.startswith("TestSeeds::test_that_a_seed_is_zero[") for each in found)
    assert explored.tests == 7
    for finding in (generated, found.popitem()[1]):
        again = run(*shlex.split(finding.command))
        assert again.returncode == 1
        assert example_in(again.stdout)[:1] == example_in(finding.said)[:1]
    assert example_in(generated.said)


def test_what_cannot_be_explored_is_no_finding():
    with pytest.raises(suite.BrokenError, match="pytest ended with 5"):
        suite.explore(0.1, 7, paths=[Path(suite.__file__)], processes=1)


def test_a_test_that_ends_the_process_is_found(monkeypatch):
    died = subprocess.CompletedProcess([], -6, stdout="Fatal Python error: Aborted")
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: died)
    [finding] = suite.explore(0.1, 7, paths=[FAULTY], processes=1).findings
    assert finding.said == "pytest ended with -6:\nFatal Python error: Aborted"
    assert shlex.split(finding.command)[-1] == str(FAULTY)


def test_all_files_that_generate_cases_are_explored():
    names = {file.name for file in suite.files()}
    assert {"test_decoding.py", "test_damage.py", "test_topics.py"} <= names
    assert FAULTY.name not in names


@pytest.mark.parametrize(
    ("findings", "options", "code"), [(0, [], 0), (2, [], 1), (2, ["--only-tell"], 0)]
)
def test_findings_are_told_loudly_and_let_the_program_fail_unless_it_is_only_to_tell(
    monkeypatch, capsys, findings, options, code
):
    finding = suite.Finding("test_x.py::test_y", "AssertionError: here", "pytest --again")

    def explore(_seconds, _seed, *, tell):
        for _ in range(findings):
            tell(finding)
        return suite.Explored(5, [finding] * findings)

    monkeypatch.setattr(suite, "explore", explore)
    monkeypatch.setattr(sys, "argv", ["fuzz", "suite", "--seed", "3", *options])
    assert program.main() == code
    said = capsys.readouterr().out
    assert said.count("FOUND BY RANDOM EXPLORATION: test_x.py::test_y\n") == findings
    assert said.count("AssertionError: here\n") == findings
    assert said.count("  pytest --again\n") == findings
    assert f"5 tests with cases of their own, {findings} failed\n" in said


def test_exploration_that_is_broken_fails_also_where_it_is_only_to_tell(monkeypatch):
    def explore(*_arguments, **_options):
        raise suite.BrokenError("no test was run")

    monkeypatch.setattr(suite, "explore", explore)
    monkeypatch.setattr(sys, "argv", ["fuzz", "suite", "--only-tell"])
    with pytest.raises(suite.BrokenError):
        program.main()
