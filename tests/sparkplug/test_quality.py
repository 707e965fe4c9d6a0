"""Quality codes: the table in docs/decoding.md, and where a code is found."""

import numpy as np
import pyarrow as pa
import pytest
from support.columnar import Columnar, message, metric, tag

from sparkplug import quality
from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import PropertySet

BAD, UNCERTAIN_CLASS, ERROR = 0x80000000, 0x40000000, 0xC0000000


def properties(*pairs):
    """An encoded PropertySet; values are given as the field that carries them."""
    found = PropertySet()
    for key, value in pairs:
        found.keys.append(key)
        found.values.add(**value)
    return found.SerializeToString()


# The table


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (192, "GOOD"),
        (2, "GOOD"),
        *((code, "GOOD") for code in range(200, 204)),
        (0, "BAD"),
        (500, "STALE"),
        (516, "STALE"),
        (BAD | 516, "STALE"),
        (BAD | 0x10000 | 516, "STALE"),  # only the low 16 bits are the subcode
        (BAD, "BAD"),
        (BAD | 515, "BAD"),
        (BAD | 517, "BAD"),
        (ERROR, "BAD"),
        (ERROR | 516, "BAD"),
        (ERROR | 772, "BAD"),
        (0xFFFFFFFF, "BAD"),
        (UNCERTAIN_CLASS, "UNCERTAIN"),
        (UNCERTAIN_CLASS | 256, "UNCERTAIN"),
        (UNCERTAIN_CLASS | 516, "UNCERTAIN"),
        (512, "BAD"),
        (515, "BAD"),
        (517, "BAD"),
        (780, "BAD"),
        (256, "UNCERTAIN"),
        (261, "UNCERTAIN"),
        *((code, "UNCERTAIN") for code in (1, 3, 191, 193, 199, 204, 255, 262, 499, 501, 511)),
        (781, "UNCERTAIN"),
        (0x3FFFFFFF, "UNCERTAIN"),
    ],
)
def test_the_class_of_a_code(code, name):
    assert quality.QUALITY_NAMES[quality.classify(code, zero_is_good=False)] == name
    signed = code - (1 << 32) if code >= 1 << 31 else code
    assert quality.QUALITY_NAMES[quality.classify(signed, zero_is_good=False)] == name


def test_zero_is_good_where_ignition_sends_it_and_nothing_else_changes():
    assert quality.classify(0, zero_is_good=True) == quality.GOOD
    for code in (192, 500, 516, 512, BAD, BAD | 516, 1):
        assert quality.classify(code, zero_is_good=True) == quality.classify(
            code, zero_is_good=False
        )


def test_classes_of_a_column_are_those_of_its_codes():
    generator = np.random.default_rng(7)
    picked = np.array([192, 0, 500, 516, 600, 256, -1, -(2**31), 2**31 - 1, 192], dtype=np.int64)
    code = generator.choice(picked, 5000).astype(np.int32)
    zero_is_good = generator.random(5000) < 0.5
    expected = [
        quality.classify(int(c), zero_is_good=bool(z))
        for c, z in zip(code, zero_is_good, strict=True)
    ]
    assert quality.classes(code, zero_is_good).tolist() == expected


