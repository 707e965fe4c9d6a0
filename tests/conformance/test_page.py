"""docs/conformance.md is what the tests say, and the tests are what the specification asks."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import pytest

from conformance.assertions import CHECKS
from conformance.report import PAGE, PASSED, Collector, Result, page, rows_of
from conformance.tck_ids import ALL_IDS, LISTS

MAKE_IT = "docs/conformance.md is not what the tests say: run make conformance"


@pytest.fixture(scope="module")
def checks():
    """Every assertion that a test module here checks."""
    for each in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"conformance.{each.stem}")
    return CHECKS


def test_every_assertion_has_exactly_one_test_and_no_other_is_claimed(checks):
    assert Counter(tck_id for tck_id, _ in checks) == Counter(ALL_IDS)


def test_every_check_says_what_it_looks_at(checks):
    for tck_id, check in checks:
        assert check.seen, tck_id
        assert check.text.endswith("."), tck_id


def test_the_page_has_the_lists_of_the_specification():
    found = rows_of(PAGE.read_text(encoding="utf-8"))
    assert {name: tuple(row.tck_id for row in rows) for name, rows in found.items()} == LISTS, (
        MAKE_IT
    )


def test_the_page_says_what_the_tests_check(checks):
    expected = {tck_id: check.note(tck_id) for tck_id, check in checks}
    for rows in rows_of(PAGE.read_text(encoding="utf-8")).values():
        for row in rows:
            note = {"id": row.tck_id, "kind": row.kind, "seen": row.seen, "text": row.text}
            assert note == expected[row.tck_id], MAKE_IT


def report(tck_id, outcome):
    note = {"id": tck_id, "kind": "host", "seen": "log", "text": "It holds."}
    return pytest.TestReport(
        "x", ("x", 0, "x"), {}, outcome, None, "call", user_properties=[("conformance", note)]
    )


def test_a_failure_in_any_phase_is_written_and_what_did_not_run_is_said():
    collector = Collector()
    one, two, three = ALL_IDS[:3]
    for tck_id, outcomes in ((one, ("passed", "failed", "passed")), (two, ("passed",) * 3)):
        for outcome in outcomes:
            collector.pytest_runtest_logreport(report(tck_id, outcome))
    text = page(collector.results, "a server")
    found = {row.tck_id: row for rows in rows_of(text).values() for row in rows}
    assert found[one] == Result(one, "host", "log", "It holds.", "failed")
    assert found[two].outcome == PASSED
    assert found[three].outcome == "not run"
    assert f"{len(ALL_IDS)} assertions: {len(ALL_IDS) - 2} not run, 1 failed, 1 passed." in text
