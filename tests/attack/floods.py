"""Shapes that are many: nodes, names, times, and messages that wait for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attack.wire import (
    SENT_MS,
    Blow,
    birth,
    count,
    double,
    metric,
    of,
    payload,
    tag,
    text,
    topic,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

KIB, MIB = 1024, 1024 * 1024


def many_nodes(part: float, _: random.Random) -> Iterator[Blow]:
    """100,000 edge nodes are born, with a tag each."""
    level = tag("Level", alias=1)
    for number in range(of(100_000, part)):
        yield birth(f"Node{number}", level)


def many_names(part: float, _: random.Random) -> Iterator[Blow]:
    """1,000,000 tags, 10,000 to a node."""
    each = of(10_000, part)
    for node in range(100):
        yield birth(f"Names{node}", (tag(f"Area/{node}/{number:06d}") for number in range(each)))


def many_devices(part: float, _: random.Random) -> Iterator[Blow]:
    """200,000 devices that have no metric, of 40 nodes."""
    for node in range(40):
        yield birth(f"Devices{node}", tag("Level", alias=1))
        for number in range(of(5_000, part)):
            device = payload(seq=(1 + number) % 256)
            yield Blow(topic("DBIRTH", f"Devices{node}", f"Device{number}"), device)


def births_of_nobody(part: float, chance: random.Random) -> Iterator[Blow]:
    """Births that come again and again, of few nodes: each ends a session and begins one."""
    for number in range(of(5_000, part)):
        names = (tag(f"{chance.randrange(1_000)}/{each}", alias=each) for each in range(50))
        yield birth(f"Again{number % 20}", names, bd_seq=number % 256)


def data_of_nobody(part: float, _: random.Random) -> Iterator[Blow]:
    """Data of 20,000 nodes and devices that were never born: held, and asked for."""
    value = metric(value=double(1.0), alias=1)
    for number in range(of(20_000, part)):
        node, device = f"Nobody{number}", [f"Device{number}"] * (number % 2)
        yield Blow(topic("DDATA" if device else "NDATA", node, *device), payload(value, seq=1))


def held_data(part: float, chance: random.Random) -> Iterator[Blow]:
    """400 MiB that wait for births, of many nodes and in no small messages."""
    for number in range(of(400, part)):
        value = metric(value=text(chance.randbytes(512 * KIB).hex().encode()), alias=1)
        yield Blow(topic("NDATA", f"Held{number % 40}"), payload(value, seq=number // 40))


def waiting_windows(part: float, chance: random.Random) -> Iterator[Blow]:
    """As much as a window holds of every node, behind a message that never comes."""
    nodes = range(40)
    for node in nodes:
        yield birth(f"Window{node}", metric("Text", alias=1, datatype=12))
    for number in range(of(400, part)):
        value = metric(value=text(chance.randbytes(512 * KIB).hex().encode()), alias=1)
        yield Blow(topic("NDATA", f"Window{number % 40}"), payload(value, seq=2 + number // 40))


def wrong_order(part: float, chance: random.Random) -> Iterator[Blow]:
    """Numbers of all kinds where seq and bdSeq should be."""
    for node in range(20):
        yield birth(f"Order{node}", tag("Level", alias=1))
    for number in range(of(20_000, part)):
        seq = chance.choice((0, 1, 2, 127, 128, 255, 256, 2**31, 2**63, 2**64 - 1))
        value = metric(value=double(number), alias=chance.choice((0, 1, 2, 2**64 - 1)))
        yield Blow(topic("NDATA", f"Order{number % 20}"), payload(value, seq=seq))


def wrong_clocks(part: float, chance: random.Random) -> Iterator[Blow]:
    """9,000 nodes with absurd clocks, each one a reason to complain."""
    times = (1, SENT_MS // 2, SENT_MS * 2, 2**62, 2**63, 2**64 - 1)
    for number in range(of(9_000, part)):
        node = f"Clock{number}"
        yield birth(node, tag("Level", alias=1), sent_ms=chance.choice(times))
        value = metric(value=count(3, chance.choice(times)) + double(1.0), alias=1)
        yield Blow(topic("NDATA", node), payload(value, seq=1, sent_ms=chance.choice(times)))
