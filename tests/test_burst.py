"""A burst of births, as after a power cut, stays within what the project promises."""

import burst
import pytest


@pytest.mark.parametrize("one_by_one", [False, True], ids=["full batches", "one by one"])
def test_the_births_of_a_large_site_cost_no_more_than_promised(one_by_one):
    cost = burst.measure(properties=True, one_by_one=one_by_one)
    assert cost.rows == burst.NODES * burst.METRICS_PER_NODE
    assert cost.memory_bytes <= burst.MOST_MEMORY_BYTES
    assert cost.cpu_seconds <= burst.MOST_CPU_SECONDS
