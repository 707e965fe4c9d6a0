"""A batch on its way through the fleet."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.structured_rows import Structured
from sparkplug.messages import MESSAGE_TYPES, MessageBatch
from sparkplug.names import BD_SEQ
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded
    from sparkplug.host.nodes.waiting import Waiting
    from sparkplug.host.observations import Began, StaleRows
    from sparkplug.host.turns import Turns
    from sparkplug.messages import Message
    from sparkplug.payload import PayloadColumns
    from sparkplug.topics import Topic

CODE: Final = {message_type: code for code, message_type in enumerate(MESSAGE_TYPES)}
"""Code of each message type: its index in MESSAGE_TYPES."""


@dataclass(slots=True)
class Batch:
    """Messages that passed the screening, with their decoded columns, and what they give."""

    decoded: Decoded
    messages: MessageBatch
    topic: NDArray[np.int64]  # index of a known data topic, ABSENT for all but known data topics
    parsed: dict[int, Topic]  # position -> topic, exactly where `topic` is ABSENT
    columns: PayloadColumns
    node: NDArray[np.int64]
    message_type: NDArray[np.uint8]
    unread: NDArray[np.bool_]  # messages whose metrics are not looked at
    ignition: NDArray[np.bool_]  # messages of a session that Ignition's module began
    tag: NDArray[np.int32]  # per metric
    returned: NDArray[np.bool_]  # per metric: the first birth value of a tag that was STALE
    names: list[str | None] | None  # per metric, None if no metric has a name
    recalled: int  # so many messages at the beginning have waited since an earlier batch
    placed: list[Waiting]  # what waits and is in this batch; first those that came earlier
    taken: NDArray[np.bool_]  # read messages, DDEATHs too; no NDEATH, whose payload is of CONNECT
    turns: Turns  # the order in which messages are read, and metrics of them that were held
    released: NDArray[np.bool_]  # messages that were held: what of them is unknown stays so
    late: NDArray[np.bool_]  # messages whose metrics are read late, or were held
    astray: NDArray[np.bool_]  # messages that are late without reason, if a birth would tell why
    counted: set[int]  # messages that are told of as quarantined or, in part, as read
    now: float  # when it is read, in seconds that pass
    structured: Structured = field(default_factory=Structured)
    began: list[Began] = field(default_factory=list)  # by births
    stale: list[StaleRows] = field(default_factory=list)  # of deaths

    def message_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Position of the message that each metric belongs to."""
        return np.searchsorted(self.columns.offsets, rows, side="right") - 1

    def rows(self, position: int) -> slice:
        """The metrics of one message."""
        return slice(int(self.columns.offsets[position]), int(self.columns.offsets[position + 1]))

    def ignition_of_metrics(self) -> NDArray[np.bool_]:
        """`ignition` per metric; what was held has its own."""
        flags = self.columns.per_metric(self.ignition)
        if self.turns.later:
            flags = flags.copy()
        for rows, flag, _ in self.turns.later:
            flags[rows] = flag
        return flags

    def late_of_metrics(self) -> NDArray[np.bool_] | None:
        """Per metric whether it is read late, or was held; None if none is."""
        if not self.turns.later and not count_nonzero(self.late):
            return None
        flags = self.columns.per_metric(self.late).copy()
        for rows, _, _ in self.turns.later:
            flags[rows] = True
        return flags

    def received_us(self) -> NDArray[np.int64]:
        """When each message came, microseconds since 1970 UTC; not to be written to."""
        return np.frombuffer(self.messages.received_us, dtype=np.int64)

    def seq(self, position: int) -> int:
        """Sequence number of a message, modulo 256; an absent one reads as 0."""
        return max(int(self.columns.seq[position]), 0) % 256

    def sent_ms(self, position: int) -> int:
        """Payload timestamp in milliseconds since 1970 UTC, ABSENT if there is none."""
        return int(self.columns.timestamp_ms[position])

    def open(self, position: int) -> None:
        """Let the metrics of a message be looked at, if its envelope can be opened."""
        self.unread[position] = self.columns.compressed[position]

    def give_turn(self, position: int) -> None:
        """Read a message now, after those that were read before it."""
        self.taken[position] = True
        self.turns.give(position)

    def part(self, position: int, rows: NDArray[np.int64]) -> Message:
        """A message with some metrics of this one: all that is the payload's own, and they."""
        message = self.messages[position]
        indices = (rows - self.columns.offsets[position]).tolist()
        return message._replace(payload=self.columns.part(position, indices))

    def bd_seq(self, position: int) -> int | None:
        """BdSeq of a birth or death, whichever integer field carries it.

        A death whose only metric has no name is taken to carry it: some publishers
        leave the name out and send the alias.
        """
        rows = self.rows(position)
        count = rows.stop - rows.start
        names = self.names[rows] if self.names is not None else [None] * count
        found = [index for index, metric in enumerate(names) if metric == BD_SEQ]
        if not found:
            is_death = self.message_type[position] == CODE[MessageType.NDEATH]
            if not is_death or count != 1 or names[0]:
                return None
            found = [0]
        for name in ("int_value", "long_value"):
            value = self.columns.metric(name)[rows.start + found[-1]].as_py()
            if value is not None:
                return int(value)
        return None


def apart_from_deaths(messages: MessageBatch) -> Iterator[MessageBatch]:
    """The batch in pieces, so that what a death changes holds for what comes after it only."""
    deaths = set(messages.deaths)
    for _, positions in groupby(range(len(messages)), key=deaths.__contains__):
        yield messages.pick(positions)


def is_birth(topic: str) -> bool:
    """Whether a topic of the grammar is that of an NBIRTH or DBIRTH."""
    return topic.split("/")[2:3] in (["NBIRTH"], ["DBIRTH"])


def one_by_one(lost: Sequence[Message], messages: MessageBatch) -> Iterator[MessageBatch]:
    """The batch in pieces, each of the lost births in one of its own."""
    payloads = {id(message.payload) for message in lost}
    alone = [id(payload) in payloads for payload in messages.payloads]
    positions = range(len(messages))
    for _, piece in groupby(positions, key=lambda position: alone[position] and position + 1):
        yield messages.pick(piece)


def look_up(
    tables: Sequence[dict[Any, int]], table: NDArray[np.int64], keys: Sequence[Any]
) -> NDArray[np.int32]:
    """Tag ids of keys, each in the table of that index; all at the speed of C."""
    chosen = map(tables.__getitem__, table.tolist())
    return np.fromiter(map(dict.get, chosen, keys, repeat(NO_TAG)), np.int32, len(keys))
