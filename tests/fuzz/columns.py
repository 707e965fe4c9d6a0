"""Target: batches of any bytes, straight to the protobuf decoder and what guards it.

An input is a list of payloads, each after its length in two bytes. What holds: the process
lives on; whether a payload can be read does not depend on its neighbours; and the columns of
a batch are those of its payloads, one behind the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.strategies import random_fleet

from fuzz.payloads import START_MS, births
from sparkplug.messages import is_suspect
from sparkplug.payload.columns import decode
from sparkplug.payload.forms import read_payloads
from sparkplug.pb.sparkplug_b_columns_pb2 import DESCRIPTOR
from sparkplug.pb.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = tuple(DESCRIPTOR.message_types_by_name["Metric"].fields_by_name)
MOST_PAYLOADS = 8


def payloads_of(data: bytes) -> Iterator[bytes]:
    """The payloads that an input stands for."""
    position = count = 0
    while position < len(data) and count < MOST_PAYLOADS:
        length = int.from_bytes(data[position : position + 2], "big")
        yield data[position + 2 : position + 2 + length]
        position += 2 + length
        count += 1


def run(data: bytes) -> None:
    """Raise if a property does not hold for this input."""
    payloads = list(payloads_of(data))
    together, bad = decode(payloads)
    alone = [decode([payload]) for payload in payloads]
    assert bad == [index for index, (_, refused) in enumerate(alone) if refused]
    good = [columns for columns, refused in alone if not refused]
    assert together.seq.tolist() == [int(columns.seq[0]) for columns in good]
    assert together.timestamp_ms.tolist() == [int(columns.timestamp_ms[0]) for columns in good]
    counts = [columns.metric_count for columns in good]
    assert together.metric_count == sum(counts)
    for name in FIELDS:
        column = together.metric(name)
        column.validate(full=True)
        # As text: NaN is NaN.
        expected = [value for each in good for value in each.metric(name).to_pylist()]
        assert repr(column.to_pylist()) == repr(expected)
    suspects = [index for index, payload in enumerate(payloads) if is_suspect(payload)]
    forms = read_payloads(
        payloads,
        suspects,
        max_inflated_bytes=2**16,
        max_opened_memory=2**20,
        max_metrics=10_000,
    )
    assert len(forms.columns.seq) == len(payloads) - len(forms.refused)
    assert forms.refused.keys() <= set(bad)


def joined(payloads: list[bytes]) -> bytes:
    """The input that stands for some payloads."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in payloads)


def seeds() -> list[bytes]:
    """Inputs to begin with: real payloads, and groups and lengths that made decoders stumble."""
    inputs = []
    for seed in range(4):
        (batch,) = random_fleet(seed, batches=1, messages=60)
        payloads = [each.payload for each in batch]
        inputs += [joined(payloads[first : first + 6]) for first in range(0, len(payloads), 6)]
    inputs.append(joined([each.payload for each in births()]))
    group, end = b"\x0b" * 300, b"\x0c" * 300
    deep = Payload(timestamp=START_MS).SerializeToString() + group + end
    long = b"\x12" + b"\xff" * 9 + b"\x01" + b"x"
    inputs += [joined([deep, long, b"\x12\x00" * 40]), joined([b"", b"\x12\x80\x80\x80\x80\x00"])]
    return inputs
