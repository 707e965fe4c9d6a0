"""What attackers publish: a catalogue of shapes, each a few messages that are dear, or very many.

They have what any client may have that may publish: no secret, no edge node of the honest fleet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attack.floods import (
    births_of_nobody,
    data_of_nobody,
    held_data,
    many_devices,
    many_names,
    many_nodes,
    waiting_windows,
    wrong_clocks,
    wrong_order,
)
from attack.forged import forged_sessions, forged_state, wrong_payloads, wrong_topics
from attack.structures import (
    data_sets,
    deep_json,
    nested_properties,
    nested_templates,
    wide_properties,
    wide_templates,
)
from attack.waits import (
    births_that_wait,
    files_in_parts,
    held_metrics,
    late_births,
    many_definitions,
)
from attack.wire import (
    Blow,
    birth,
    chunk,
    compressed,
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
    wrapped,
    zeros,
)
from sparkplug.datatypes import DataType

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024


@dataclass(frozen=True)
class Shape:
    """One kind of hostile traffic.

    `blows` yields its messages; it is given how much of the full size is wanted, of 1, and a
    source of chance. In a `flood` no message is worth a look alone: together they are measured.
    After `lasts` seconds what was held back may have been read. `in_suite` is the part that the
    test suite takes.
    """

    blows: Callable[[float, random.Random], Iterator[Blow]]
    flood: bool = False
    lasts: float = 0.4
    in_suite: float = 0.02


def alias_echo(part: float, _: random.Random) -> Iterator[Blow]:
    """Half a million times the alias of a tag with a long name, in 15 KB."""
    node = "Echo"
    yield birth(node, tag("n" * 4_096, alias=1))
    echoes = metric(value=double(1.0), alias=1) * of(500_000, part)
    yield Blow(topic("NDATA", node), envelope(payload(echoes, seq=1), seq=1))


def long_ids(part: float, _: random.Random) -> Iterator[Blow]:
    """The same with ids of node and device, which every row repeats, and a short name."""
    node, device = "N" * 950, "D" * 950
    yield birth(node, tag("Level"))
    yield Blow(topic("DBIRTH", node, device), payload(tag("n", alias=1), seq=1))
    echoes = metric(value=double(1.0), alias=1) * of(60_000, part)
    for seq in range(2, 6):
        content = envelope(payload(echoes, seq=seq), seq=seq)
        yield Blow(topic("DDATA", node, device), content)


def long_strings(part: float, _: random.Random) -> Iterator[Blow]:
    """The same with what is as long in each value: strings that compress to nothing."""
    node = "Strings"
    yield birth(node, metric("Text", b"", alias=1, datatype=DataType.String))
    echoes = metric(value=text(b"s" * 2_048), alias=1) * of(30_000, part)
    yield Blow(topic("NDATA", node), envelope(payload(echoes, seq=1), seq=1))


def death_of_many(part: float, _: random.Random) -> Iterator[Blow]:
    """A death of a few bytes, of a node whose devices have 210,000 tags of long names."""
    yield birth("Mortal", tag("Level"))
    names = b"".join(map(tag, long_names(of(15_000, part), 2_048)))
    for seq in range(1, 15):
        content = envelope(payload(names, seq=seq), seq=seq)
        yield Blow(topic("DBIRTH", "Mortal", f"Device{seq}"), content)
    yield Blow(topic("NDEATH", "Mortal"), death())


def huge_births(part: float, _: random.Random) -> Iterator[Blow]:
    """Births of less than a megabyte together, of names that take most of a gigabyte."""
    names = b"".join(map(tag, long_names(of(15_000, part), 4_096)))
    for number in range(12):
        yield compressed(birth(f"Huge{number}", names))


def retold_births(part: float, _: random.Random) -> Iterator[Blow]:
    """A large birth again and again, with other names each time: tags retire and others come."""
    for number in range(4):
        names = (b"%d/%b" % (number, name) for name in long_names(of(100_000, part), 100))
        yield compressed(birth("Retold", map(tag, names)))


def large_values(part: float, chance: random.Random) -> Iterator[Blow]:
    """Values that are too large for a call to Zerobus once they are a row: dead letters."""
    node = "Large"
    yield birth(node, metric("Text", b"", alias=1, datatype=DataType.String))
    for seq in range(1, 1 + of(40, part)):
        value = text(b"%d" % seq + bytes([chance.randrange(97, 123)]) * 10_430_000)
        content = payload(metric(value=value, alias=1), seq=seq)
        yield Blow(topic("NDATA", node), envelope(content, seq=seq))


def bombs(part: float, _: random.Random) -> Iterator[Blow]:
    """Envelopes that inflate to far more than is allowed, by every algorithm."""
    content = bytes(of(200 * MIB, part))
    for number, wbits in enumerate((31, 15, -15)):
        yield Blow(topic("NDATA", f"Bomb{number}"), envelope(content, wbits=wbits))
    yield Blow(topic("NBIRTH", "Bomb9"), wrapped(zeros(of(1_024 * MIB, part))))
    # As much as is allowed: one string, which is no valid payload, and one of no metric.
    full = of(63 * MIB, part)
    yield Blow(topic("NDATA", "Full"), envelope(bytes(full)))
    yield Blow(topic("NDATA", "Full"), envelope(payload() + chunk(5, bytes(full))))


def empty_metrics(part: float, _: random.Random) -> Iterator[Blow]:
    """As many metrics as are allowed, and more, that say nothing at all."""
    node = "Empty"
    yield birth(node, tag("Level", alias=1))
    for seq, total in ((1, 500_000), (2, 3_000_000), (3, 30_000_000)):
        content = payload(b"\x12\x00" * of(total, part), seq=seq)
        yield Blow(topic("NDATA", node), envelope(content, seq=seq))


def wrong_envelopes(part: float, chance: random.Random) -> Iterator[Blow]:
    """Envelopes in envelopes, of wrong algorithms, cut short, with lies about what they are."""
    inner = birth("Wrapped", tag("Level", alias=1)).payload
    whole = envelope(inner, wbits=31, algorithm="GZIP")
    forms = [
        envelope(whole),
        envelope(envelope(whole)),
        envelope(inner, algorithm="GZIP"),
        envelope(inner, algorithm="BROTLI" * 10_000),
        whole[: len(whole) // 2],
        wrapped(b""),
        wrapped(b"\x1f\x8b"),
        wrapped(chance.randbytes(of(4 * MIB, part))),
    ]
    for number in range(of(500, part)):
        yield Blow(topic("NBIRTH", f"Wrapped{number % 50}"), forms[number % len(forms)])


SHAPES = {
    "alias_echo": Shape(alias_echo, in_suite=1.0),
    "long_strings": Shape(long_strings, in_suite=0.2),
    "death_of_many": Shape(death_of_many, in_suite=0.3),
    "huge_births": Shape(huge_births, in_suite=1.0),
    "retold_births": Shape(retold_births, in_suite=0.05),
    "large_values": Shape(large_values, in_suite=0.1),
    "wrong_clocks": Shape(wrong_clocks, flood=True, in_suite=0.1),
    "many_nodes": Shape(many_nodes, flood=True),
    "many_names": Shape(many_names, flood=True, in_suite=0.05),
    "many_devices": Shape(many_devices, flood=True, in_suite=0.01),
    "long_ids": Shape(long_ids, in_suite=0.1),
    "births_of_nobody": Shape(births_of_nobody, flood=True, in_suite=0.1),
    "waiting_windows": Shape(waiting_windows, flood=True, lasts=2.3, in_suite=0.05),
    "births_that_wait": Shape(births_that_wait, lasts=2.3, in_suite=0.3),
    "late_births": Shape(late_births, lasts=6.0, in_suite=0.1),
    "held_metrics": Shape(held_metrics, in_suite=0.05),
    "files_in_parts": Shape(files_in_parts, in_suite=0.05),
    "many_definitions": Shape(many_definitions, in_suite=0.02),
    "wrong_order": Shape(wrong_order, flood=True, lasts=2.3, in_suite=0.1),
    "wide_templates": Shape(wide_templates),
    "nested_templates": Shape(nested_templates, in_suite=0.1),
    "data_sets": Shape(data_sets),
    "wide_properties": Shape(wide_properties),
    "nested_properties": Shape(nested_properties, in_suite=0.1),
    "deep_json": Shape(deep_json, in_suite=0.1),
    "bombs": Shape(bombs, in_suite=0.4),
    "empty_metrics": Shape(empty_metrics, in_suite=0.1),
    "wrong_envelopes": Shape(wrong_envelopes, flood=True, in_suite=0.1),
    "forged_sessions": Shape(forged_sessions, flood=True, in_suite=0.1),
    "forged_state": Shape(forged_state, flood=True, in_suite=0.1),
    "wrong_payloads": Shape(wrong_payloads, flood=True, in_suite=0.1),
    "wrong_topics": Shape(wrong_topics, flood=True, in_suite=0.1),
    "data_of_nobody": Shape(data_of_nobody, flood=True, in_suite=0.05),
    "held_data": Shape(held_data, flood=True, in_suite=0.05),
}
