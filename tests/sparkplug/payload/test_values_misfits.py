"""Values that break the rules: docs/decoding.md, "The value", below the table."""

import math

import pytest
from support.columnar import Columnar
from support.value_rows import COLUMNS, misfits, read, remarks, values

from sparkplug.datatypes import READING, DataType, Reading
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload

SCALARS = [code for code in DataType if 1 <= code <= 15]
EPOCH = "1970-01-01T00:00:00.000Z"
HUGE = str(2**63)
INF = math.inf

# Values that do not fit


WRONG = {
    "int_value": (7, "7"),
    "long_value": (2**40, "1099511627776"),
    "float_value": (0.1, "0.1"),
    "double_value": (1e300, "1e+300"),
    "boolean_value": (True, "true"),
    "string_value": ("21.5", "21.5"),
    "bytes_value": (b"\x01", None),
    "dataset_value": (b"", None),
    "template_value": (b"", None),
    "extension_value": (b"", None),
}
NUMERIC = {"int_value", "long_value", "float_value", "double_value"}
ACCEPTED = {
    Reading.SIGNED: {"int_value", "long_value"},
    Reading.UNSIGNED: {"int_value", "long_value"},
    Reading.FLOATING: NUMERIC,
    Reading.BOOLEAN: {"boolean_value"},  # and 0 and 1 as integers
    Reading.TEXT: {"string_value"},
    Reading.MILLISECONDS: {"int_value", "long_value"},
}


@pytest.mark.parametrize("datatype", SCALARS, ids=lambda code: code.name)
def test_a_member_that_is_none_of_the_datatypes_lands_as_text_with_bad_quality(datatype):
    wrong = [name for name in WRONG if name not in ACCEPTED[READING[datatype]]]
    found = misfits(datatype, *({name: WRONG[name][0]} for name in wrong))
    assert found == [WRONG[name][1] for name in wrong]


def test_floats_that_do_not_fit_are_shown_in_their_shortest_form():
    wire = [
        *({"float_value": n} for n in (0.1, -103.217316, 1e-45, 16777216.0, math.nan)),
        *({"double_value": n} for n in (0.1, 1e16, 1e-7, -0.0, math.inf, -math.inf)),
    ]
    assert misfits(DataType.String, *wire) == [
        *("0.1", "-103.217316", "1e-45", "16777216.0", "NaN"),
        *("0.1", "1e+16", "1e-07", "-0.0", "Infinity", "-Infinity"),
    ]


def test_a_misfit_costs_only_its_own_row():
    seen = read(
        DataType.Int8,
        {"int_value": 1},
        {"int_value": 300},
        {"string_value": "x"},
        {"int_value": 255},
    )
    assert [row["integer_value"] for row in seen.rows] == [1, None, None, -1]
    assert [row["quality"] for row in seen.rows] == ["GOOD", "BAD", "BAD", "GOOD"]


# Several members at once, which no valid payload has


@pytest.mark.parametrize(
    ("datatype", "wire", "expected"),
    [
        (DataType.Double, {"int_value": 1, "double_value": 2.0}, (1.0, None, None, None)),
        (DataType.Double, {"long_value": 3, "float_value": 2.0}, (3.0, None, None, None)),
        (DataType.Double, {"float_value": 2.0, "double_value": 3.0}, (2.0, None, None, None)),
        (DataType.Double, {"double_value": 3.0, "string_value": "x"}, (3.0, None, None, None)),
        (DataType.Int32, {"int_value": 1, "long_value": 2}, (1.0, 1, None, None)),
        (DataType.Int8, {"int_value": 300, "long_value": 5}, (5.0, 5, None, None)),
        (DataType.Int8, {"long_value": 5, "double_value": 2.0}, (5.0, 5, None, None)),
        (DataType.String, {"int_value": 1, "string_value": "x"}, (None, None, "x", None)),
        (DataType.Boolean, {"int_value": 2, "boolean_value": True}, (None, None, None, True)),
        (DataType.Boolean, {"int_value": 0, "boolean_value": True}, (None, None, None, False)),
        (DataType.UInt64, {"long_value": 2**63, "bytes_value": b""}, (2.0**63, None, HUGE, None)),
        (DataType.DateTime, {"long_value": 0, "double_value": 1.0}, (None, 0, EPOCH, None)),
        (
            DataType.Double,
            {"float_value": INF, "double_value": 3.0},
            (None, None, "Infinity", None),
        ),
    ],
)
def test_of_several_members_the_first_accepted_one_counts(datatype, wire, expected):
    assert values(datatype, wire) == [expected]


def test_several_members_none_of_which_fits_land_as_the_first_of_them():
    assert misfits(DataType.Boolean, {"long_value": 7, "string_value": "x"}) == ["7"]


def test_rows_with_several_members_leave_their_neighbours():
    found = values(
        DataType.Int16,
        {"int_value": 1},
        {"int_value": 70_000, "long_value": 2, "string_value": "x"},
        {"int_value": 3},
    )
    assert found == [(1.0, 1, None, None), (2.0, 2, None, None), (3.0, 3, None, None)]


# Datatypes that are not known


@pytest.mark.parametrize("code", [0, 99])
def test_without_a_known_datatype_the_value_is_what_is_there(code):
    assert values(
        code,
        {"int_value": 2**32 - 1},
        {"long_value": 2**64 - 1},
        {"float_value": 1.5},
        {"double_value": 0.1},
        {"boolean_value": False},
        {"string_value": "x"},
    ) == [
        (4294967295.0, 2**32 - 1, None, None),
        (2.0**64, None, "18446744073709551615", None),
        (1.5, None, None, None),
        (0.1, None, None, None),
        (None, None, None, False),
        (None, None, "x", None),
    ]


@pytest.mark.parametrize("code", [0, 35, 99, 2**32 - 1])
def test_an_unknown_datatype_is_counted_and_named_so(code):
    birth = Payload(seq=0)
    birth.metrics.add(name="T", datatype=code, int_value=1)
    seen = Columnar()
    (row,) = seen.feed(Message("spBv1.0/G/NBIRTH/E", birth.SerializeToString(), 0))
    assert row["data_type"] == "Unknown"
    assert seen.counts == {"unknown_datatype": 1}


@pytest.mark.parametrize("code", [0, 99])
def test_bytes_of_an_unknown_datatype_do_not_fit(code):
    assert misfits(code, {"bytes_value": b"x"}) == [None]


# Null


@pytest.mark.parametrize("datatype", [*SCALARS, DataType.Unknown], ids=lambda code: code.name)
def test_null_wins_over_a_value_and_is_no_remark(datatype):
    wire = [{"is_null": True}, *({"is_null": True, name: WRONG[name][0]} for name in WRONG)]
    assert values(datatype, *wire) == [(None, None, None, None)] * len(wire)


@pytest.mark.parametrize("datatype", [*SCALARS, DataType.Unknown], ids=lambda code: code.name)
def test_a_metric_with_neither_value_nor_null_is_null_and_counted(datatype):
    seen = read(datatype, {}, {"is_null": False}, {"is_null": True})
    assert [tuple(row[name] for name in COLUMNS) for row in seen.rows] == [(None,) * 4] * 3
    assert [row["quality"] for row in seen.rows] == ["GOOD"] * 3
    assert remarks(seen) == {"value_missing": 2}


def test_is_null_that_is_false_changes_nothing():
    assert values(DataType.Double, {"is_null": False, "double_value": 1.0})[0][0] == 1.0
