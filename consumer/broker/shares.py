"""Who has how much waiting in a queue that was full, and how much of it one may have.

A *sender* is an edge node behind one server, devices included. Whatever else comes from a server
(STATE, topics that are none of Sparkplug's) is one sender more. Senders are texts, because there
may be as many as messages: the server's index, the group id and the edge node id with slashes
between them, which none of them contains.
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug import CERTIFICATE_PREFIX, MAX_TOPIC_CHARACTERS, NAMESPACE, MessageType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OVERHEAD: Final = 400
"""Bytes that a queued message costs beside its payload, with a topic of usual length."""
_USUAL_TOPIC: Final = 200
_CHARACTER_BYTES: Final = 4
"""A character takes one, two or four bytes in memory."""
_MOST_TOPICS: Final = 1 << 16
"""Topics of which it is remembered whose they are, at some 300 bytes each."""


class Rank(IntEnum):
    """How hard it is to do without a message; what is less hard is refused first.

    A hole in the values shows in `seq` and is mended by a rebirth; without its birth nothing
    of a node can be read, and without its death it looks alive.
    """

    VALUE = 0
    BIRTH = 1
    DEATH = 2


_RANKS: Final[dict[str, Rank]] = {
    MessageType.NBIRTH: Rank.BIRTH,
    MessageType.DBIRTH: Rank.BIRTH,
    MessageType.NDEATH: Rank.DEATH,
    MessageType.DDEATH: Rank.DEATH,
}


class Sender(NamedTuple):
    """Who sends on a topic, and how hard it is to do without what comes there."""

    name: str
    rank: Rank


class ServerNode(NamedTuple):
    """An edge node, as `group id/edge node id`, behind the server of this index.

    `node` is empty for what is of none.
    """

    server: int
    node: str


def sender_of(server: int, topic: str) -> Sender:
    """The sender of messages on a topic of a server, and how hard it is to do without them."""
    tokens = topic.removeprefix(CERTIFICATE_PREFIX).split("/", 5)
    if len(tokens) in (4, 5) and tokens[0] == NAMESPACE and len(topic) <= MAX_TOPIC_CHARACTERS:
        return Sender(f"{server}/{tokens[1]}/{tokens[3]}", _RANKS.get(tokens[2], Rank.VALUE))
    return Sender(f"{server}/", Rank.VALUE)


class Senders(dict[str, Sender]):
    """`sender_of` for the topics of one server, each read once; what is very many, each time."""

    def __init__(self, server: int) -> None:
        super().__init__()
        self._server = server

    def __missing__(self, topic: str) -> Sender:
        found = sender_of(self._server, topic)
        if len(self) < _MOST_TOPICS and len(topic) <= _USUAL_TOPIC:
            self[topic] = found
        return found


def node_of(sender: str) -> ServerNode:
    """The edge node, and its server, that a sender of this name is."""
    server, _, node = sender.partition("/")
    return ServerNode(int(server), node)


def size_of(topic: str, payload: bytes) -> int:
    """Bytes that a message counts in the queue: its payload, overhead, and a long topic."""
    size = len(payload) + _OVERHEAD
    if len(topic) > _USUAL_TOPIC:
        size += _CHARACTER_BYTES * (len(topic) - _USUAL_TOPIC)
    return size


def size_together(topics: Sequence[str], payloads: Sequence[bytes]) -> int:
    """The sum of `size_of` of some messages."""
    size = sum(map(len, payloads)) + _OVERHEAD * len(payloads)
    if max(map(len, topics), default=0) > _USUAL_TOPIC:
        long = (len(topic) - _USUAL_TOPIC for topic in topics if len(topic) > _USUAL_TOPIC)
        size += _CHARACTER_BYTES * sum(long)
    return size


def fair_level(shares: Iterable[int], room: int) -> int:
    """The most bytes that one may have, if shares are cut down to it until all fit into `room`.

    The largest share, if they fit as they are; 0 if there is none.
    """
    level = 0
    ascending = sorted(shares)
    for number, share in enumerate(ascending):
        level = room // (len(ascending) - number)
        if share > level:
            return level
        room -= share
        level = share
    return level


class Shares:
    """Bytes that wait of each sender, kept while the queue is, or was just, full.

    `level` is what one may have once the queue is nearly full; whoever would have more is one
    of those with most bytes waiting.
    """

    def __init__(self) -> None:
        self.level = 0
        self._of: dict[str, int] = {}

    def of(self, sender: str) -> int:
        """Bytes of one sender that wait."""
        return self._of.get(sender, 0)

    def charge(self, sender: str, size: int) -> None:
        """Count bytes of a sender that wait from now on."""
        self._of[sender] = self._of.get(sender, 0) + size

    def charge_all(
        self, senders: Senders, topics: Sequence[str], payloads: Sequence[bytes]
    ) -> None:
        """Count messages of a server that wait from now on."""
        for sender, size in _sizes(senders, topics, payloads):
            self.charge(sender, size)

    def release_all(
        self, senders: Senders, topics: Sequence[str], payloads: Sequence[bytes]
    ) -> None:
        """Take off messages of a server that wait no longer."""
        for sender, size in _sizes(senders, topics, payloads):
            self.release(sender, size)

    def release(self, sender: str, size: int) -> None:
        """Take off bytes of a sender that wait no longer."""
        left = self._of[sender] - size
        if left:
            self._of[sender] = left
        else:
            del self._of[sender]

    def level_for(self, room: int) -> int:
        """The fair level if so many bytes are to be left waiting."""
        return fair_level(self._of.values(), room)

    def beyond(self, level: int) -> dict[str, int]:
        """Senders with more than `level` bytes waiting, and by how many bytes each has more."""
        return {sender: size - level for sender, size in self._of.items() if size > level}


class Eviction:
    """Messages that are let go from a full queue: what is still to go, and what has gone.

    Args:
        over: bytes that each sender has waiting beyond what it may.
        wanted: bytes that are to go in all; more do not.

    Attributes:
        messages: how many messages went, by sender.
        sizes: how many bytes went, by sender.
    """

    def __init__(self, over: dict[str, int], wanted: int) -> None:
        self.over = over
        self.wanted = wanted
        self.messages: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    @property
    def is_done(self) -> bool:
        """Whether enough messages were let go, or no sender has too much any more."""
        return self.wanted <= 0 or not self.over

    def note(self, sender: str, size: int) -> None:
        """Take down that a message of `size` bytes goes."""
        self.wanted -= size
        self.messages[sender] = self.messages.get(sender, 0) + 1
        self.sizes[sender] = self.sizes.get(sender, 0) + size
        left = self.over[sender] - size
        if left > 0:
            self.over[sender] = left
        else:
            del self.over[sender]


def _sizes(
    senders: Senders, topics: Sequence[str], payloads: Sequence[bytes]
) -> Iterable[tuple[str, int]]:
    """Pairs of a sender and the bytes its messages count; a sender may come several times."""
    by_topic: dict[str, int] = {}
    for topic, payload in zip(topics, payloads, strict=True):
        by_topic[topic] = by_topic.get(topic, 0) + len(payload)
    for topic, count in Counter(topics).items():
        yield senders[topic].name, by_topic[topic] + count * size_of(topic, b"")
