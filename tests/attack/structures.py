"""Shapes that are one value with very much in it, wide or deep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attack.wire import (
    Blow,
    birth,
    chunk,
    compressed,
    count,
    double,
    envelope,
    metric,
    of,
    payload,
    tag,
    topic,
)
from sparkplug.datatypes import DataType

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_TEMPLATE, _DATA_SET, _PROPERTIES, _METADATA = 18, 17, 9, 8


def _template(content: bytes, *, ref: str = "Motor", defines: bool = False) -> bytes:
    """A template's field; `content` are its members (as of a payload: field 2, too)."""
    return chunk(_TEMPLATE, content + chunk(4, ref.encode()) + count(5, int(defines)))


def wide_templates(part: float, _: random.Random) -> Iterator[Blow]:
    """A template of 100,000 members: defined, borne, and changed."""
    members = b"".join(tag(f"Member{number:07d}") for number in range(of(100_000, part)))
    kind = DataType.Template
    defined = metric("_types_/Motor", _template(members, defines=True), datatype=kind)
    borne = metric("M", _template(members), alias=1, datatype=kind)
    yield birth("Wide", defined + borne)
    changed = metric(value=_template(members), alias=1)
    yield Blow(topic("NDATA", "Wide"), payload(changed, seq=1))
    many = (metric(f"M{n}", _template(members), datatype=kind) for n in range(of(20, part)))
    yield compressed(birth("Wider", many))


def nested_templates(part: float, _: random.Random) -> Iterator[Blow]:
    """Templates in templates, more levels than any gateway has; and broad on each level."""
    kind = DataType.Template
    for levels, broad in ((40, 1), (90, 1), (of(20_000, part), 1), (12, 3), (7, 7)):
        content = tag("Leaf")
        for level in range(levels):
            if len(content) * broad > 15_000_000:
                break
            content = metric(f"L{level % 10}", _template(content), datatype=kind) * broad
        yield birth(f"Nested{levels}", content)


def data_sets(part: float, _: random.Random) -> Iterator[Blow]:
    """Data sets of a million cells, in rows, in columns, and compressed more of them."""
    cell = chunk(1, b"\x21" + bytes(8))
    for columns, rows in (
        (1_000, of(1_000, part)),
        (of(1_000_000, part), 1),
        (1, of(900_000, part)),
    ):
        head = count(1, columns)
        head += b"".join(chunk(2, b"c%d" % n) + count(3, DataType.Double) for n in range(columns))
        value = chunk(_DATA_SET, head + chunk(4, cell * columns) * rows)
        table = metric("Table", value, alias=1, datatype=DataType.DataSet)
        yield birth(f"Cells{columns}", table)
        twice = payload(metric(value=value, alias=1) * 3, seq=1)
        yield Blow(topic("NDATA", f"Cells{columns}"), envelope(twice, seq=1))


def _value(content: bytes) -> bytes:
    return chunk(2, content)


def wide_properties(part: float, _: random.Random) -> Iterator[Blow]:
    """Property sets of 200,000 keys, very many small ones, and long documentation."""
    total = of(200_000, part)
    keys = b"".join(chunk(1, b"k%d" % n) + _value(count(1, 3) + count(3, n)) for n in range(total))
    yield birth("Keys", metric("Level", chunk(_PROPERTIES, keys) + double(1.0), datatype=10))
    quality = chunk(_PROPERTIES, chunk(1, b"Quality") + _value(count(1, 3) + count(3, 192)))
    small = (metric(f"Tag{n}", quality + double(1.0), datatype=10) for n in range(total // 2))
    yield birth("Qualities", small)
    words = chunk(_METADATA, chunk(8, b"d" * 50_000))
    told = (metric(f"Tag{n}", words + double(1.0), datatype=10) for n in range(of(1_000, part)))
    yield compressed(birth("Told", told))


def nested_properties(part: float, _: random.Random) -> Iterator[Blow]:
    """Property sets in property sets, and lists of them."""
    for levels in (50, of(20_000, part)):
        content = chunk(1, b"k") + _value(count(1, 3) + count(3, 1))
        for _level in range(levels):
            content = chunk(1, b"k") + _value(count(1, 20) + chunk(9, content))
        many = metric("Level", chunk(_PROPERTIES, content) + double(1.0), datatype=10)
        yield birth(f"Sets{levels}", many)


def deep_json(part: float, _: random.Random) -> Iterator[Blow]:
    """JSON that is deep, wide, or one number of very many digits."""
    total = of(3_000_000, part)
    shallow = b'{"timestamp":1,"seq":0,"metrics":[%b]}'
    for node, content in (
        ("Lists", b'{"metrics":' + b"[" * total),
        ("Objects", b'{"a":' * (total // 5)),
        ("Closed", shallow % (b'{"name":"a","value":' + b"[" * 900 + b"]" * 900 + b"}")),
        ("Digits", shallow % (b'{"name":"a","dataType":"Int64","value":' + b"9" * total + b"}")),
        ("Exponent", shallow % b'{"name":"a","dataType":"Int64","value":1e999999999}'),
        ("Spaces", b" " * total + b"{"),
        ("Metrics", shallow % b",".join([b'{"name":"a","value":1}'] * (total // 25))),
        ("Empty", shallow % b",".join([b"{}"] * total)),
    ):
        yield Blow(topic("NBIRTH", node), content)
