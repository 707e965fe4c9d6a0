"""Data sets as JSON, and single scalars in them against the columns' reading of scalars."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.value_rows import read

from sparkplug.datatypes import READING, DataType, Reading
from sparkplug.payload.complex.datasets import dataset_text
from sparkplug.payload.complex.json_values import MISFIT, scalar
from sparkplug.pb.sparkplug_b_pb2 import DataSet, Metric


def encoded(types, *rows, columns=None):
    """An encoded data set; elements are given as the fields that carry them."""
    dataset = DataSet(num_of_columns=len(types), types=types)
    dataset.columns.extend(columns or [f"c{number}" for number, _ in enumerate(types)])
    for row in rows:
        added = dataset.rows.add()
        for element in row:
            added.elements.add(**element)
    return dataset.SerializeToString()


def rows(types, *wire):
    return json.loads(dataset_text(encoded(types, *wire)))["rows"]


def column(data_type, *wire):
    """The elements of a data set with one column."""
    return [row[0] for row in rows([data_type], *([element] for element in wire))]


def test_columns_types_and_rows():
    raw = encoded(
        [DataType.Int32, DataType.Double, DataType.String, DataType.Boolean],
        [{"int_value": 1}, {"double_value": 2.5}, {"string_value": "né"}, {"boolean_value": True}],
        [{"int_value": 0}, {"double_value": 0.0}, {"string_value": ""}, {"boolean_value": False}],
        columns=["a", "b", "c", "d"],
    )
    assert dataset_text(raw) == (
        '{"columns":["a","b","c","d"],"types":["Int32","Double","String","Boolean"],'
        '"rows":[[1,2.5,"né",true],[0,0.0,"",false]]}'
    )


def test_a_data_set_without_rows_or_columns():
    assert dataset_text(b"") == '{"columns":[],"types":[],"rows":[]}'
    assert dataset_text(encoded([DataType.Int8])) == '{"columns":["c0"],"types":["Int8"],"rows":[]}'


# Elements by the type of their column


def test_negative_numbers_in_both_encodings():
    both = [{"int_value": 233}, {"int_value": 4294967273}, {"long_value": 2**64 - 23}]
    assert column(DataType.Int8, *both) == [-23] * 3
    assert column(DataType.Int16, {"int_value": 35536}, {"int_value": 4294937296}) == [-30000] * 2
    assert column(DataType.Int32, {"int_value": 2**32 - 1}, {"long_value": 2**64 - 1}) == [-1, -1]
    assert column(DataType.Int64, {"long_value": 2**63}) == [-(2**63)]


def test_unsigned_numbers_in_either_field():
    either = [{"int_value": 4294967295}, {"long_value": 4294967295}]
    assert column(DataType.UInt32, *either) == [4294967295] * 2
    assert column(DataType.UInt64, {"long_value": 2**64 - 1}) == [2**64 - 1]


def test_times_are_text():
    moments = [{"long_value": 1_795_443_214_123}, {"long_value": 2**64 - 1}, {"long_value": 2**62}]
    assert column(DataType.DateTime, *moments) == [
        "2026-11-23T14:13:34.123Z",
        "1969-12-31T23:59:59.999Z",
        None,
    ]


def test_nan_and_infinities_are_text():
    wire = [{"double_value": value} for value in (math.nan, math.inf, -math.inf)]
    assert column(DataType.Double, *wire) == ["NaN", "Infinity", "-Infinity"]


def test_a_float_has_its_shortest_digits():
    assert column(DataType.Float, {"float_value": 0.1}, {"double_value": 0.1}) == [0.1, 0.1]


def test_an_element_without_value_is_null():
    assert column(DataType.Int32, {}, {"int_value": 0}) == [None, 0]


def test_the_text_null_is_a_text():
    assert column(DataType.String, {"string_value": "null"}) == ["null"]


@pytest.mark.parametrize(
    ("data_type", "element"),
    [
        (DataType.Int8, {"int_value": 300}),
        (DataType.Int32, {"string_value": "1"}),
        (DataType.String, {"int_value": 1}),
        (DataType.Boolean, {"int_value": 2}),
        (DataType.Double, {"boolean_value": True}),
        (DataType.DateTime, {"double_value": 1.0}),
        (DataType.Int32Array, {"int_value": 1}),
        (DataType.Int32, {"extension_value": {}}),
    ],
)
def test_an_element_that_does_not_fit_its_column_is_null(data_type, element):
    assert column(data_type, element) == [None]


def test_a_column_of_unknown_type_is_read_as_found():
    wire = [{"int_value": 7}, {"string_value": "x"}, {"boolean_value": True}, {"float_value": 0.1}]
    assert column(99, *wire) == [7, "x", True, 0.1]
    assert json.loads(dataset_text(encoded([99])))["types"] == ["Unknown"]


# Data sets that cannot be read


def test_types_that_are_not_as_many_as_columns():
    assert dataset_text(encoded([DataType.Int8], columns=["a", "b"])) is None
    assert dataset_text(encoded([DataType.Int8, DataType.Int8], columns=["a"])) is None


@pytest.mark.parametrize("elements", [0, 1, 3])
def test_a_row_that_is_not_as_long_as_the_others(elements):
    whole, other = [{"int_value": 1}] * 2, [{"int_value": 1}] * elements
    assert dataset_text(encoded([DataType.Int8] * 2, whole, other)) is None


def test_a_wrong_number_of_columns_beside_right_ones_does_no_harm():
    dataset = DataSet.FromString(encoded([DataType.Int8], [{"int_value": 1}]))
    dataset.num_of_columns = 7
    assert json.loads(dataset_text(dataset.SerializeToString()))["rows"] == [[1]]


def test_bytes_that_are_no_data_set():
    assert dataset_text(b"\xff\xff") is None


def test_a_name_that_is_not_utf_8_and_an_element_that_is_not():
    raw = encoded([DataType.String], [{"string_value": "abc"}], columns=["col"])
    assert dataset_text(raw.replace(b"col", b"\xff\xfe\xfd")) is None
    assert json.loads(dataset_text(raw.replace(b"abc", b"\xff\xfe\xfd")))["rows"] == [[None]]


def test_bytes_and_elements_are_limited():
    raw = encoded([DataType.Int8] * 3, *([[{"int_value": 1}] * 3] * 4))
    assert dataset_text(raw, max_bytes=len(raw), max_cells=12) is not None
    assert dataset_text(raw, max_bytes=len(raw) - 1) is None
    assert dataset_text(raw, max_cells=11) is None
    assert dataset_text(DataSet(rows=[{}] * 12).SerializeToString(), max_cells=11) is None


@given(st.binary())
@example(b"\x22\x00" * 1000)
def test_any_bytes_give_a_json_object_or_none(raw):
    text = dataset_text(raw)
    if text is not None:
        found = json.loads(text, parse_constant=pytest.fail)
        assert {len(row) for row in found["rows"]} <= {len(found["columns"])}


ELEMENTS = st.one_of(
    st.fixed_dictionaries({"int_value": st.integers(0, 2**32 - 1)}),
    st.fixed_dictionaries({"long_value": st.integers(0, 2**64 - 1)}),
    st.fixed_dictionaries({"float_value": st.floats(width=32)}),
    st.fixed_dictionaries({"double_value": st.floats()}),
    st.fixed_dictionaries({"boolean_value": st.booleans()}),
    st.fixed_dictionaries({"string_value": st.text(st.characters(codec="utf-8"))}),
    st.just({}),
)


@given(st.lists(st.integers(0, 40), max_size=5), st.data())
def test_any_data_set_gives_valid_json_with_all_its_rows(types, data):
    table = data.draw(st.lists(st.lists(ELEMENTS, min_size=len(types), max_size=len(types))))
    found = json.loads(dataset_text(encoded(types, *table)), parse_constant=pytest.fail)
    assert len(found["rows"]) == len(table)


# One scalar, two readers: here and in columns

SCALARS = [d for d in DataType if READING[d] is not Reading.COMPLEX]


@given(st.sampled_from(SCALARS), ELEMENTS.filter(bool))
def test_a_scalar_is_what_the_columns_say(data_type, fields):
    (field,) = fields
    found = scalar(data_type, field, getattr(Metric(**fields), field))
    row = read(data_type, fields).rows[0]
    if found is MISFIT:
        assert row["quality"] == "BAD"
        return
    assert row["quality"] == "GOOD"
    if isinstance(found, bool):
        assert row["boolean_value"] is found
    elif isinstance(found, str):
        assert row["string_value"] == found
    elif isinstance(found, int):
        assert found in (row["integer_value"], int(row["string_value"] or 0))
    elif isinstance(found, float):
        assert row["numeric_value"] == pytest.approx(found, rel=1e-6, abs=1e-44)
    else:  # a time beyond the years that can be written
        assert data_type is DataType.DateTime
        assert row["string_value"] is None
