"""Names, values, qualities and times: the realistic and the hostile ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sparkplug.pb.sparkplug_b_pb2 import PropertySet

if TYPE_CHECKING:
    import random

GROUPS = ("Plant A", "plant a", "Werk Süd")
NODES = ("Edge 1", "Edge 2", "エッジ", "STATE", "NDATA")
DEVICES = ("Boiler", "PLC 1", "Kühlung")

NAMES = (
    "Temperature",
    "Line 1/Speed",
    "Line 1/Station 2/Füllstand",
    "温度/1",
    "a.b[0]",
    "{metric}",
    "temperature",
    "Node Info/Transmission Version",
    "Node Control/Rebirth",
    "Node Control",
    "Device Control/Reboot",
    "bdSeq",
    "Run",
    "Set/Point",
    " padded ",
    "emoji 🌡",
    "quote'\"\\",
    "x" * 200,
    "Counter",
    "State",
)

SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
UNSIGNED = {5: 8, 6: 16, 7: 32, 8: 64}
SCALARS = tuple(range(1, 16))
NOT_SCALAR = tuple(range(16, 35))

TEXTS = (
    "",
    "on",
    "Grüße",
    "日本語",
    "line\nbreak\ttab",
    "nul\0byte",
    "🌡" * 3,
    "NaN",
    "true",
    "123",
    "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "long " * 60,
)
FLOATS = (0.0, 1.0, -1.5, 0.1, 21.5, 1e-4, 1e16, 1e-45, 3.4e38, 16777216.0, -273.15)
DOUBLES = (*FLOATS, 1e300, 5e-324, -1e-7, 1 / 3, 123456789.123456789, 9007199254740993.0)
ODD_FLOATS = (math.nan, math.inf, -math.inf, -0.0)
DATE_TIMES = (0, 1, 1_795_443_214_123, 1_700_000_000_000, 253_402_300_799_999)
ODD_DATE_TIMES = (-1, -62_135_596_800_000, -62_135_596_800_001, 253_402_300_800_000, -(2**63))

LIVE_QUALITIES = (192, 0, 500, 0x80000204, 0x80000202, 0xC0000304, 0x40000100, 0x8000020A)
ODD_QUALITIES = (
    *(1, 2, 191, 193, 200, 203, 204, 255, 256, 261, 262, 499, 501, 511, 512, 516, 780, 781),
    *(0x10204, 0x40000204, 0xBFFF0204, 0xC0000204, 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**31),
)
ODD_TIMESTAMPS = (
    *(0, 1, 253_402_300_799_999, 253_402_300_800_000, 2**63 // 1000, 2**63 // 1000 + 1),
    *(2**63 - 1, 2**63, 2**64 - 1),
)

BROKEN_BYTES = (b"\x0a\xff", b"\xff", b"\x0a\x02a", b"\x12\x02\x18", b"\x00", b"\x0b")


def integer_fields(width: int, value: int, rng: random.Random) -> dict[str, Any]:
    """An integer in one of the encodings edges use, in either field."""
    wire = [value % 2**width]
    if value < 0:
        wire += [value % 2**extended for extended in (32, 64) if extended > width]
    raw = rng.choice(wire)
    if raw >= 2**32 or rng.random() < 0.3:
        return {"long_value": raw}
    return {"int_value": raw}


def integer_value(low: int, high: int, rng: random.Random) -> int:
    if rng.random() < 0.5:
        near = rng.choice((low, high, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63))
        return min(max(near, low), high)
    return rng.randint(low, high)


def fitting(datatype: int, rng: random.Random, *, odd: bool) -> dict[str, Any]:  # noqa: C901, PLR0911, PLR0912
    """The value of a scalar datatype, as fields of the metric; others as they come."""
    if datatype in SIGNED:
        width = SIGNED[datatype]
        value = integer_value(-(1 << (width - 1)), (1 << (width - 1)) - 1, rng)
        return integer_fields(width, value, rng)
    if datatype in UNSIGNED:
        width = UNSIGNED[datatype]
        return integer_fields(width, integer_value(0, (1 << width) - 1, rng), rng)
    if datatype in {9, 10}:
        member = rng.choice(("float_value", "double_value"))
        if rng.random() < 0.7:
            member = "float_value" if datatype == 9 else "double_value"
        pool: tuple[float, ...] = FLOATS if member == "float_value" else DOUBLES
        if odd and rng.random() < 0.4:
            if rng.random() < 0.3:
                return {"long_value": rng.getrandbits(64)}
            pool = ODD_FLOATS
        return {member: rng.choice(pool)}
    if datatype == 11:
        if odd and rng.random() < 0.3:
            return {rng.choice(("int_value", "long_value")): rng.randint(0, 1)}
        return {"boolean_value": rng.random() < 0.5}
    if datatype in {12, 14, 15}:
        return {"string_value": rng.choice(TEXTS)}
    if datatype == 13:
        if odd and rng.random() < 0.4:
            return {"long_value": rng.choice(ODD_DATE_TIMES) % 2**64}
        if rng.random() < 0.1:
            return {"int_value": rng.getrandbits(32)}
        return {"long_value": rng.choice(DATE_TIMES)}
    if datatype == 16:
        return {"dataset_value": b"\x08\x01"}
    if datatype == 19:
        return {"template_value": b""}
    return {"bytes_value": rng.randbytes(rng.randint(0, 12))}


def misfit(datatype: int, rng: random.Random) -> dict[str, Any]:
    """A value that the datatype mostly does not take."""
    if datatype in SIGNED and rng.random() < 0.5:
        width = SIGNED[datatype]
        beyond = rng.choice((1 << width, 2**32 - (1 << (width - 1)) - 1, 2**64 - 2**40))
        beyond %= 2**64
        return {"long_value" if beyond >= 2**32 else "int_value": beyond}
    if datatype in UNSIGNED and rng.random() < 0.5:
        beyond = rng.choice((1 << UNSIGNED[datatype], 2**32 - 1, 2**64 - 1)) % 2**64
        return {"long_value": beyond}
    return any_member(rng)


def any_member(rng: random.Random) -> dict[str, Any]:  # noqa: PLR0911
    member = rng.choice((*"ilfdb", "s", "s", "s", "opaque", "opaque"))
    if member == "i":
        return {"int_value": rng.choice((0, 1, 2, 300, rng.getrandbits(32)))}
    if member == "l":
        return {"long_value": rng.choice((0, 1, 2, rng.getrandbits(64)))}
    if member == "f":
        return {"float_value": rng.choice(FLOATS + ODD_FLOATS)}
    if member == "d":
        return {"double_value": rng.choice(DOUBLES + ODD_FLOATS)}
    if member == "b":
        return {"boolean_value": rng.random() < 0.5}
    if member == "s":
        return {"string_value": rng.choice(TEXTS)}
    name = rng.choice(("bytes_value", "dataset_value", "template_value", "extension_value"))
    return {name: b""}


def property_set(rng: random.Random, *, quality: int | None, others: bool, odd: bool) -> bytes:
    """A serialized PropertySet; with `odd` the forms of Quality nobody should send."""
    properties = PropertySet()
    if others:
        properties.keys.append("engUnit")
        properties.values.add(type=12, string_value=rng.choice(("°C", "bar", "")))
        properties.keys.append("quality")
        properties.values.add(type=3, int_value=500)
    if quality is not None:
        properties.keys.append("Quality")
        form = rng.randrange(8) if odd else 0
        if form < 4:
            properties.values.add(type=3, int_value=quality)
        elif form == 4:
            properties.values.add(type=4, long_value=quality | 0xFFFFFFFF00000000)
        elif form == 5:
            properties.values.add(type=3, is_null=True)
        elif form == 6:
            properties.values.add(type=12, string_value=str(quality))
        else:
            properties.values.add(type=4, long_value=quality)
    if others and rng.random() < 0.5:
        properties.keys.append("custom")
        nested = properties.values.add(type=20)
        nested.propertyset_value.keys.append("Quality")
        nested.propertyset_value.values.add(type=3, int_value=500)
    return properties.SerializeToString()
