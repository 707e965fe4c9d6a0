"""What a scalar value of a datatype looks like in the table, computed the plain way."""

import struct
from datetime import UTC, datetime, timedelta

VALUE_COLUMNS = ("numeric_value", "integer_value", "string_value", "boolean_value")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def value_columns(row):
    """numeric_value, integer_value, string_value, boolean_value of a row."""
    return tuple(row[name] for name in VALUE_COLUMNS)


def columns_of(data_type, value):
    """The same for a value of a scalar datatype; DateTime is milliseconds since 1970 UTC."""
    numeric = integer = text = boolean = None
    if value is None:
        pass
    elif data_type == "Boolean":
        boolean = value
    elif data_type in ("String", "Text", "UUID"):
        text = value
    elif data_type == "DateTime":
        integer = value
        moment = _EPOCH + timedelta(milliseconds=value)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    elif data_type == "Float":
        (numeric,) = struct.unpack("<f", struct.pack("<f", value))
    elif data_type == "Double":
        numeric = value
    else:
        numeric = float(value)
        integer, text = (value, None) if value < 2**63 else (None, str(value))
    return numeric, integer, text, boolean


def limits(data_type):
    """The least and the largest value of an integer datatype."""
    width = int(data_type.removeprefix("U").removeprefix("Int"))
    if data_type.startswith("U"):
        return 0, 2**width - 1
    return -(2 ** (width - 1)), 2 ** (width - 1) - 1


INTEGERS = tuple(f"{sign}Int{width}" for sign in ("", "U") for width in (8, 16, 32, 64))
SCALARS = {
    **{data_type: limits(data_type) for data_type in INTEGERS},
    "Float": (0.1, -3.4e38),
    "Double": (0.1, -1.7e308),
    "Boolean": (True, False),
    "String": ("Grüße, 轴承 🌡", "line\nbreak"),
    "Text": ("long " * 100, ""),
    "UUID": ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "no UUID at all"),
    "DateTime": (1_709_251_199_500, 0),
}
"""Two values of every scalar datatype: what a birth says, and what data says then."""
