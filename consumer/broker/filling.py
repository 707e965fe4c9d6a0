"""A batch of messages while it is in the queue: it grows at its end, and may lose some again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from consumer.broker.shares import size_of
from sparkplug import Message, MessageBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.broker.shares import Eviction, Rank, Senders


class Columns(NamedTuple):
    """Messages of one server: its index, their topics, and their payloads in the same order."""

    server: int
    topics: Sequence[str]
    payloads: Sequence[bytes]


@dataclass(slots=True)
class InboxBatch:
    """Messages that the inbox hands over at once, by server; false when there is nothing.

    `certificates` are births that servers keep; they go before the messages. `lost` holds
    the servers whose connection ended after these messages, and when:
    microseconds since 1970 UTC.
    """

    by_server: dict[int, MessageBatch] = field(default_factory=dict)
    certificates: dict[int, list[Message]] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_server or self.certificates or self.lost)


class Filling:
    """A batch that messages are being added to, or that waits to be taken."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.taken = InboxBatch()
        self.count = 0
        self.size = 0

    def batch_of(self, server: int) -> MessageBatch:
        """The messages of a server."""
        batch = self.taken.by_server.get(server)
        if batch is None:
            batch = self.taken.by_server[server] = MessageBatch()
        return batch

    def columns(self) -> Iterator[Columns]:
        """All messages, by server."""
        for server, batch in self.taken.by_server.items():
            yield Columns(server, batch.topics, batch.payloads)
        for server, kept in self.taken.certificates.items():
            yield Columns(server, [each.topic for each in kept], [each.payload for each in kept])

    def evict(self, rank: Rank, eviction: Eviction, senders_of: Callable[[int], Senders]) -> None:
        """Let messages of a rank go, the newest first, as far as is to go."""
        taken = self.taken
        for server, batch in list(taken.by_server.items()):
            if gone := self._leaving(
                senders_of(server), batch.topics, batch.payloads, rank, eviction
            ):
                batch.leave_out(gone)
                if not batch.topics:
                    del taken.by_server[server]
        for server, kept in list(taken.certificates.items()):
            topics, payloads = [m.topic for m in kept], [m.payload for m in kept]
            for position in self._leaving(senders_of(server), topics, payloads, rank, eviction):
                del kept[position]  # the last one first
            if not kept:
                del taken.certificates[server]

    def _leaving(
        self,
        senders: Senders,
        topics: Sequence[str],
        payloads: Sequence[bytes],
        rank: Rank,
        eviction: Eviction,
    ) -> list[int]:
        """Positions of what goes, the last one first."""
        over = eviction.over
        leaving = {}
        for topic in set(topics):
            sender, its_rank = senders[topic]
            if its_rank is rank and sender in over:
                leaving[topic] = sender
        gone: list[int] = []
        if not leaving:
            return gone
        for position in range(len(topics) - 1, -1, -1):
            whose = leaving.get(topics[position])
            if whose is not None and whose in over:
                size = size_of(topics[position], payloads[position])
                eviction.note(whose, size)
                gone.append(position)
                self.count -= 1
                self.size -= size
                if eviction.is_done:
                    break
        return gone
