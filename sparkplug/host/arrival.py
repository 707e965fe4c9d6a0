"""One message of a batch, where a node is read message by message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparkplug.messages import Quarantined, Reason, RebirthRequest

if TYPE_CHECKING:
    from sparkplug.host.batch import Batch
    from sparkplug.host.nodes.waiting import NodeKey
    from sparkplug.messages import Message
    from sparkplug.topics import Topic


@dataclass(frozen=True, slots=True)
class Arrival:
    """The message at a position of a batch, with its topic."""

    batch: Batch
    position: int
    topic: Topic

    @property
    def key(self) -> NodeKey:
        """Group id and edge node id of its node."""
        return self.topic.group_id, self.topic.edge_node_id

    @property
    def message(self) -> Message:
        """The message as it came."""
        return self.batch.messages[self.position]

    @property
    def received_us(self) -> int:
        """When it came, microseconds since 1970 UTC."""
        return self.batch.messages.received_us[self.position]

    @property
    def rows(self) -> slice:
        """Its metrics among those of the batch."""
        return self.batch.rows(self.position)

    @property
    def seq(self) -> int:
        """Its sequence number, modulo 256; an absent one reads as 0."""
        return self.batch.seq(self.position)

    @property
    def sent_ms(self) -> int:
        """Its payload timestamp in milliseconds since 1970 UTC, ABSENT if it has none."""
        return self.batch.sent_ms(self.position)

    @property
    def bd_seq(self) -> int | None:
        """The bdSeq of a birth or death, whichever integer field carries it."""
        return self.batch.bd_seq(self.position)

    @property
    def is_unread(self) -> bool:
        """Whether its metrics are not looked at."""
        return bool(self.batch.unread[self.position])

    @property
    def is_nameless(self) -> bool:
        """Whether it has metrics, and none of them a name: such a birth declares nothing."""
        rows = self.rows
        names = None if self.batch.names is None else self.batch.names[rows]
        return rows.stop > rows.start and not any(names or ())

    def skip(self) -> None:
        """Do not look at its metrics."""
        self.batch.unread[self.position] = True

    def count_read(self) -> None:
        """It was read, whether or not it gives rows."""
        if self.position not in self.batch.counted:
            self.batch.decoded.read += 1

    def discard(self, reason: Reason) -> None:
        """It is of no use, and not kept."""
        self.skip()
        self.batch.decoded.counts[reason] += 1
        if self.position not in self.batch.counted:
            self.batch.decoded.discarded[reason] += 1

    def stay_closed(self) -> None:
        """Its envelope cannot be opened; if it could before, among others, say so now."""
        if self.position not in self.batch.counted:
            self.refuse(Reason.ENVELOPE_TOO_LARGE)

    def refuse(self, reason: Reason) -> None:
        """Do not read it, but keep it as it came."""
        self.skip()
        self.batch.decoded.counts[reason] += 1
        self.batch.decoded.quarantined.append(Quarantined(self.message, reason))

    def ask_for_birth(self, reason: Reason) -> None:
        """It cannot be read without one: count it, and wish for a rebirth of its node."""
        self.batch.decoded.counts[reason] += 1
        of_device = reason is Reason.DEVICE_DATA_BEFORE_BIRTH
        subjects = (self.topic.device_id or "",) if of_device else ()
        self.batch.decoded.rebirths.append(RebirthRequest(*self.key, reason, subjects))
