"""What arrives, and what its topic and payload say before anything is known of its node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oracle.values import LAST_MILLISECOND
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.node import Gap
    from sparkplug.pb.sparkplug_b_columns_pb2 import Metric

NODE_MESSAGES = {"NBIRTH", "NDATA", "NDEATH", "NCMD"}
DEVICE_MESSAGES = {"DBIRTH", "DDATA", "DDEATH", "DCMD"}
BIRTHS = {"NBIRTH", "DBIRTH"}
DEATHS = {"NDEATH", "DDEATH"}
COMMANDS = {"NCMD", "DCMD"}


@dataclass
class Arrival:
    """One MQTT message as it was received; the time in microseconds since 1970 UTC."""

    topic: str
    payload: bytes
    received_at_us: int
    retained: bool = False
    server: str = "local"


@dataclass(frozen=True)
class Topic:
    group: str
    verb: str
    node: str
    device: str | None


@dataclass(eq=False)
class Message:
    """An arrival with a payload; of one that is `unread` only the seq is believed."""

    arrival: Arrival
    topic: Topic
    payload: Payload
    unread: bool = False
    number: int = 0  # place among all arrivals
    gap: Gap | None = None  # the last that was known when it was read, or that it was missing in
    is_in_gap: bool = False  # it stands within that gap, not behind it
    is_astray: bool = False  # it was late, and no gap explains it

    @property
    def is_empty(self) -> bool:
        return not self.arrival.payload

    @property
    def seq(self) -> int:
        # An absent seq reads as 0: encoders that drop zeros leave it out.
        return self.payload.seq % 256

    @property
    def sent_at(self) -> int | None:
        """The payload's timestamp in microseconds; None if there is none before the year 10000."""
        return time_us(self.payload.timestamp) if self.payload.HasField("timestamp") else None

    @property
    def sent_or_come(self) -> int:
        """The payload's timestamp, else the time of arrival."""
        return self.arrival.received_at_us if self.sent_at is None else self.sent_at

    @property
    def bd_seq(self) -> int | None:
        """The bdSeq of an NBIRTH or NDEATH; in a death the only metric needs no name."""
        found = None
        only = self.topic.verb == "NDEATH" and len(self.payload.metrics) == 1
        for metric in self.payload.metrics:
            if metric.name == "bdSeq" or (only and not metric.name):
                found = integer_of(metric)
        return found

    def with_metrics(self, metrics: Iterable[Metric]) -> Message:
        """All that is the payload's own, and these metrics."""
        payload = Payload()
        payload.CopyFrom(self.payload)
        payload.ClearField("metrics")
        payload.metrics.extend(metrics)
        arrival = replace(self.arrival, payload=payload.SerializeToString())
        return replace(self, arrival=arrival, payload=payload)


def sent_after(birth: Message, messages: Iterable[Message]) -> list[Message]:
    """Which of some messages say that they were sent after a birth.

    At the very time of the birth was sent what counts on from it.
    """
    born = birth.sent_at
    if born is None:
        return []
    timed = [m for m in messages if m.sent_at is not None and m.sent_at >= born]
    last = birth.seq
    while last != (birth.seq - 1) % 256 and any(
        m.sent_at == born and m.seq == (last + 1) % 256 for m in timed
    ):
        last = (last + 1) % 256
    counted_on = (last - birth.seq) % 256
    return [m for m in timed if m.sent_at != born or 0 < (m.seq - birth.seq) % 256 <= counted_on]


def nothing_is_missing_between(birth: Message, message: Message) -> bool:
    """Whether a birth from a gap is before a message for certain, with no hole in between."""
    gap, born, sent = birth.gap, birth.sent_at, message.sent_at
    if gap is None or gap is not message.gap or not birth.is_in_gap or gap.is_guessed:
        return False
    if born is not None and sent is not None and sent < born:
        return False
    assert gap.first is not None
    here = (birth.seq - gap.first) % 256
    there = (message.seq - gap.first) % 256 if message.is_in_gap else 256
    return here < there and not any(here < (seq - gap.first) % 256 < there for seq in gap.missing)


def is_after(message: Message, birth: Message | None, born_at: int | None) -> bool:
    """Whether a late message was sent after the birth of its owner, by its time or its gap.

    Known gaps are those of the present session. Without seq only its time can say that it is not.
    """
    if not message.payload.HasField("seq"):
        return born_at is None or message.sent_at is None or message.sent_at >= born_at
    if born_at is not None and message.sent_at is not None and message.sent_at > born_at:
        return True
    gap = message.gap
    if gap is None or not message.is_in_gap or gap.is_guessed:
        return False
    return message.topic.device is None or is_behind_birth_in(gap, message, birth)


def is_behind_birth_in(gap: Gap, message: Message, birth: Message | None) -> bool:
    """Whether a message of a known gap is behind the birth of its device."""
    if birth is None or birth.is_astray:
        return False
    if birth.gap is not gap:
        return birth.gap is None or birth.gap.order < gap.order
    assert gap.first is not None
    here, there = ((each.seq - gap.first) % 256 for each in (birth, message))
    return birth.is_in_gap and here < there


def parse_topic(topic: str) -> Topic | str | None:
    """The parts of a topic; the name of the reason to count it under; None for STATE."""
    levels = topic.split("/")
    if levels[0] != "spBv1.0" or any(not level or set(level) & set("+#") for level in levels):
        return "bad_topic"
    if len(levels) == 3 and levels[1] == "STATE":
        return None
    if len(levels) not in {4, 5}:
        return "bad_topic"
    _, group, verb, node, *rest = levels
    if verb not in NODE_MESSAGES | DEVICE_MESSAGES:
        return "unknown_verb"
    if (verb in DEVICE_MESSAGES) != bool(rest):
        return "bad_topic"
    return Topic(group, verb, node, rest[0] if rest else None)


def time_us(milliseconds: int) -> int | None:
    """Microseconds, or None after the year 9999."""
    return milliseconds * 1000 if milliseconds <= LAST_MILLISECOND else None


def integer_of(metric: Metric) -> int | None:
    if metric.is_null:
        return None
    if metric.HasField("int_value"):
        return metric.int_value
    if metric.HasField("long_value"):
        return metric.long_value
    return None
