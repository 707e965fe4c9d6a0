"""A burst of births, as after a power cut, stays within the memory that the project promises.

What it costs in CPU time is measured by `make bench`.
"""

import burst


def test_the_births_of_a_large_site_take_no_more_memory_than_promised():
    cost = burst.measure(properties=True)
    assert cost.rows == burst.NODES * burst.METRICS_PER_NODE
    assert cost.memory_bytes <= burst.MOST_MEMORY_BYTES
