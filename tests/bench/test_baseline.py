"""The benchmark's baseline does the work it is timed for: its rows are the oracle's rows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from oracle import Arrival, Oracle, to_tag_event


@pytest.fixture(scope="module")
def bench():
    """The modules of bench/, which is a folder of scripts and no package."""
    folder = str(Path(__file__).parents[2] / "bench")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("fleet"), importlib.import_module("baseline")
    finally:
        sys.path.remove(folder)


@pytest.mark.parametrize("options", [{}, {"names": True, "datatypes": True}], ids=str)
@pytest.mark.parametrize("metrics", [1, 10, 100])
def test_the_baseline_writes_the_rows_of_the_oracle(bench, metrics, options):
    fleet, baseline = bench
    births = fleet.births()
    batches = fleet.batches(metrics, 2, 60, **options)
    oracle = Oracle()
    oracle.feed(Arrival(*message) for message in births)
    before = len(oracle.rows)
    for batch in batches:
        oracle.feed(Arrival(*message) for message in batch)
    assert before == 10_000
    assert not oracle.counts

    normalize = baseline.Baseline(births).normalize
    rows = [row for batch in batches for row in normalize(batch)]
    assert len(rows) == 120 * metrics
    prepared = baseline.Baseline(births, prepared=True).normalize
    assert [row for batch in batches for row in prepared(batch)] == rows
    expected = []
    for row in oracle.rows[before:]:
        row["arrival_number"] -= before  # the baseline emits no birth values
        expected.append(to_tag_event(row))
    assert rows == expected


def test_the_input_has_the_promised_mix_and_is_the_same_on_every_run(bench):
    fleet, _ = bench
    births = fleet.births()
    assert births == fleet.births()
    oracle = Oracle()
    oracle.feed(Arrival(*message) for message in births)
    types = [row["data_type"] for row in oracle.rows]
    assert {name: types.count(name) for name in set(types)} == {
        "Double": 6000,
        "Int32": 2000,
        "Boolean": 1000,
        "String": 1000,
    }
    assert len({row["tag_path"] for row in oracle.rows}) == 10_000
    (batch,) = fleet.batches(10, 1)
    assert len(batch) == 1000
    assert [batch] == fleet.batches(10, 1)
