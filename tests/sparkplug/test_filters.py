"""What filters show of an edge node, beside a naive matcher of topics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.filters import seen

from sparkplug.filters import COUNTED_TYPES, sight_of

LEVELS = st.sampled_from(
    ["spBv1.0", "G", "H", "n", "m", "d1", "d2", "+", "STATE", "", *map(str, COUNTED_TYPES)]
)


def likely(position):
    """Levels that make sense in a place, most of the time."""
    kinds = st.sampled_from([*map(str, COUNTED_TYPES)])
    devices = st.sampled_from(["d1", "d2"])
    sensible = [st.just("spBv1.0"), st.just("G"), kinds, st.just("n"), devices]
    return st.one_of(sensible[position], st.just("+"), LEVELS)


@st.composite
def filters(draw):
    size = draw(st.integers(1, 6))
    levels = [draw(likely(position) if position < 5 else LEVELS) for position in range(size)]
    if draw(st.booleans()):
        levels.append("#")
    shared = draw(st.sampled_from(["", "", "", "$share/group/", "$queue/"]))
    return shared + "/".join(levels)


@given(st.lists(filters(), max_size=4))
def test_a_node_is_seen_as_far_as_its_topics_match(subscribed):
    whole, some = seen(subscribed, "G", "n")
    sight = sight_of(subscribed, "G", "n")
    assert set(sight.unseen) == set(COUNTED_TYPES) - whole
    assert sight.whole == (whole == set(COUNTED_TYPES))
    assert sight.anything == bool(some)
    assert sight.node_births == ("NBIRTH" in some)
    assert sight.device_births == ("DBIRTH" in some)


@pytest.mark.parametrize(
    "subscribed",
    [
        ["spBv1.0/#"],
        ["#"],
        ["+/G/#"],
        ["spBv1.0/+/+/+/#"],
        ["spBv1.0/+/+/+", "spBv1.0/+/+/+/+"],
        ["spBv1.0/G/+/n/#"],
        ["spBv1.0/G/#", "$share/x/spBv1.0/#"],
        [f"spBv1.0/+/{kind}/#" for kind in COUNTED_TYPES],
    ],
)
def test_seen_whole(subscribed):
    assert sight_of(subscribed, "G", "n").whole


@pytest.mark.parametrize(
    ("subscribed", "unseen", "births"),
    [
        (["spBv1.0/G/+/n/d1"], COUNTED_TYPES, (False, True)),
        (["spBv1.0/G/+/n"], ("DBIRTH", "DDEATH", "DDATA"), (True, False)),
        (["spBv1.0/G/+/n/+"], ("NBIRTH", "NDEATH", "NDATA"), (False, True)),
        (["$share/x/spBv1.0/#"], COUNTED_TYPES, (True, True)),
        (["$queue/spBv1.0/#"], COUNTED_TYPES, (True, True)),
        (["spBv1.0/+/NDATA/#", "spBv1.0/+/DDATA/#"], None, (False, False)),
        ([f"spBv1.0/+/{kind}/#" for kind in COUNTED_TYPES if kind != "NDEATH"], ("NDEATH",), None),
    ],
)
def test_seen_in_part(subscribed, unseen, births):
    sight = sight_of(subscribed, "G", "n")
    assert sight.anything
    assert not sight.whole
    if unseen is not None:
        assert sight.unseen == unseen
    if births is not None:
        assert (sight.node_births, sight.device_births) == births


@pytest.mark.parametrize(
    "subscribed", [[], ["spBv1.0/H/#"], ["spbv1.0/#"], ["spBv1.0/G"], ["spBv1.0/STATE/+"], ["G/#"]]
)
def test_not_seen(subscribed):
    assert not sight_of(subscribed, "G", "n").anything
