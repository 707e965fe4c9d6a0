"""event_id: golden values for ever, and the algorithm of docs/event_id.md for any record."""

import ast
import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import metric
from support.columnar import Columnar, message

from consumer.rows import SourceNames
from consumer.rows.event_id import identity
from sparkplug.datatypes import DataType

PAGE = Path(__file__).parents[3] / "docs" / "event_id.md"
TIME_MS = 1_700_000_000_000
PLANT = {"group": "Plant A", "node": "Edge 1"}
MISFIT = -1_073_741_052


def double(number):
    return 1, struct.pack("<dQ", number, 0)


def integer(number):
    return 2, struct.pack("<qQ", number, 0)


def boolean(value):
    return 3, struct.pack("<QQ", value, 0)


def text(value):
    return 4, xxhash.xxh3_128_digest(value.encode())


NULL = 0, bytes(16)


class Case(NamedTuple):
    """A metric of Plant A/Edge 1, what its record holds, and its event_id for ever."""

    datatype: DataType
    wire: dict
    record: tuple
    golden: str
    device: str | None = None
    site: str = ""
    quality: int | None = None
    code: int = 192


D = DataType
RAMP = {"double_value": 21.5}
GOLDEN = {
    "double": Case(D.Double, RAMP, double(21.5), "321015daef55deda28ba443379bfe75b"),
    "minus zero": Case(
        D.Double, {"double_value": -0.0}, double(-0.0), "2071b18baa3b1c4ec6031ccfbfe27a26"
    ),
    "float": Case(
        D.Float,
        {"float_value": 0.1},
        double(0.10000000149011612),
        "7ed0bf519b004ab844ba7da3a26746fb",
    ),
    "not a number": Case(
        D.Double, {"double_value": float("nan")}, text("NaN"), "f56ae742faa5e6807c3f4a83a403771d"
    ),
    "infinity": Case(
        D.Float, {"float_value": float("inf")}, text("Infinity"), "8f0a72ca16122a93894fedbd18a1fdea"
    ),
    "null": Case(D.Double, {"is_null": True}, NULL, "24b696bdd6cf853234be2d563e844d74"),
    "null with a value": Case(
        D.Int32, {"is_null": True, "int_value": 9}, NULL, "24b696bdd6cf853234be2d563e844d74"
    ),
    "negative": Case(
        D.Int32, {"int_value": 2**32 - 7}, integer(-7), "182fab0e538f77224becc8c0f18fe353"
    ),
    "unsigned": Case(
        D.UInt32, {"int_value": 2**32 - 7}, integer(4294967289), "e36d33ad79efa09044ab0e5202661d0c"
    ),
    "huge": Case(
        D.UInt64,
        {"long_value": 2**64 - 1},
        text("18446744073709551615"),
        "24f38d42bfca6781cdb1921649d70928",
    ),
    "true": Case(
        D.Boolean, {"boolean_value": True}, boolean(True), "47ba78d4516d74aa16a9da8a7800e5a2"
    ),
    "false": Case(
        D.Boolean, {"boolean_value": False}, boolean(False), "928106812b226d7f45f2232a5a70be5f"
    ),
    "text": Case(
        D.String, {"string_value": "Grüße"}, text("Grüße"), "8fe14b099027ba02a6e9c3b770511c73"
    ),
    "empty text": Case(
        D.String, {"string_value": ""}, text(""), "9c5582e2c3b23c968f2bbc8d028396bd"
    ),
    "date": Case(
        D.DateTime,
        {"long_value": 1_795_443_214_123},
        integer(1_795_443_214_123),
        "1c89a3c1a625c7035569fe14b1d3817f",
    ),
    "misfit": Case(
        D.Int8, {"int_value": 300}, text("300"), "566fb82fbf0ac5e3b6b10088af83eb72", code=MISFIT
    ),
    "misfit of bytes": Case(
        D.Int8, {"bytes_value": b"x"}, NULL, "d444c95f1a71e8e3675617d4aabf17b3", code=MISFIT
    ),
    "device": Case(
        D.Double, RAMP, double(21.5), "ab21be0e816b678636790b118998fc34", device="Boiler"
    ),
    "site": Case(D.Double, RAMP, double(21.5), "0da43dc676fc27900a5781130cb7dffa", site="Nord"),
    "stale": Case(
        D.Double,
        RAMP,
        double(21.5),
        "b3f5945e38610b827376ead50ed94c7d",
        quality=0x80000204,
        code=-(2**31) + 0x204,
    ),
    "quality 192 sent": Case(
        D.Double, RAMP, double(21.5), "321015daef55deda28ba443379bfe75b", quality=192
    ),
}


