"""Nodes that the filters show in part are read as the oracle reads them."""

from __future__ import annotations

import pytest
from support.generated import seeds

from oracle.comparison import REORDER_TIMEOUT, assert_read_alike
from oracle.features import ALL_FEATURES, WELL_MEANT
from oracle.filters import matches, split_shared
from oracle.network import Batch
from oracle.strategies import random_fleet, some_of

FILTERS = (
    ("spBv1.0/Plant A/+/+", "spBv1.0/Plant A/+/+/PLC 1"),
    ("spBv1.0/+/NBIRTH/+", "spBv1.0/+/NDATA/+", "spBv1.0/+/NDEATH/+"),
    ("spBv1.0/+/+/+", "spBv1.0/+/+/+/Boiler"),
    ("spBv1.0/Plant A/#", "spBv1.0/+/+/+/Boiler"),
    ("spBv1.0/+/NDATA/#", "spBv1.0/+/DDATA/#", "spBv1.0/+/DBIRTH/#"),
    ("$share/group/spBv1.0/#",),
    ("$share/group/spBv1.0/#", "spBv1.0/Plant A/#"),
)


@pytest.mark.parametrize("seed", seeds(14))
def test_what_narrow_filters_show_is_read_as_the_oracle_reads_it(seed):
    filters = FILTERS[seed % len(FILTERS)]
    features = some_of(WELL_MEANT if seed % 3 else ALL_FEATURES, seed)
    batches = random_fleet(seed, batches=16, messages=10, features=features)
    shown = [
        Batch([each for each in batch if shows(filters, each, seed)], batch.now, batch.before)
        for batch in batches
    ]
    assert sum(map(len, shown)) > 1
    assert_read_alike(shown, REORDER_TIMEOUT, filters)


def shows(filters, arrival, seed):
    """Whether a message is delivered; a shared subscription gets about half."""
    split = [split_shared(each) for each in filters]
    shared = [is_shared for is_shared, each in split if matches(each, arrival.topic)]
    return bool(shared) and (False in shared or (arrival.received_at_us + seed) % 2 == 0)
