"""What the intake brings, in portions that take little memory to be decoded.

A giant, one message that takes more, is a portion by itself. It is committed in pieces, and
between these others have their turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.broker import InboxBatch, size_together
from sparkplug import MessageBatch, Topic, parse_topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from consumer.pipeline.intake import Intake
    from consumer.pipeline.source import Source
    from sparkplug import NodeKey

_MOST_PUT_OFF: Final = 4 << 20
"""Bytes of messages that wait for the end of a giant: with more no further batch is taken."""


class Giant(NamedTuple):
    """One message that takes much memory. `server` is the index of its server."""

    server: int
    node: NodeKey
    batch: InboxBatch


class Portions:
    """Batches of the intake in portions, in their order, but for what a giant lets pass.

    Used by the decoding thread.
    """

    def __init__(self, intake: Intake, sources: Sequence[Source]) -> None:
        self._intake = intake
        self._sources = sources
        self._upcoming: deque[InboxBatch | Giant] = deque()

    def take(self, timeout: float) -> bool:
        """Take the next batch, which may be empty; False: there will be none any more.

        It is not waited for that it fills up if `timeout` is 0.
        """
        batch = self._intake.take(timeout, at_once=timeout == 0)
        if batch is None:
            return False
        try:
            self._upcoming.extend(list(self.divided(batch)))
        except Exception:  # noqa: BLE001 - of memory; reading it is prepared for anything
            self._upcoming.append(batch)
        return True

    def __iter__(self) -> Iterator[InboxBatch | Giant]:
        """Portions of what was taken, each given once."""
        while self._upcoming:
            yield self._upcoming.popleft()

    def divided(self, batch: InboxBatch) -> Iterator[InboxBatch | Giant]:
        """The batch, divided if it would take much memory to be decoded at once."""
        kept = self._portions({i: MessageBatch(each) for i, each in batch.certificates.items()})
        heard = self._portions(batch.by_server)
        whole = len(kept) == len(batch.certificates) and len(heard) == len(batch.by_server)
        if whole and not any(is_giant for *_, is_giant in heard):
            yield batch
            return
        for index, messages, _ in kept:
            yield InboxBatch(certificates={index: list(messages)})
        for index, messages, is_giant in heard:
            portion = InboxBatch({index: messages})
            node = _node_of(messages.topics[0]) if is_giant else None
            yield portion if node is None else Giant(index, node, portion)
        if batch.lost:
            yield InboxBatch(lost=batch.lost)

    def _portions(
        self, by_server: Mapping[int, MessageBatch]
    ) -> list[tuple[int, MessageBatch, bool]]:
        return [
            (index, portion.messages, portion.is_giant)
            for index, messages in by_server.items()
            for portion in self._sources[index].fleet.portions(messages)
        ]

    def beside(self, giant: Giant) -> Beside:
        """Portions of others, to be taken between the pieces of a giant that is committed."""
        return Beside(self, self._upcoming, giant)


class Beside:
    """Portions of others than a giant's edge node, from time to time.

    What comes of that node, on whichever server, of a further giant, and of a server that brought
    certificates or whose connection was lost, is put off to the `end`.
    """

    def __init__(
        self, portions: Portions, upcoming: deque[InboxBatch | Giant], giant: Giant
    ) -> None:
        self._portions = portions
        self._upcoming = upcoming
        self._nodes = {giant.node}
        self._servers: set[int] = set()
        self._put_off: list[InboxBatch | Giant] = []
        self._size = 0

    def __iter__(self) -> Iterator[InboxBatch]:
        """Portions that are there now; at most one batch of the intake, which is not waited for."""
        if not self._upcoming and self._size <= _MOST_PUT_OFF:
            self._portions.take(0.0)
        for _ in range(len(self._upcoming)):
            others = self._others(self._upcoming.popleft())
            if others:
                yield others

    def end(self) -> None:
        """Let come what was put off, in its order."""
        self._upcoming.extendleft(reversed(self._put_off))

    def _others(self, portion: InboxBatch | Giant) -> InboxBatch:
        """The part of a portion that is not put off."""
        if isinstance(portion, Giant):
            self._nodes.add(portion.node)
            self._put(portion, portion.batch)
            return InboxBatch()
        if portion.lost or portion.certificates:
            self._servers |= portion.lost.keys() | portion.certificates.keys()
        others, late = (
            InboxBatch(),
            InboxBatch(certificates=portion.certificates, lost=portion.lost),
        )
        for server, messages in portion.by_server.items():
            late_messages, other_messages = self._divided(server, messages)
            if late_messages:
                late.by_server[server] = late_messages
            if other_messages:
                others.by_server[server] = other_messages
        if late:
            self._put(late, late)
        return others

    def _divided(self, server: int, messages: MessageBatch) -> tuple[MessageBatch, MessageBatch]:
        """Messages of a server that are put off to the end of the giant, and the others."""
        if server in self._servers:
            return messages, MessageBatch()
        late = {each for each in set(messages.topics) if _node_of(each) in self._nodes}
        if not late:
            return MessageBatch(), messages
        positions = [i for i, topic in enumerate(messages.topics) if topic in late]
        late_messages = messages.pick(positions)
        messages.leave_out(positions)
        return late_messages, messages

    def _put(self, portion: InboxBatch | Giant, batch: InboxBatch) -> None:
        self._put_off.append(portion)
        for messages in batch.by_server.values():
            self._size += size_together(messages.topics, messages.payloads)
        for kept in batch.certificates.values():
            self._size += size_together([m.topic for m in kept], [m.payload for m in kept])


def _node_of(topic: str) -> NodeKey | None:
    """The edge node whose messages, or whose devices', a topic has; None if it is no such topic."""
    read = parse_topic(topic)
    return (read.group_id, read.edge_node_id) if isinstance(read, Topic) else None
