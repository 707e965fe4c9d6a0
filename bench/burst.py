"""A burst of births: every edge node of a site is born at once, as after a power cut.

Run as a program, it reads births from a file that `write` made, sends them through decode,
normalize and encode, and prints what that cost, as JSON. `measure` does so in a fresh
process: what Arrow and numpy allocate is only seen in the resident memory of a process that
did nothing else before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.broker import BatchLimits, Inbox
from consumer.rows import EncodedRows, SourceNames, TagColumns, normalize
from sparkplug import Fleet, Message, MessageBatch
from sparkplug.pb.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES: Final = 500
METRICS_PER_NODE: Final = 1000
MOST_CPU_SECONDS: Final = 8.0
MOST_MEMORY_BYTES: Final = 500 * 2**20
"""Bounds that the project keeps for NODES births of METRICS_PER_NODE metrics each."""

_START_MS: Final = 1_700_000_000_000
_INT32, _INT64, _DOUBLE, _BOOLEAN, _STRING = 3, 4, 10, 11, 12
_TYPES: Final = (_DOUBLE, _DOUBLE, _INT32, _DOUBLE, _BOOLEAN, _DOUBLE, _INT32, _STRING)
_ROOT: Final = Path(__file__).parents[1]
_LENGTH: Final = struct.Struct("<I")
_BATCH: Final = BatchLimits(max_messages=5000, max_bytes=8 * 2**20, max_delay=3600.0)
"""The pipeline's own bounds of a batch; what is cut by time is measured one by one."""


class Cost(NamedTuple):
    """Of one burst: CPU of the process, growth of its resident memory at the highest point."""

    cpu_seconds: float
    memory_bytes: int
    rows: int

    @property
    def within_bounds(self) -> bool:
        """Whether it keeps to what the project promises."""
        return self.cpu_seconds <= MOST_CPU_SECONDS and self.memory_bytes <= MOST_MEMORY_BYTES


def births(nodes: int, metrics: int, *, properties: bool) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of one NBIRTH per node, the same on every run.

    Args:
        nodes: number of edge nodes, twenty to a group.
        metrics: per node, beside bdSeq.
        properties: each metric carries two, `Quality` and a `documentation` of its own, so
            that no two property sets are alike.
    """
    for node in range(nodes):
        payload = Payload(timestamp=_START_MS + node, seq=0)
        payload.metrics.add(name="bdSeq", timestamp=_START_MS, datatype=_INT64, long_value=0)
        for tag in range(metrics):
            metric = payload.metrics.add(
                name=f"Line {tag // 100 + 1}/Machine {tag // 10 % 10 + 1}/Measurement {tag + 1}",
                alias=tag,
                timestamp=_START_MS - tag,
                datatype=_TYPES[tag % len(_TYPES)],
            )
            match metric.datatype:
                case 10:
                    metric.double_value = node + tag / 7
                case 3:
                    metric.int_value = (tag - 500) % 2**32
                case 11:
                    metric.boolean_value = tag % 3 == 0
                case _:
                    metric.string_value = f"Recipe {tag % 50}"
            if properties:
                metric.properties.keys.extend(("Quality", "documentation"))
                metric.properties.values.add(type=_INT32, int_value=192)
                metric.properties.values.add(
                    type=_STRING, string_value=f"Measurement {tag + 1} of edge node {node + 1}"
                )
        topic = f"spBv1.0/Plant {node // 20 + 1}/NBIRTH/Edge {node % 20 + 1:02}"
        yield topic, payload.SerializeToString()


def write(path: Path, nodes: int, metrics: int, *, properties: bool) -> None:
    """Births as a file: pairs of topic and payload, each after its length."""
    with path.open("wb") as file:
        for topic, payload in births(nodes, metrics, properties=properties):
            for part in (topic.encode(), payload):
                file.write(_LENGTH.pack(len(part)) + part)


def measure(
    nodes: int = NODES,
    metrics: int = METRICS_PER_NODE,
    *,
    properties: bool = False,
    one_by_one: bool = False,
) -> Cost:
    """What a burst of births costs in a process of its own.

    With `one_by_one` each birth is a batch, as when they trickle in; else batches are as
    large as the pipeline lets them get.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "births"
        write(path, nodes, metrics, properties=properties)
        options = ["--one-by-one"] if one_by_one else []
        answer = subprocess.run(  # noqa: S603 - this program itself
            [sys.executable, __file__, str(path), *options],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},  # this checkout, whatever is installed
        )
    return Cost(**json.loads(answer.stdout))


def read(path: Path) -> Iterator[Message]:
    """The messages of a file of `write`, one at a time, as they would come from a socket."""
    with path.open("rb") as file:
        while length := file.read(_LENGTH.size):
            topic = file.read(*_LENGTH.unpack(length)).decode()
            payload = file.read(*_LENGTH.unpack(file.read(_LENGTH.size)))
            yield Message(topic, payload, (_START_MS + 5) * 1000)


def batches(messages: Iterator[Message], *, one_by_one: bool) -> Iterator[MessageBatch]:
    """The messages as the pipeline's inbox hands them over."""
    if one_by_one:
        yield from (MessageBatch([message]) for message in messages)
        return
    inbox = Inbox(2 * _BATCH.max_bytes, _BATCH, time.monotonic)
    queued = 0
    for message in messages:
        inbox.put(0, message)
        if inbox.queued_bytes < queued:
            raise AssertionError("a batch left by itself")
        queued = inbox.queued_bytes
        if queued >= _BATCH.max_bytes:
            full = inbox.take(0)
            assert full is not None
            yield full.by_server[0]
            queued = 0
    inbox.close()
    while (rest := inbox.take(0)) is not None:
        yield from rest.by_server.values()


def decode_all(path: Path, *, one_by_one: bool) -> int:
    """Births to encoded rows, as the pipeline does; return how many rows there were."""
    fleet = Fleet()
    tags = TagColumns(fleet.catalogue, SourceNames())
    rows = 0
    for batch in batches(read(path), one_by_one=one_by_one):
        # Kept until the batch is done: the pipeline commits all of them at once.
        encoded: list[EncodedRows] = []
        for observations in fleet.feed(batch).observations:
            events = normalize(observations, tags, rows + 1)
            encoded += [EncodedRows(part) for part in events.encode()]
            rows += len(events)
    return rows


def resident_bytes(*, peak: bool = False) -> int:
    """Resident memory of this process, at present or at its highest.

    Where there is no /proc the present is not known, and the highest stands for both.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    (line,) = (
        each for each in status.splitlines() if each.startswith("VmHWM" if peak else "VmRSS")
    )
    return int(line.split()[1]) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("births", type=Path, help="a file of births")
    parser.add_argument("--one-by-one", action="store_true", help="each birth is a batch")
    arguments = parser.parse_args()
    before, started = resident_bytes(), time.process_time()
    rows = decode_all(arguments.births, one_by_one=arguments.one_by_one)
    spent, highest = time.process_time() - started, resident_bytes(peak=True)
    cost = Cost(round(spent, 3), highest - before, rows)
    print(json.dumps(cost._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
