"""The columnar decoder and the row-by-row oracle read every batch alike."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from oracle.comparison import REORDER_TIMEOUT, assert_read_alike
from oracle.features import ALL_FEATURES, WELL_MEANT
from oracle.strategies import fleets, random_fleet, some_of


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_every_generated_fleet_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(fleets(WELL_MEANT, max_batches=12, max_messages=12))
def test_every_fleet_with_trouble_on_the_way_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@pytest.mark.parametrize("seed", range(8))
def test_thousands_of_hostile_messages_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(random_fleet(seed, batches=8, messages=100), seed % 2 * REORDER_TIMEOUT)


@pytest.mark.parametrize("seed", range(70))
def test_trouble_on_the_way_is_read_as_the_oracle_reads_it(seed):
    features = some_of(WELL_MEANT if seed % 3 else ALL_FEATURES, seed)
    batches = random_fleet(seed, batches=16, messages=8, features=features)
    assert_read_alike(batches, seed % 10 and REORDER_TIMEOUT)


@pytest.mark.parametrize("seed", range(4))
def test_births_that_are_sent_twice_are_read_as_the_oracle_reads_them(seed):
    batches = random_fleet(seed, batches=4, messages=120)
    assert_read_alike(
        [[each for a in batch for each in [a] * (1 + ("BIRTH/" in a.topic))] for batch in batches]
    )
