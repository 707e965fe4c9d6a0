"""A refused record leaves its reason in the log when the search for it begins."""

from types import SimpleNamespace

import pytest

from consumer.delivery import DeliveryStats
from consumer.delivery.refusals import Refusals
from consumer.errors import FailureKind, SinkFailure


@pytest.fixture
def said():
    return []


@pytest.fixture
def refusals(said):
    health = SimpleNamespace(
        searching=lambda: None, warn=lambda key, text, *values: said.append((key, text % values))
    )
    return Refusals(None, None, health, None, DeliveryStats(), lone_refusal=1.0, clock=lambda: 0.0)


def refused(refusals, rows):
    failure = SinkFailure(FailureKind.POISON, "Invalid argument: odd")
    assert refusals.refused(failure, [SimpleNamespace(rows=rows)], "schema") is None


def test_a_search_says_once_why_it_began(refusals, said):
    refused(refusals, 100)
    refused(refusals, 50)
    assert said == [("search", "a record is refused, and searched: Invalid argument: odd")]


def test_it_says_so_too_when_rows_were_looked_at_closely_for_another_reason(refusals, said):
    refusals.search.look_closely(100)  # a stream ended and did not say why
    refused(refusals, 100)
    assert [key for key, _ in said] == ["search"]


def test_a_search_after_another_one_says_why_it_began_again(refusals, said):
    refused(refusals, 100)
    refusals.search.passed(100)
    refused(refusals, 100)
    assert len(said) == 2
