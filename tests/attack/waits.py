"""Shapes that wait for what never comes, or at last, and are read all at once then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attack.wire import (
    Blow,
    birth,
    chunk,
    count,
    death,
    double,
    envelope,
    long_names,
    metric,
    of,
    payload,
    tag,
    text,
    topic,
)
from sparkplug.datatypes import DataType

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

KIB, MIB = 1024, 1024 * 1024
_BYTES, _METADATA, _TEMPLATE = 16, 8, 18


def births_that_wait(part: float, _: random.Random) -> Iterator[Blow]:
    """Births of devices in 90 KB each, and of 31 MB, behind a message that never comes."""
    for node in ("Waits", "Waits too"):
        yield birth(node, tag("Level"))
        names = b"".join(map(tag, long_names(of(15_000, part), 2_048)))
        for seq in range(2, 16):
            content = envelope(payload(names, seq=seq), seq=seq)
            yield Blow(topic("DBIRTH", node, f"Device{seq}"), content)


def late_births(part: float, chance: random.Random) -> Iterator[Blow]:
    """Births of sessions that have ended, some MiB each: they wait for what follows."""
    for number in range(of(60, part)):
        node = f"Late{number}"
        yield birth(node, tag("Level", alias=1), bd_seq=1)
        yield Blow(topic("NDEATH", node), death(1))
        words = metric("Text", text(chance.randbytes(2 * MIB).hex().encode()), datatype=12)
        yield birth(node, words, bd_seq=1)


def held_metrics(part: float, _: random.Random) -> Iterator[Blow]:
    """A million small metrics that wait for one birth, which comes."""
    aliases = b"".join(
        metric(value=double(1.0), alias=1 + n % 100) for n in range(of(50_000, part))
    )
    for node in range(4):
        for seq in range(1, 21):
            yield Blow(topic("NDATA", f"Patient{node}"), payload(aliases, seq=seq))
        yield birth(f"Patient{node}", (tag(f"Tag{n}", alias=n) for n in range(101)))


def files_in_parts(part: float, chance: random.Random) -> Iterator[Blow]:
    """The first parts of many files, and never the last one."""
    files = of(100, part)
    names = (metric(f"File{n}", datatype=DataType.File, alias=n) for n in range(files))
    yield birth("Files", names)
    for number in range(files):
        about = count(1, 1) + count(3, 100 * MIB) + count(4, 0) + chunk(5, b"f%d" % number)
        piece = chunk(_METADATA, about) + chunk(_BYTES, chance.randbytes(2 * MIB))
        seq = 1 + number % 255
        yield Blow(topic("NDATA", "Files"), payload(metric(value=piece, alias=number), seq=seq))


def many_definitions(part: float, _: random.Random) -> Iterator[Blow]:
    """Template definitions of 200 nodes, 10,000 members each, and none of them like another."""
    for node in range(of(200, part)):
        members = b"".join(tag(f"Of {node} {number}") for number in range(10_000))
        value = chunk(_TEMPLATE, members + count(5, 1))
        yield birth(f"Defines{node}", metric("_types_/Motor", value, datatype=DataType.Template))
