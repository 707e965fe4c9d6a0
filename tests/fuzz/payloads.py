"""Target: any bytes as payloads of any kind of message, of nodes that are born.

An input is a list of pieces: a byte that says what message it is, the length of its payload
in two bytes, the payload. What holds: nothing is raised; what is kept stays within the
limits; messages of another node in the same batches are read as if nothing else were there;
and where the oracle can judge, rows and counts are the oracle's.
"""

from __future__ import annotations

import random
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from oracle import Arrival, Oracle
from oracle.comparison import REORDER_TIMEOUT, Columnar, assert_alike, judged_alike
from oracle.forms import COMPRESSED
from oracle.strategies import random_fleet
from oracle.wire import embedded, varint

from fuzz.bounded import assert_bounded
from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

START_US = 1_700_000_000_000_000
START_MS = START_US // 1000
VERBS = ("NDATA", "DDATA", "NBIRTH", "DBIRTH", "NDEATH", "DDEATH", "NDATA", "DDATA")
MOST_PIECES = 12
SEQ = b"\x18"  # key of the payload's seq; the last of several counts


class Piece(NamedTuple):
    """One message of an input.

    `in_order` gives it the seq that is expected, `new_batch` begins a batch with it,
    `retained` marks it as such, `form` wraps it (see `formed`).
    """

    verb: str
    payload: bytes
    in_order: bool
    new_batch: bool
    retained: bool
    form: int


def pieces_of(data: bytes) -> Iterator[Piece]:
    """The messages that an input stands for; every input stands for some."""
    position = count = 0
    while position < len(data) and count < MOST_PIECES:
        what, length = data[position], int.from_bytes(data[position + 1 : position + 3], "big")
        payload = data[position + 3 : position + 3 + length]
        position += 3 + length
        count += 1
        yield Piece(
            verb=VERBS[what & 7],
            payload=payload,
            in_order=what & 8 == 0,
            new_batch=what & 16 != 0,
            retained=what & 0xE0 == 0xE0,
            form=what >> 5,
        )


def piece(verb: str, payload: bytes, *, form: int = 0, new_batch: bool = False) -> bytes:
    """The bytes of one message of an input, in order."""
    what = VERBS.index(verb) | new_batch << 4 | form << 5
    return bytes([what]) + min(len(payload), 65_535).to_bytes(2, "big") + payload[:65_535]


def formed(payload: bytes, form: int) -> bytes:
    """The payload as it is, or in an envelope of one kind or another."""
    wbits = {3: 31, 4: 15, 5: -15}.get(form)
    if wbits is not None:
        stream = zlib.compressobj(wbits=wbits)
        body = stream.compress(payload) + stream.flush()
    elif form == 6:
        body = payload
    else:
        return payload
    return Payload(uuid=COMPRESSED, body=body).SerializeToString()


def births() -> list[Arrival]:
    """A node with a metric of every datatype, a device of it, and a node that is left alone."""
    node, device, other = (Payload(timestamp=START_MS, seq=seq) for seq in (0, 1, 0))
    node.metrics.add(name="bdSeq", datatype=DataType.Int64, long_value=3)
    for code in DataType:
        node.metrics.add(
            name=f"Tag {code}", alias=code, datatype=code, timestamp=START_MS, is_null=True
        )
    for code in (DataType.Int8, DataType.Double, DataType.String):
        device.metrics.add(name=f"Tag {code}", alias=40 + code, datatype=code, is_null=True)
    other.metrics.add(name="Level", alias=0, datatype=DataType.Double, double_value=-1.0)
    return [
        arrival("NBIRTH", node),
        arrival("DBIRTH", device),
        arrival("NBIRTH", other, node="Other"),
    ]


def arrival(
    verb: str, payload: Payload | bytes, *, node: str = "Edge 1", retained: bool = False
) -> Arrival:
    content = payload if isinstance(payload, bytes) else payload.SerializeToString()
    topic = f"spBv1.0/Plant/{verb}/{node}" + ("/Boiler" if verb[0] == "D" else "")
    return Arrival(topic, content, START_US, retained)


def run(data: bytes) -> None:
    """Raise if a property does not hold for this input."""
    judge = Oracle(reorder_timeout=REORDER_TIMEOUT)
    born = births()
    judge.feed(born)
    everything: list[list[Arrival]] = [born]
    judged: list[list[Arrival]] = [born]
    for number, each in enumerate(pieces_of(data)):
        content = formed(each.payload, each.form)
        if each.in_order:
            content += SEQ + varint(judge.nodes["local", "Plant", "Edge 1"].expected_seq)
        message = arrival(each.verb, content, retained=each.retained)
        if each.new_batch or number == 0:
            other = Payload(timestamp=START_MS, seq=len(everything) % 256)
            other.metrics.add(alias=0, double_value=number)
            alone = arrival("NDATA", other, node="Other")
            everything.append([alone])
            judged.append([alone])
            judge.feed([alone])
        everything[-1].append(message)
        # JSON that was changed by chance is JSON of any kind, which the oracle cannot follow.
        if content.lstrip()[:1] != b"{" and judged_alike(content):
            judged[-1].append(message)
            judge._arrived(message)  # within the batch that the other node's message began
    assert assert_bounded(everything)["Other"] == len(everything)
    columnar = Columnar("local", REORDER_TIMEOUT)
    for batch in judged:
        columnar.feed(batch, 0.0)
    assert_alike(columnar, judge)


def seeds() -> list[bytes]:
    """Inputs to begin with: what edge nodes send, in all forms."""
    rng = random.Random(1)
    inputs = []
    for seed in range(6):
        (batch,) = random_fleet(seed, batches=1, messages=60)
        known = [
            (verb, each.payload)
            for each in batch
            if (verb := each.topic.split("/")[2:3]) and verb[0] in VERBS
        ]
        for first, last in pairwise(range(0, len(known), 8)):
            form = rng.choice((0, 0, 0, 3, 4, 5))
            inputs.append(b"".join(piece(v[0], raw, form=form) for v, raw in known[first:last]))
    for code in DataType:
        for member in ("int_value", "long_value", "float_value", "double_value", "boolean_value"):
            payload = Payload(timestamp=START_MS)
            payload.metrics.add(alias=code, **{member: 1})
            inputs.append(piece("NDATA", payload.SerializeToString()))
        for number in (14, 15, 16, 17, 18, 19):
            raw = b"\x10" + varint(code) + varint(number << 3 | 2) + b"\x04\x0a\x02ab"
            inputs.append(piece("NDATA", embedded(raw)))
    inputs.append(piece("NDATA", b'{"timestamp":1,"seq":2,"metrics":[{"name":"Tag 3","value":4}]}'))
    return inputs
