"""Generated tests that fail, or write down what they are given; `test_suite.py` runs them."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st
from support.generated import examples, seeds


@examples(20, phases=[Phase.generate])  # what failed is told as it was drawn
@given(st.lists(st.integers(0, 2**40), min_size=3, max_size=5))
def test_that_numbers_are_small(numbers):
    assert max(numbers) < 2**20


class TestSeeds:
    @pytest.mark.parametrize("seed", seeds(1))
    def test_that_a_seed_is_zero(self, seed):
        assert seed == 0


@examples(10)
@given(st.data())
def test_that_writes_its_cases(data):
    from oracle.strategies import fleets  # noqa: PLC0415 - the other tests do not wait for it

    kinds = fleets(max_batches=2, max_messages=5), st.text(), st.floats(), st.integers()
    case = [data.draw(each) for each in kinds]
    with Path(os.environ["CASES"]).open("a", encoding="utf-8") as file:
        file.write(f"{case!r}\n")
