"""Shapes that pretend: sessions that look like the fleet's, STATE, and what is no Sparkplug."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from faults.plant import DEVICES, GROUP, HOST_ID

from attack.wire import SENT_MS, Blow, birth, death, double, metric, of, payload, tag, topic

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_OTHERS = (f"{GROUP} ", GROUP.lower(), f"{GROUP}\u200b", f"{GROUP}2", f"x{GROUP}")
"""Group ids that are not the honest one, and look like it."""


def forged_sessions(part: float, chance: random.Random) -> Iterator[Blow]:
    """Births and deaths under the honest names, in groups that look like the honest one."""
    for number in range(of(5_000, part)):
        group, node = chance.choice(_OTHERS), f"Edge {chance.randrange(1, 21)}"
        device, at = chance.choice(DEVICES[1:]), chance.randrange(256)
        verb = chance.choice(("NDEATH", "DDEATH", "NBIRTH", "DBIRTH", "NDATA", "NCMD", "DCMD"))
        devices = [device] if verb[0] == "D" else []
        content = death(at) if verb == "NDEATH" else payload(tag("Double/0", alias=1), seq=at)
        if verb == "NBIRTH":
            content = birth(node, tag("Double/0", alias=1), bd_seq=at).payload
        if number % 10 == 0:
            content = b""
        yield Blow(topic(verb, node, *devices, group=group), content)


def forged_state(part: float, chance: random.Random) -> Iterator[Blow]:
    """STATE of this host as others would have it, and of hosts that there are not."""
    said = [
        json.dumps({"online": online, "timestamp": at}).encode()
        for online in (True, False)
        for at in (0, SENT_MS // 2, SENT_MS)
    ]
    said += [b"", b"OFFLINE", b"ONLINE", b"{}", b"[" * 100_000, b"\xff" * 100, b"9" * 100_000]
    for number in range(of(2_000, part)):
        host = HOST_ID if number % 4 == 0 else f"Other{chance.randrange(10_000)}"
        yield Blow(f"spBv1.0/STATE/{host}", chance.choice(said), retain=number % 8 == 0)
    yield Blow(f"STATE/{HOST_ID}", b"OFFLINE")


def wrong_payloads(part: float, chance: random.Random) -> Iterator[Blow]:
    """What is no payload, or damaged, or says what cannot be, under right topics."""
    good = birth("Damaged", (tag(f"Tag{n}", alias=n) for n in range(40))).payload
    for number in range(of(5_000, part)):
        content = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        choices = (
            bytes(content),
            bytes(content[: chance.randrange(len(content))]),
            chance.randbytes(chance.randrange(2_000)),
            payload(metric(b"\xff\xfe" * 100, double(1.0), datatype=chance.randrange(40))),
            payload([tag("same", alias=1), tag("other", alias=1)] * 50),
            payload(metric("\x1b[2J\n" * 20, double(1.0), datatype=2**32 - 1)),
        )
        verb = chance.choice(("NBIRTH", "NDATA", "DBIRTH", "DDATA", "NDEATH", "DDEATH"))
        devices = ["Device"] if verb[0] == "D" else []
        yield Blow(topic(verb, f"Damaged{number % 40}", *devices), chance.choice(choices))


def wrong_topics(part: float, chance: random.Random) -> Iterator[Blow]:
    """Topics with too little, too much, and what no terminal should see."""
    content = payload(tag("Level", alias=1))
    pieces = ("", "NDATA", "NBIRTH", "XDATA", "a" * 60_000, "\x1b[31m", "\u202e", "spBv1.0", "é")
    for _ in range(of(5_000, part)):
        levels = [chance.choice(pieces) for _ in range(chance.choice((1, 2, 3, 4, 5, 100)))]
        name = "/".join(["spBv1.0", *levels])
        if len(name.encode()) < 65_000:
            yield Blow(name, content)
