"""Target: messages lost, doubled, delayed and out of order, as time passes.

Two edge nodes with a device each say simple things by the rules; what happens to their
messages is the input, three bytes for each. What holds: nothing is raised, what is kept
stays bounded, and rows, counts, gaps and dead letters are the oracle's. `Story` can be told
step by step as well, by the state machine of hypothesis in `machine.py`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from oracle import Arrival, Oracle
from oracle.comparison import REORDER_TIMEOUT, Columnar, assert_alike

from fuzz.bounded import assert_bounded
from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Payload

START_MS: Final = 1_700_000_000_000
ACTIONS: Final = (
    *("NDATA", "NDATA", "NDATA", "DDATA", "DDATA", "DDATA", "NBIRTH", "DBIRTH"),
    *("DDEATH", "NDEATH", "NBIRTH", "DBIRTH", "release", "pass", "restart", "host"),
)
"""What the low half of the first byte stands for.

`release` lets come what was kept back, `pass` is time, `restart` the edge node's,
unannounced, and `host` a lost connection or a restart of the consumer.
"""
FATES: Final = ("sent", "lost", "kept back", "doubled", "again later", "astray")
PAUSES: Final = (0.0, 0.0, 0.75, 3.0)
PASSING: Final = (0.125, 1.0, 2.5, 700.0)
"""Seconds, in numbers whose sums are exact: no reader is to be later than the other by rounding."""
SKEWS: Final = (0, -5_000, None, 5_000)
"""Milliseconds between when a message says it was sent and the truth; None says nothing."""


class Step(NamedTuple):
    """One action, what becomes of its message, and what the message is like."""

    action: int
    node: int
    fate: int
    seq: int  # of a message that went astray
    pause: int
    new_batch: bool
    by: int  # how data names its metric
    skew: int

    def to_bytes(self) -> bytes:
        """The three bytes of an input that stand for this step."""
        fate = self.fate if self.fate < 5 else 16 + self.seq % 240
        last = self.pause | self.new_batch << 2 | self.by << 3 | self.skew << 6
        return bytes([self.action | self.node << 4, fate, last])

    @classmethod
    def from_bytes(cls, raw: bytes) -> Step:
        """The step of any three bytes."""
        first, fate, last = raw
        astray = fate >= 16
        return cls(
            action=first & 15,
            node=first >> 4 & 1,
            fate=FATES.index("astray") if astray else fate % 5,
            seq=fate - 16 if astray else 0,
            pause=last & 3,
            new_batch=last >> 2 & 1 == 1,
            by=last >> 3 & 7,
            skew=last >> 6 & 3,
        )


@dataclass
class _Node:
    """An edge node, as it sees itself."""

    name: str
    seq: int = 0
    bd_seq: int = 0
    births: int = 0
    kept_back: list[Arrival] = field(default_factory=list)


class Story:
    """What was sent and what came of it. Both readers get it batch by batch."""

    def __init__(self) -> None:
        self.nodes = [_Node("Edge 1"), _Node("Edge 2")]
        self.now = 0.0
        self.value = 0
        self.arrived = 0
        self.batch: list[Arrival] = []
        self.batches: list[list[Arrival]] = []
        self.oracle = Oracle(reorder_timeout=REORDER_TIMEOUT)
        self.columnar = Columnar("local", REORDER_TIMEOUT)

    def act(self, step: Step) -> None:
        """Let one thing happen."""
        node, action = self.nodes[step.node], ACTIONS[step.action]
        self.now += PAUSES[step.pause]
        if step.new_batch:
            self.deliver()
        if action == "release":
            self.batch += node.kept_back
            node.kept_back = []
        elif action == "pass":
            self.deliver()
            self.now += PASSING[step.by & 3]
            self.oracle.tick(self.now)
            self.columnar.tick(self.now)
        elif action == "host":
            self.deliver()
            for reader in (self.oracle, self.columnar):
                happens = reader.restart if step.by & 1 else reader.connection_lost
                happens(self.now)
        elif action == "restart":
            node.seq, node.bd_seq = 0, (node.bd_seq + 1) % 256
        else:
            self._send(node, self._message(node, action, step), step)

    def _message(self, node: _Node, verb: str, step: Step) -> Arrival:
        """What an edge node says: births declare three tags, data gives a value of one."""
        skew = SKEWS[step.skew]
        sent_ms = START_MS + round(self.now * 1000)
        payload = Payload(timestamp=None if skew is None else sent_ms + skew)
        self.value += 1
        if verb == "NBIRTH":
            node.seq = 0
            node.bd_seq = (node.bd_seq + step.by % 2) % 256
        if FATES[step.fate] == "astray":
            payload.seq = step.seq % 256
        elif verb != "NDEATH":
            payload.seq = node.seq
            node.seq = (node.seq + 1) % 256
        if verb in ("NBIRTH", "NDEATH"):
            payload.metrics.add(name="bdSeq", datatype=DataType.Int64, long_value=node.bd_seq)
        first_alias = 10 if verb[0] == "D" else 0
        if verb.endswith("BIRTH"):
            node.births += step.by >> 2  # the aliases move
            for tag in range(3):
                metric = payload.metrics.add(name=f"Tag {tag}", datatype=DataType.Double)
                metric.alias = first_alias + (tag + node.births) % 3
        elif verb.endswith("DATA"):
            payload.metrics.add(**_named(step.by, first_alias))
        for metric in payload.metrics:
            if metric.name != "bdSeq":
                metric.timestamp, metric.double_value = sent_ms, self.value
        device = "/Boiler" if verb[0] == "D" else ""
        topic = f"spBv1.0/Plant/{verb}/{node.name}{device}"
        return Arrival(topic, payload.SerializeToString(), sent_ms * 1000 + self.value)

    def _send(self, node: _Node, message: Arrival, step: Step) -> None:
        match FATES[step.fate]:
            case "sent" | "astray":
                self.batch.append(message)
            case "kept back":
                node.kept_back.append(message)
            case "doubled":
                self.batch += [message, message]
            case "again later":
                self.batch.append(message)
                node.kept_back.append(message)

    def deliver(self) -> None:
        """Hand over what has come as one batch."""
        if not self.batch:
            return
        # The time of arrival is of the moment, also for what was kept back, and never the same.
        moment = (START_MS + round(self.now * 1000)) * 1000 + self.arrived
        batch = [
            Arrival(each.topic, each.payload, moment + number)
            for number, each in enumerate(self.batch)
        ]
        self.arrived += len(batch)
        self.oracle.feed(batch, self.now)
        self.columnar.feed(batch, self.now)
        self.batches.append(batch)
        self.batch = []

    def end(self) -> None:
        """Wait for all that is waited for, then compare."""
        self.deliver()
        for seconds in (REORDER_TIMEOUT, 1000.0):
            self.now += seconds
            self.oracle.tick(self.now)
            self.columnar.tick(self.now)
        assert self.columnar.fleet.gauges.held_messages == 0
        assert_alike(self.columnar, self.oracle)
        assert_bounded(self.batches)


def _named(by: int, first_alias: int) -> dict[str, Any]:
    """How data names its metric: by alias, by name, or by what stands for nothing of its own."""
    if by <= 2:
        return {"alias": first_alias + by}
    return (
        {"name": "Tag 0"},
        {"name": "Tag 1"},
        {"alias": 99},
        {"name": "Never declared"},
        {"alias": 10 - first_alias},  # of the node in a device's data, and the other way round
    )[by - 3]


def run(data: bytes) -> None:
    """Raise if a property does not hold for this input."""
    story = Story()
    for start in range(0, len(data) - 2, 3):
        story.act(Step.from_bytes(data[start : start + 3]))
    story.end()


def seeds() -> list[bytes]:
    """Inputs to begin with: plain stories, and some with a little of everything."""
    rng = random.Random(2)
    plain = [
        Step(ACTIONS.index(action), node, 0, 0, 0, False, 0, 0)
        for action in ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "NDATA", "DDEATH", "DBIRTH", "NDEATH")
        for node in (0, 1)
    ]
    stories = [plain]
    for _ in range(20):
        story = []
        for step in plain * 3:
            if rng.random() < 0.6:
                step = step._replace(action=rng.choice((0, 3, 6, 7, 8, 9, 12, 13, 14, 15)))  # noqa: PLW2901
            story.append(
                step._replace(
                    fate=rng.choice((0, 0, 0, 0, 1, 2, 3, 4, 5)),
                    seq=rng.randrange(240),
                    pause=rng.randrange(4),
                    new_batch=rng.random() < 0.3,
                    by=rng.randrange(8),
                    skew=rng.choice((0, 0, 0, 1, 2, 3)),
                )
            )
        stories.append(story)
    return [b"".join(step.to_bytes() for step in story) for story in stories]
