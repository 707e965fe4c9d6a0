"""Templates, as gateways publish UDTs they do not convert, give the rows of converted ones."""

import random

import pytest
from columnar import Columnar
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.templates import TemplateOracle
from template_world import TemplateWorld

from sparkplug.messages import Message


# The oracle, which takes templates apart one by one


def cut(arrivals, rng):
    """Batches of messages."""
    while arrivals:
        count = rng.choice((1, 2, 5, 50))
        yield [Message(a.topic, a.payload, a.received_at_us) for a in arrivals[:count]]
        arrivals = arrivals[count:]


def in_any_order(rows):
    """Rows of deaths all say the same at once; numbers follow the order."""
    return [
        {**{name: repr(row[name]) for name in row}, "arrival_number": ""}
        for row in sorted(
            rows,
            key=lambda row: (
                row["ingestion_timestamp"],
                row["arrival_number"] if "DEATH" not in row["message_type"] else 0,
                row["tag_path"],
                row["data_type"],
            ),
        )
    ]


def assert_read_alike(seed, count):
    arrivals = TemplateWorld(seed).messages(count)
    oracle, seen = TemplateOracle(), Columnar()
    oracle.feed(arrivals)
    for batch in cut(arrivals, random.Random(seed)):
        seen.feed(*batch)
    ours, theirs = in_any_order(seen.rows), in_any_order(oracle.rows)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, index
    assert len(ours) == len(theirs)
    assert seen.counts == oracle.counts
    assert seen.repeated == oracle.repeated
    assert set(seen.rebirths) == set(oracle.rebirth_requests)


@settings(max_examples=100)
@given(st.integers(0, 2**32))
def test_templates_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(seed, 30)


@pytest.mark.parametrize("seed", range(10))
def test_many_templates_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(seed, 400)
