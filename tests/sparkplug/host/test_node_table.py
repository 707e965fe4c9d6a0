"""Tables of typed columns that grow with the plant."""

from dataclasses import fields

import numpy as np
import pytest

from sparkplug.host.node_table import NodeTable, TopicTable

ROWS = 1_000


def columns_of(table):
    found = {each.name: getattr(table, each.name) for each in fields(table)}
    return {name: each for name, each in found.items() if isinstance(each, np.ndarray)}


@pytest.mark.parametrize("make", [NodeTable, TopicTable])
def test_what_was_written_stays_however_long_a_table_grows(make):
    table = make()
    for number in range(ROWS):
        assert table.append() == number
        for column in columns_of(table).values():
            assert not column[number]
            column[number] = number % 2
    assert table.size == ROWS
    for name, column in columns_of(table).items():
        assert column[:ROWS].tolist() == [number % 2 for number in range(ROWS)], name
        assert not column[ROWS:].any(), name


@pytest.mark.parametrize("make", [NodeTable, TopicTable])
def test_a_column_has_the_type_that_it_is_declared_with(make):
    table = make()
    declared = {name: str(make.__annotations__[name]) for name in columns_of(table)}
    for _ in range(ROWS):
        table.append()
    for name, column in columns_of(table).items():
        assert declared[name] == f"NDArray[np.{column.dtype.name.replace('bool', 'bool_')}]"


def test_a_table_has_no_columns_but_those_declared():
    with pytest.raises(AttributeError):
        NodeTable().next_sequence = np.zeros(1)


def test_two_tables_share_nothing():
    one, other = NodeTable(), NodeTable()
    one.requests[one.append()] = 3
    assert other.size == 0
    assert not other.requests.any()
