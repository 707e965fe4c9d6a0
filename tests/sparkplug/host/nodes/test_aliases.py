"""Alias tables: dense ones are regions of one array, scattered ones are dictionaries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.nodes.aliases import AliasPool, AliasTable


def aliases(*numbers):
    return np.array(numbers, dtype=np.uint64)


def tags(*numbers):
    return np.array(numbers, dtype=np.int32)


def found(table, *numbers):
    return table.get(aliases(*numbers)).tolist()


def table_of(pairs, pool=None):
    table = AliasTable(pool or AliasPool())
    table.update(aliases(*pairs), tags(*pairs.values()))
    return table


def test_an_empty_table_knows_nothing():
    assert found(AliasTable(AliasPool()), 0, 1, 2**64 - 1) == [NO_TAG] * 3


@pytest.mark.parametrize("pairs", [{0: 10, 1: 11, 5: 12}, {0: 10, 2**63: 11, 2**64 - 1: 12}])
def test_what_was_added_is_found_and_nothing_else(pairs):
    table = table_of(pairs)
    assert found(table, *pairs) == list(pairs.values())
    assert found(table, 3, 6, 4095, 2**62) == [NO_TAG] * 4


def test_tables_do_not_see_their_neighbours_in_the_pool():
    pool = AliasPool()
    tables = [table_of({alias: 100 * n + alias for alias in range(3)}, pool) for n in range(50)]
    assert found(tables[7], 0, 2, 3, 4) == [700, 702, NO_TAG, NO_TAG]
    assert found(tables[49], 0, 2, 3, 4) == [4900, 4902, NO_TAG, NO_TAG]


@pytest.mark.parametrize("start", [0, 2**40])
def test_the_last_of_equal_aliases_holds(start):
    table = AliasTable(AliasPool())
    table.update(aliases(start + 1, start + 1), tags(5, 6))
    assert found(table, start + 1) == [6]
    table.update(aliases(start + 1), tags(7))
    assert found(table, start + 1) == [7]


@pytest.mark.parametrize("start", [0, 2**40])
def test_an_alias_is_removed_only_from_the_tag_it_stands_for(start):
    table = table_of({start: 5, start + 1: 6})
    table.remove(aliases(start, start + 1), tags(5, 99))
    assert found(table, start, start + 1) == [NO_TAG, 6]


@pytest.mark.parametrize("start", [0, 2**40])
def test_a_cleared_table_is_empty_and_may_be_filled_again(start):
    table = table_of({start: 5, start + 3: 6})
    table.clear()
    assert found(table, start, start + 3) == [NO_TAG] * 2
    table.update(aliases(start), tags(7))
    assert found(table, start, start + 3) == [7, NO_TAG]


def test_a_dense_table_that_becomes_scattered_keeps_what_it_knew():
    table = table_of({0: 5, 9: 6})
    assert table.scattered is None
    table.update(aliases(2**50), tags(7))
    assert table.scattered is not None
    assert found(table, 0, 9, 2**50) == [5, 6, 7]


def test_a_scattered_table_may_be_dense_again_after_a_birth():
    table = table_of({2**50: 5})
    table.clear()
    table.update(aliases(0, 1), tags(5, 6))
    assert table.scattered is None
    assert found(table, 0, 1, 2**50) == [5, 6, NO_TAG]


@pytest.mark.parametrize("largest", [5_000, 2**31, 2**63])
def test_one_large_alias_costs_no_array_of_its_size(largest):
    pool = AliasPool()
    table = table_of({largest: 1}, pool)
    assert found(table, largest) == [1]
    assert len(pool.tags) == 65_536
    assert table.size == 0


def test_aliases_with_small_holes_stay_in_the_array():
    table = table_of({alias: alias for alias in range(0, 16_000, 16)})
    assert table.scattered is None
    assert found(table, 15_984, 15_985) == [15_984, NO_TAG]


def test_compaction_moves_tables_and_keeps_what_they_know():
    pool = AliasPool()
    tables = [table_of({0: n}, pool) for n in range(20)]
    size = 1
    while not pool.wasteful:
        size += 4000
        for n, table in enumerate(tables):
            table.update(aliases(*range(size)), np.full(size, n, dtype=np.int32))
    scattered = table_of({2**40: 77}, pool)
    before = len(pool.tags)
    pool.compact()
    assert not pool.wasteful
    assert len(pool.tags) < before
    for n, table in enumerate(tables):
        assert found(table, 0, size - 1, 2**40) == [n, n, NO_TAG]
    assert found(scattered, 2**40, 0) == [77, NO_TAG]


def test_the_room_of_tables_that_became_scattered_is_used_again():
    pool = AliasPool()
    for _ in range(100):
        table = table_of({alias: alias for alias in range(0, 4000, 2)}, pool)
        table.update(aliases(2**50), tags(7))
        if pool.wasteful:
            pool.compact()
    assert len(pool.tags) <= 4 * 65_536


def test_a_pool_after_compaction_takes_new_tables():
    pool = AliasPool()
    first = table_of({0: 1, 1: 2}, pool)
    pool.compact()
    second = table_of({0: 3}, pool)
    first.update(aliases(9), tags(4))
    assert found(first, 0, 1, 9) == [1, 2, 4]
    assert found(second, 0, 1, 9) == [3, NO_TAG, NO_TAG]


def test_renaming_reaches_dense_and_scattered_tables():
    pool = AliasPool()
    dense, scattered = table_of({0: 1, 1: 2}, pool), table_of({2**40: 3, 0: 1}, pool)
    pool.rename(tags(NO_TAG, 8, NO_TAG, 9, NO_TAG))  # old ids 0 to 3, and NO_TAG itself
    assert found(dense, 0, 1, 2) == [8, NO_TAG, NO_TAG]
    assert found(scattered, 0, 2**40, 1) == [8, 9, NO_TAG]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["update", "update", "update", "remove", "clear", "compact"]),
        st.lists(
            st.tuples(
                st.one_of(st.integers(0, 40), st.integers(0, 9000), st.integers(0, 2**64 - 1)),
                st.integers(0, 1000),
            ),
            max_size=8,
        ),
    ),
    max_size=15,
)


@given(STEPS)
def test_any_history_of_tables_is_that_of_dictionaries(steps):
    pool = AliasPool()
    tables = [AliasTable(pool) for _ in range(3)]
    plain = [{} for _ in range(3)]
    for which, what, pairs in steps:
        table, model = tables[which], plain[which]
        numbers = aliases(*(alias for alias, _ in pairs)), tags(*(tag for _, tag in pairs))
        if what == "update":
            table.update(*numbers)
            model.update(pairs)
        elif what == "remove":
            table.remove(*numbers)
            for alias, tag in pairs:
                if model.get(alias) == tag:
                    del model[alias]
        elif what == "clear":
            table.clear()
            model.clear()
        else:
            pool.compact()
    every = {alias for _, _, pairs in steps for alias, _ in pairs} | {0, 41, 2**63}
    for table, model in zip(tables, plain, strict=True):
        assert found(table, *every) == [model.get(alias, NO_TAG) for alias in every]