def rows_of(*cases, site="", device=None):
    """The rows of some metrics named Ramp, Ramp1, ... of one node or device."""
    metrics = [
        metric(
            f"Ramp{number or ''}",
            case.datatype,
            timestamp=TIME_MS,
            quality=case.quality,
            **case.wire,
        )
        for number, case in enumerate(cases)
    ]
    seen = Columnar(names=SourceNames(site=site))
    if device is None:
        return seen.feed(message("NBIRTH", *metrics, **PLANT))
    return seen.feed(
        message("NBIRTH", **PLANT), message("DBIRTH", *metrics, device=device, seq=1, **PLANT)
    )


def documented():
    """The names that the Python code of the page defines, and the value of its last line."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    *statements, last = ast.parse(code).body
    names = {}
    exec(compile(ast.Module(statements, []), str(PAGE), "exec"), names)
    return names, eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)


# Golden values


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values_never_change(name):
    case = GOLDEN[name]
    (row,) = rows_of(case, site=case.site, device=case.device)
    assert row["event_id"] == case.golden


@pytest.mark.parametrize("name", GOLDEN)
def test_the_code_in_the_documentation_gives_the_golden_values(name):
    case = GOLDEN[name]
    names, _ = documented()
    tag = names["identity"](case.site, "Plant A", "Edge 1", case.device, "Ramp")
    kind, value = case.record
    assert names["event_id"](tag, TIME_MS * 1000, kind, value, case.code) == case.golden


def test_the_example_in_the_documentation_is_the_first_golden_value():
    assert documented()[1] == GOLDEN["double"].golden


# Any record


def expected_id(case, name, time_us=TIME_MS * 1000, device=None, site=""):
    parts = [site, "Plant A", "Edge 1", device, name]
    raw = b"".join(
        struct.pack("<I", 2**32 - 1 if part is None else len(part.encode())) + (part or "").encode()
        for part in parts
    )
    kind, value = case.record
    record = (
        xxhash.xxh3_128_digest(raw)
        + struct.pack("<q", time_us)
        + value
        + struct.pack("<iI", case.code, kind)
    )
    assert len(record) == 48
    return xxhash.xxh3_128_hexdigest(record)


CASES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(
        lambda n: Case(D.Double, {"double_value": n}, double(n), "")
    ),
    st.integers(-(2**63), 2**63 - 1).map(
        lambda n: Case(D.Int64, {"long_value": n % 2**64}, integer(n), "")
    ),
    st.text().map(lambda s: Case(D.Text, {"string_value": s}, text(s), "")),
    st.booleans().map(lambda b: Case(D.Boolean, {"boolean_value": b}, boolean(b), "")),
    st.just(Case(D.Int16, {"is_null": True}, NULL, "")),
    st.integers(-(2**31), 2**31 - 1).map(
        lambda code: Case(D.Double, RAMP, double(21.5), "", quality=code % 2**32, code=code)
    ),
)


@given(st.lists(CASES, min_size=1, max_size=40), st.text(max_size=5), st.sampled_from([0, 500]))
def test_any_record_has_the_hash_that_the_xxhash_library_gives(cases, site, others):
    batch = [*cases, *[GOLDEN["double"]] * others]  # among few rows, and among many
    found = [row["event_id"] for row in rows_of(*batch, site=site)][: len(cases)]
    assert found == [
        expected_id(case, f"Ramp{number or ''}", site=site) for number, case in enumerate(cases)
    ]


def test_a_batch_of_any_size_is_hashed_row_by_row():
    numbers = np.random.default_rng(1).standard_normal(25_000)
    cases = [Case(D.Double, {"double_value": n}, double(n), "") for n in numbers.tolist()]
    found = [row["event_id"] for row in rows_of(*cases)]
    assert found == [expected_id(case, f"Ramp{n or ''}") for n, case in enumerate(cases)]


@pytest.mark.parametrize("count", [1, 255, 256, 257, 900], ids="{} texts".format)
def test_few_texts_and_many_are_hashed_alike_whatever_is_between_them(count):
    texts = ["", "grün", "Running", *(f"Batch {number}" for number in range(100))]
    cases = [
        Case(D.Text, {"string_value": each}, text(each), "")
        for number in range(count)
        for each in [texts[number % len(texts)]]
    ]
    others = [GOLDEN["double"], GOLDEN["null"], GOLDEN["not a number"]]
    mixed = [case for pair in zip(cases, others * count, strict=False) for case in pair]
    found = [row["event_id"] for row in rows_of(*mixed)]
    assert found == [expected_id(case, f"Ramp{n or ''}") for n, case in enumerate(mixed)]


@pytest.mark.parametrize(
    "milliseconds", [0, 1, TIME_MS, 253_402_300_799_999], ids=["epoch", "one", "now", "last"]
)
def test_the_time_is_counted_in_microseconds(milliseconds):
    fields = metric("Ramp", D.Double, timestamp=milliseconds, **RAMP)
    (row,) = Columnar().feed(message("NBIRTH", fields, **PLANT))
    assert row["event_id"] == expected_id(GOLDEN["double"], "Ramp", milliseconds * 1000)


# What is part of the identity


def test_a_missing_device_is_not_an_empty_one():
    assert identity("", "G", "E", None, "M") != identity("", "G", "E", "", "M")


def test_names_cannot_be_shifted_from_one_level_to_the_next():
    levels = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")]
    assert len({identity("", *pair, None, "M") for pair in levels}) == 4
    assert len({identity(*pair, "E", "D", "M") for pair in levels}) == 4
    assert len({identity("", "G", "E", *pair) for pair in levels}) == 4


def test_lengths_are_counted_in_bytes_of_utf_8():
    assert identity("", "ü", "E", None, "M") == xxhash.xxh3_128_digest(
        b"\0\0\0\0\x02\0\0\0\xc3\xbc\x01\0\0\0E\xff\xff\xff\xff\x01\0\0\0M"
    )


# What is not part of the id


def id_of(*, server="local", seq=1, verb="NDATA", received_us=5, **fields):
    seen = Columnar(names=SourceNames(server=server))
    declared = metric("Ramp", D.Double, alias=0, timestamp=TIME_MS, **RAMP, **fields)
    seq = {"seq": 0} if verb == "NBIRTH" else {"seq": seq}
    birth = message("NBIRTH", metric("Ramp", D.Double, alias=0, is_null=True), **PLANT)
    rows = seen.feed(birth, message(verb, declared, **seq, received_us=received_us, **PLANT))
    return rows[-1]["event_id"]


@pytest.mark.parametrize(
    "change",
    [
        {"server": "other"},
        {"seq": 200},
        {"verb": "NBIRTH"},
        {"is_historical": True},
        {"received_us": 10**15},
        {"quality": 192},
    ],
    ids=lambda change: next(iter(change)),
)
def test_how_an_observation_reached_us_does_not_change_its_id(change):
    assert id_of(**change) == id_of() == GOLDEN["double"].golden


def test_the_datatype_is_not_part_of_the_id_where_the_value_is_the_same():
    (narrow,) = rows_of(Case(D.Int8, {"int_value": 7}, NULL, ""))
    (wide,) = rows_of(Case(D.Int64, {"long_value": 7}, NULL, ""))
    assert narrow["event_id"] == wide["event_id"]


def test_equal_looking_values_of_different_kinds_have_different_ids():
    cases = [
        Case(D.Double, {"double_value": 1.0}, NULL, ""),
        Case(D.Int64, {"long_value": 1}, NULL, ""),
        Case(D.Boolean, {"boolean_value": True}, NULL, ""),
        Case(D.String, {"string_value": "1"}, NULL, ""),
        Case(D.Double, {"double_value": 0.0}, NULL, ""),
        Case(D.Int64, {"long_value": 0}, NULL, ""),
        Case(D.Boolean, {"boolean_value": False}, NULL, ""),
        Case(D.String, {"string_value": ""}, NULL, ""),
        Case(D.Double, {"is_null": True}, NULL, ""),
        Case(D.Double, {"double_value": -0.0}, NULL, ""),
    ]
    assert len({rows_of(case)[0]["event_id"] for case in cases}) == len(cases)
