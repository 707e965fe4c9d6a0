"""The datatypes of specification 6.4.16."""

import pytest

from sparkplug.datatypes import INTEGER_WIDTH, READING, DataType, Reading, from_code

SPELLINGS = """
Unknown Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float Double Boolean String DateTime
Text UUID DataSet Bytes File Template PropertySet PropertySetList Int8Array Int16Array Int32Array
Int64Array UInt8Array UInt16Array UInt32Array UInt64Array FloatArray DoubleArray BooleanArray
StringArray DateTimeArray
"""
CODES = SPELLINGS.split()


def test_codes_and_spellings_are_those_of_the_specification():
    assert [(int(member), member.name) for member in DataType] == list(enumerate(CODES))


@pytest.mark.parametrize("code", [0, 35, 255, 256, 2**32 - 1, None])
def test_a_code_that_is_not_listed_is_unknown(code):
    assert from_code(code) is DataType.Unknown


@pytest.mark.parametrize("member", DataType)
def test_a_listed_code_is_its_datatype(member):
    assert from_code(int(member)) is member


def test_every_integer_type_has_the_width_in_its_name():
    assert {member.name: bits for member, bits in INTEGER_WIDTH.items()} == {
        f"{sign}Int{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)
    }


@pytest.mark.parametrize(
    ("reading", "names"),
    [
        (Reading.SIGNED, "Int8 Int16 Int32 Int64"),
        (Reading.UNSIGNED, "UInt8 UInt16 UInt32 UInt64"),
        (Reading.FLOATING, "Float Double"),
        (Reading.BOOLEAN, "Boolean"),
        (Reading.TEXT, "String Text UUID"),
        (Reading.MILLISECONDS, "DateTime"),
        (Reading.AS_FOUND, "Unknown"),
        (Reading.ENCODED, " ".join([*CODES[16:19], *CODES[22:]])),
        (Reading.COMPLEX, "Template PropertySet PropertySetList"),
    ],
)
def test_every_datatype_is_read_in_one_way(reading, names):
    assert sorted(m.name for m, r in READING.items() if r is reading) == sorted(names.split())
