"""The columnar decoder and the row-by-row oracle read every batch alike."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from support.generated import examples, seeds

from oracle.arrivals import Arrival
from oracle.comparison import REORDER_TIMEOUT, Columnar, assert_read_alike
from oracle.features import ALL_FEATURES, WELL_MEANT
from oracle.messages import ARRIVED, arrival, metric, payload
from oracle.network import Batch
from oracle.strategies import fleets, random_fleet, some_of

TAG = metric("Ramp", 10, alias=0, double_value=1.0)
CHANGE = metric(alias=0, double_value=2.0)


@examples(40, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_every_generated_fleet_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@examples(30, suppress_health_check=list(HealthCheck))
@given(fleets(WELL_MEANT, max_batches=12, max_messages=12))
def test_every_fleet_with_trouble_on_the_way_is_read_as_the_oracle_reads_it(batches):
    assert_read_alike(batches)


@pytest.mark.parametrize("seed", seeds(8))
def test_thousands_of_hostile_messages_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(random_fleet(seed, batches=8, messages=100), seed % 2 * REORDER_TIMEOUT)


@pytest.mark.parametrize("seed", seeds(28))
def test_trouble_on_the_way_is_read_as_the_oracle_reads_it(seed):
    features = some_of(WELL_MEANT if seed % 3 else ALL_FEATURES, seed)
    batches = random_fleet(seed, batches=16, messages=8, features=features)
    assert_read_alike(batches, seed % 10 and REORDER_TIMEOUT)


@pytest.mark.parametrize("seed", seeds(2))
def test_births_that_are_sent_twice_are_read_as_the_oracle_reads_them(seed):
    batches = random_fleet(seed, batches=4, messages=120)
    assert_read_alike(
        [[each for a in batch for each in [a] * (1 + ("BIRTH/" in a.topic))] for batch in batches]
    )


def test_an_alias_of_several_devices_is_the_last_born_ones_also_when_another_dies():
    def device(verb, name, *metrics, seq):
        topic = f"spBv1.0/Plant A/{verb}/Edge 1/{name}"
        return Arrival(topic, payload(*metrics, seq=seq), ARRIVED)

    births = [
        device("DBIRTH", name, {**TAG, "name": name}, seq=seq)
        for seq, name in enumerate(("A", "B", "C", "A"), 1)
    ]
    died, changed = device("DDEATH", "C", seq=5), arrival("NDATA", CHANGE, seq=6)
    assert_read_alike([[arrival("NBIRTH"), *births], [died, changed]])


# Found by random exploration

RESTART = (("restart", 0.0),)


@pytest.mark.parametrize(
    "early",
    [
        [arrival("NBIRTH", metric("", 10, double_value=1.0)), arrival("NDATA", CHANGE, seq=1)],
        [arrival("NDATA", CHANGE, seq=1)],
        [arrival("DBIRTH", TAG, seq=1), arrival("DDATA", CHANGE, seq=2)],
        [arrival("DDEATH", seq=1)],
    ],
    ids=["nameless birth and data", "data", "device", "death of a device"],
)
def test_what_came_before_a_restart_and_the_first_birth_counts_as_received(early):
    late = [arrival("NDATA", CHANGE, seq=2), arrival("NBIRTH", TAG, seq=250)]
    batches = [Batch(early), Batch(late, before=RESTART)]
    assert_read_alike(batches)
    assert received(batches) == {("Plant A", "Edge 1"): len(early) + 2}


def test_a_second_absence_before_a_birth_that_cannot_be_read_is_a_gap_also_after_a_restart():
    lost = (("connection_lost", 0.0),)
    bad = Arrival("spBv1.0/Plant A/NBIRTH/Edge 1", b"{", ARRIVED)
    assert_read_alike(
        [
            Batch([arrival("NBIRTH", TAG)]),
            Batch([arrival("NDATA", CHANGE, seq=9)], before=lost),
            Batch([bad], before=lost),
            Batch([arrival("NBIRTH", TAG)], before=RESTART),
        ]
    )


def received(batches):
    """How many messages of each node the fleet counts, restarts included."""
    columnar = Columnar("local", REORDER_TIMEOUT)
    for batch in batches:
        for what, when in batch.before:
            getattr(columnar, what)(when)
        columnar.feed(batch.arrivals, batch.now)
    columnar.take_received(leaving=True)
    return columnar.received