# Where the code is found


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (properties(("Quality", {"type": 3, "int_value": 500})), 500),
        (properties(("Quality", {"type": 4, "long_value": 500})), 500),
        (properties(("Quality", {"int_value": 0})), 0),
        (properties(("Quality", {"type": 3, "int_value": BAD | 516})), -(2**31) + 516),
        (properties(("Quality", {"type": 4, "long_value": 2**64 - 1})), -1),
        (properties(("Quality", {"type": 4, "long_value": 2**40 + 7})), 7),
        (properties(("engUnit", {"string_value": "°C"}), ("Quality", {"int_value": 2})), 2),
    ],
)
def test_the_quality_property_is_read_as_a_signed_number_of_32_bits(raw, code):
    assert quality.code_of(raw) == code


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        properties(("engUnit", {"string_value": "Quality"})),
        properties(("quality", {"int_value": 500})),
        properties(("Quality", {"type": 3, "is_null": True})),
        properties(("Quality", {"type": 3, "is_null": True, "int_value": 500})),
        properties(("Quality", {"type": 3})),
        properties(("Quality", {"type": 12, "string_value": "500"})),
        properties(("Quality", {"type": 10, "double_value": 500.0})),
        properties(("Quality", {"type": 11, "boolean_value": False})),
        PropertySet(keys=["Quality"]).SerializeToString(),
        b"Quality, but no property set",
        properties(("Quality", {"int_value": 500}))[:-1],
    ],
    ids=[
        *("empty", "other keys", "other case", "null", "null with a value", "no value", "text"),
        *("double", "boolean", "no values", "garbage", "cut short"),
    ],
)
def test_what_is_no_integer_property_named_quality_is_no_code(raw):
    assert quality.code_of(raw) is None


def test_keys_and_values_are_paired_by_position():
    raw = PropertySet(keys=["a", "Quality"])
    raw.values.add(int_value=1)
    raw.values.add(int_value=500)
    assert quality.code_of(raw.SerializeToString()) == 500


def test_every_distinct_property_set_is_read_for_all_metrics_that_have_it():
    stale = properties(("Quality", {"int_value": 500}))
    bad = properties(("Quality", {"int_value": 0}), ("engUnit", {"string_value": "bar"}))
    unit = properties(("engUnit", {"string_value": "bar"}))
    column = pa.array([stale, None, bad, stale, b"", unit, b"\xffQuality", bad], pa.binary())
    assert quality.codes(column).tolist() == [500, 192, 0, 500, 192, 192, 192, 0]
    assert quality.codes(column.slice(2, 3)).tolist() == [0, 500, 192]


@pytest.mark.parametrize("size", [0, 3])
def test_metrics_without_any_property_set_are_good(size):
    assert quality.codes(pa.nulls(size, pa.binary())).tolist() == [192] * size


# In rows


def rows_with(code, *births):
    seen = Columnar()
    seen.feed(message("NBIRTH", tag("Ramp", 0), *births))
    (row,) = seen.feed(
        message("NDATA", metric(alias=0, double_value=1.0, quality=code), seq=1),
    )
    return row["quality"], row["quality_code"]


def test_a_row_has_class_and_code():
    assert rows_with(None) == ("GOOD", 192)
    assert rows_with(BAD | 516) == ("STALE", -(2**31) + 516)


def test_zero_is_good_for_nodes_whose_birth_names_ignitions_transmission_module():
    version = metric("Node Info/Transmission Version", DataType.String, string_value="4.0.25")
    assert rows_with(0) == ("BAD", 0)
    assert rows_with(0, version) == ("GOOD", 0)


def test_a_node_that_changes_its_software_is_judged_by_its_latest_birth():
    version = metric("Node Info/Transmission Version", DataType.String, string_value="4.0.25")
    zero = message("NDATA", metric(alias=0, double_value=1.0, quality=0), seq=1)
    seen = Columnar()
    rows = seen.feed(
        message("NBIRTH", version, tag("Ramp", 0)),
        zero,
        message("NBIRTH", tag("Ramp", 0)),
        zero,
        message("NBIRTH", version, tag("Ramp", 0)),
        message("DBIRTH", metric("T", 10, alias=9, double_value=0.0, quality=0), seq=1),
    )
    assert [row["quality"] for row in rows if row["quality_code"] == 0] == ["GOOD", "BAD", "GOOD"]


def test_a_value_that_does_not_fit_is_bad_whatever_its_quality_says():
    seen = Columnar()
    (row,) = seen.feed(
        message("NBIRTH", metric("N", DataType.Int8, int_value=300, quality=192)),
    )
    assert (row["quality"], row["quality_code"]) == ("BAD", -1_073_741_052)
