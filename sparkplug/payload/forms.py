"""A batch of payloads as columns, whatever form each of them comes in.

Plain protobuf is decoded as it is, in one go. Payloads in JSON are among those that do
not parse, compressed envelopes are marked by their uuid; both are replaced by the
protobuf that they stand for, and the batch is decoded again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.messages import Reason
from sparkplug.payload.columns import PayloadColumns, decode
from sparkplug.payload.envelope import EnvelopeProblem, open_envelope
from sparkplug.payload.json_payload import from_json, is_json
from sparkplug.payload.weight import METRIC_MEMORY, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_REASON: Final = {
    EnvelopeProblem.BAD_ENVELOPE: Reason.BAD_ENVELOPE,
    EnvelopeProblem.TOO_LARGE: Reason.ENVELOPE_TOO_LARGE,
}


@dataclass(slots=True)
class ReadPayloads:
    """What became of the payloads of a batch; positions are those in the batch.

    `columns` has all payloads but the `refused`, in their order. Of the `unopened`
    envelopes it has the outside: seq and timestamp, and `compressed` set.
    """

    columns: PayloadColumns
    refused: dict[int, Reason] = field(default_factory=dict)
    unopened: dict[int, Reason] = field(default_factory=dict)


def read_payloads(
    payloads: list[bytes],
    suspects: Sequence[int],
    *,
    max_inflated_bytes: int,
    max_opened_memory: int,
    max_metrics: int,
) -> ReadPayloads:
    """Decode a batch.

    One envelope may inflate to `max_inflated_bytes`, and to `max_metrics`; all envelopes of
    the batch together may take `max_opened_memory` when they are decoded, which is estimated
    from their size and, on the safe side, the number of their metrics. `payloads` stays as it is;
    `suspects` are the indices that `decode` wants to know.
    """
    columns, bad = decode(payloads, suspects)
    read = ReadPayloads(columns)
    if not bad and not count_nonzero(columns.compressed):
        return read
    plain = payloads.copy()
    _read_json(read, plain, bad)
    _open_envelopes(read, plain, max_inflated_bytes, max_opened_memory, max_metrics)
    return read


def _read_json(read: ReadPayloads, plain: list[bytes], bad: Iterable[int]) -> None:
    converted = []
    for position in bad:
        if not is_json(plain[position]):
            read.refused[position] = Reason.BAD_PAYLOAD
            continue
        found = from_json(plain[position])
        if isinstance(found, bytes):
            plain[position] = found
            converted.append(position)
        else:
            read.refused[position] = Reason.JSON_PAYLOAD
    if converted:
        for position in _decode_again(read, plain):
            read.refused[position] = Reason.JSON_PAYLOAD


def _open_envelopes(
    read: ReadPayloads,
    plain: list[bytes],
    max_inflated_bytes: int,
    memory: int,
    max_metrics: int,
) -> None:
    if not read.columns.compressed.any():
        return
    positions = _positions(read, plain)
    outside: dict[int, bytes] = {}
    for index in np.flatnonzero(read.columns.compressed).tolist():
        position = positions[index]
        found = open_envelope(plain[position], min(max_inflated_bytes, memory))
        if isinstance(found, bytes):
            cost = weight_of(found)
            if cost <= memory and cost - len(found) <= METRIC_MEMORY * max_metrics:
                memory -= cost
                outside[position], plain[position] = plain[position], found
                continue
            found = EnvelopeProblem.TOO_LARGE
        read.unopened[position] = _REASON[found]
    if not outside:
        return
    closed = _decode_again(read, plain)
    for position in closed:
        plain[position] = outside[position]
        read.unopened[position] = Reason.BAD_ENVELOPE
    if closed:
        _decode_again(read, plain)


def _decode_again(read: ReadPayloads, plain: list[bytes]) -> list[int]:
    """Columns of what is not refused; returns the positions of what does not parse."""
    positions = _positions(read, plain)
    read.columns, bad = decode([plain[position] for position in positions])
    return [positions[index] for index in bad]


def _positions(read: ReadPayloads, plain: list[bytes]) -> list[int]:
    """The positions of the payloads that the columns have."""
    return [position for position in range(len(plain)) if position not in read.refused]
