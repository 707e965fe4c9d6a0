"""The queue between the MQTT connections and the pipeline: bounded in bytes, taken in batches."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from consumer.broker.filling import Filling, InboxBatch
from consumer.broker.shares import (
    Eviction,
    Rank,
    Senders,
    Shares,
    node_of,
    size_of,
    size_together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sparkplug import Message

_KEPT_FREE: Final = 8
"""The bound divided by this is free again after messages of a full queue were let go.

It is for the senders that have less waiting than others.
"""
_COUNTED_ABOVE: Final = 2
"""Bytes are counted by sender until the queue holds less than its bound divided by this."""


HURRY_SECONDS: Final = 5.0
"""While a connection is so new no batch waits for more: births may have to be asked for."""

FEW_MESSAGES: Final = 100
"""A batch costs the same whether it has one message or so many: it may wait a little for more."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is handed over when the first of these is reached: count, bytes, seconds.

    While it has fewer than `FEW_MESSAGES` it waits until `quiet_delay` seconds have passed since
    the one before was, if that is longer: what comes after a silence does not wait for more.
    """

    max_messages: int
    max_bytes: int
    max_delay: float
    quiet_delay: float = 0.0


class Inbox:
    """Messages of all servers in order of arrival. Any thread puts, one thread takes.

    A message that does not fit is never waited for: a blocked MQTT reader would make the
    server drop messages without a trace, and miss its keep-alive. Something is refused, and
    that is taken from the senders (see shares.py) with most bytes waiting: the arriving
    message if it is one of theirs, else the newest of what they have in the queue, values
    before births before deaths, until an eighth of the room is free. That eighth is for
    those who have less waiting, so that letting go, which looks through the whole queue, is
    rare. Who has how much is counted only from the moment the queue is full until it is half
    empty; before, a message costs no more than its place in a column.

    Args:
        max_bytes: bound of everything queued.
        limits: when a batch is handed over.
        clock: monotonic seconds.
        count_refused: called by whoever puts, with the index of a server, and how many
            messages of each of its edge nodes (`group id/edge node id`; empty for what is of
            none) were refused, arriving or already queued.
    """

    def __init__(
        self,
        max_bytes: int,
        limits: BatchLimits,
        clock: Callable[[], float],
        count_refused: Callable[[int, Mapping[str, int]], None] = lambda _server, _nodes: None,
    ) -> None:
        self._max_bytes = max_bytes
        self._spare_bytes = max_bytes // _KEPT_FREE
        self._limits = limits
        self._clock = clock
        self._count_refused = count_refused
        self._full: deque[Filling] = deque()
        self._filling: Filling | None = None
        self._bytes = 0
        self._shares: Shares | None = None  # while the queue is, or was just, full
        self._senders: dict[int, Senders] = {}  # by server, as long
        self._taken_bytes = 0  # since the fair level was worked out
        self._lost: set[int] = set()  # whose end is queued, with nothing of theirs behind it
        self._closed = self._woken = False
        self._waits_for_more = False  # whoever takes, although its batch has waited long enough
        self._handed_at = self._hurried_until = -math.inf
        self._condition = threading.Condition()

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting to be taken."""
        return self._bytes

    def hurry(self) -> None:
        """For some seconds no batch waits for more: a connection was made.

        Births may have to be asked for, and until they come much of the data cannot be read.
        """
        with self._condition:
            self._hurried_until = self._clock() + HURRY_SECONDS

    # ------------------------------------------------------------------ in

    def put(self, server: int, message: Message, *, certificate: bool = False) -> bool:
        """Add one message of a server (its index); False if it is refused.

        A certificate is a birth that the server keeps.
        """
        topic, payload = message.topic, message.payload
        size = size_of(topic, payload)
        refused: dict[str, int] = {}
        with self._condition:
            fits = self._shares is None and self._bytes + size <= self._max_bytes
            if fits:
                self._bytes += size
            else:
                fits = self._admit(*self._senders_of(server)[topic], size, refused)
            if fits:
                filling = self._filling_for(server)
                if certificate:
                    filling.taken.certificates.setdefault(server, []).append(message)
                else:
                    filling.batch_of(server).append(message)
                self._add(filling, 1, size)
        self._tell(refused)
        return fits

    def put_many(
        self,
        server: int,
        topics: Sequence[str],
        payloads: Sequence[bytes],
        received_us: int,
        *,
        retained: bool = False,
    ) -> int:
        """Add messages that came together; none is a certificate, or on the topic of a death.

        Each is kept or refused as if it had come alone; together they cost less.

        Args:
            server: index of the MQTT server in the configuration.
            topics: one for each message.
            payloads: one for each message, in the same order.
            received_us: when they came, microseconds since 1970 UTC.
            retained: whether the server had kept them.

        Returns:
            How many of them were refused when they arrived.
        """
        size = size_together(topics, payloads)
        refused: dict[str, int] = {}
        with self._condition:
            if self._shares is None and self._bytes + size <= self._max_bytes:
                self._bytes += size  # so all of them have room
                self._append(server, topics, payloads, received_us, retained=retained)
                return 0
            count = 0
            senders = self._senders_of(server)
            part: tuple[list[str], list[bytes]] = [], []
            for topic, payload in zip(topics, payloads, strict=True):
                size = size_of(topic, payload)
                if self._bytes + size > self._max_bytes and part[0]:
                    # What was admitted must be in the queue, where it may have to go again.
                    self._append(server, *part, received_us, retained=retained)
                    part = [], []
                if self._admit(*senders[topic], size, refused):
                    part[0].append(topic)
                    part[1].append(payload)
                else:
                    count += 1
            self._append(server, *part, received_us, retained=retained)
        self._tell(refused)
        return count

    def _append(
        self,
        server: int,
        topics: Sequence[str],
        payloads: Sequence[bytes],
        received_us: int,
        *,
        retained: bool,
    ) -> None:
        """Put messages that have room into batches. Under the lock."""
        start = 0
        while start < len(topics):
            filling = self._filling_for(server)
            end = start + self._limits.max_messages - filling.count
            part = topics[start:end], payloads[start:end]
            size = size_together(*part)
            room = self._limits.max_bytes - filling.size
            if size > room:
                # Up to the message with which the batch is full, and that one.
                count = bisect_left(list(accumulate(map(size_of, *part))), room) + 1
                part = part[0][:count], part[1][:count]
                size = size_together(*part)
            filling.batch_of(server).extend(*part, received_us, retained=retained)
            self._add(filling, len(part[0]), size)
            start += len(part[0])

    def _filling_for(self, server: int) -> Filling:
        """The batch that a message of a server goes to. Under the lock."""
        self._lost.discard(server)
        filling = self._filling
        if filling is None:
            filling = self._filling = Filling(self._clock())
            self._condition.notify()
        return filling

    def _add(self, filling: Filling, count: int, size: int) -> None:
        """Count what went to the batch, and hand it over if it is full. Under the lock."""
        filling.count += count
        filling.size += size
        limits = self._limits
        if filling.count >= limits.max_messages or filling.size >= limits.max_bytes:
            self._full.append(filling)
            self._filling = None
            self._condition.notify()
        elif self._waits_for_more and filling.count >= FEW_MESSAGES:
            self._condition.notify()

    def put_lost(self, server: int, at_us: int) -> None:
        """Note that the connection to a server ended, after all that it has delivered.

        Ends with no message between them are one while they wait: this is bounded like the
        messages.
        `at_us` is microseconds since 1970 UTC.
        """
        with self._condition:
            if server in self._lost:
                return
            self._lost.add(server)
            filling = self._filling or Filling(self._clock())
            filling.taken.lost[server] = at_us
            self._full.append(filling)  # what comes next is of another connection
            self._filling = None
            self._condition.notify()

    # ------------------------------------------------------------------ when it is full

    def _admit(self, sender: str, rank: Rank, size: int, refused: dict[str, int]) -> bool:
        """Whether a message has room, or is given some; its bytes are counted then.

        Messages that are refused are added to `refused`, by sender. Under the lock.
        """
        after = self._bytes + size
        shares = self._shares
        if shares is None and size <= self._max_bytes < after:
            shares = self._shares = self._count_shares()
        if size > self._max_bytes:
            fits = False
        elif shares is None:
            fits = True
        elif after <= self._max_bytes - self._spare_bytes:
            # All that waits fits as it is: the level is the largest share.
            shares.level = max(shares.level, shares.of(sender) + size)
            fits = True
        elif rank is Rank.VALUE and shares.of(sender) + size > shares.level:
            fits = False
        else:
            fits = after <= self._max_bytes or self._make_room(shares, sender, rank, size, refused)
        if fits:
            self._bytes += size
            if shares is not None:
                shares.charge(sender, size)
        else:
            refused[sender] = refused.get(sender, 0) + 1
        return fits

    def _count_shares(self) -> Shares:
        """Count who has how much in the whole queue. Under the lock."""
        shares = Shares()
        for filling in self._waiting():
            for server, topics, payloads in filling.columns():
                shares.charge_all(self._senders_of(server), topics, payloads)
        self._work_out_level(shares)
        return shares

    def _senders_of(self, server: int) -> Senders:
        """The table that names the sender of each topic of a server. Under the lock."""
        senders = self._senders.get(server)
        if senders is None:
            senders = self._senders[server] = Senders(server)
        return senders

    def _work_out_level(self, shares: Shares) -> None:
        shares.level = shares.level_for(self._max_bytes - self._spare_bytes)
        self._taken_bytes = 0

    def _waiting(self) -> list[Filling]:
        return [*self._full, self._filling] if self._filling is not None else [*self._full]

    def _make_room(
        self, shares: Shares, sender: str, rank: Rank, size: int, refused: dict[str, int]
    ) -> bool:
        """Let messages of those with most waiting go; whether the arriving one then fits.

        It does not if its sender is one of them, unless it is a birth or a death. Each time an
        eighth of the room, or as much as the message takes, has come since the last time.
        Under the lock.
        """
        left = self._max_bytes - max(self._spare_bytes, size)
        level = shares.level_for(left)
        fits = rank is not Rank.VALUE or shares.of(sender) + size <= level
        if fits or size <= self._spare_bytes:
            eviction = Eviction(shares.beyond(level), self._bytes - left)
            for each in Rank:
                for filling in reversed(self._waiting()):
                    if eviction.is_done:
                        break
                    filling.evict(each, eviction, self._senders_of)
            for whose, gone in eviction.sizes.items():
                self._bytes -= gone
                shares.release(whose, gone)
            for whose, messages in eviction.messages.items():
                refused[whose] = refused.get(whose, 0) + messages
            shares.level = level
            self._taken_bytes = 0
            self._close_ranks()
        return fits

    def _close_ranks(self) -> None:
        """Forget batches of which nothing is left, and ends that are one now. Under the lock."""
        lost: set[int] = set()
        for filling in self._waiting():
            taken = filling.taken
            lost -= taken.by_server.keys() | taken.certificates.keys()
            taken.lost = {each: at_us for each, at_us in taken.lost.items() if each not in lost}
            lost |= taken.lost.keys()
        self._lost = lost
        self._full = deque(filling for filling in self._full if filling.taken)
        if self._filling is not None and not self._filling.taken:
            self._filling = None

    def _tell(self, refused: dict[str, int]) -> None:
        """Have it counted what was refused. Not under the lock."""
        by_server: dict[int, dict[str, int]] = {}
        for sender, messages in refused.items():
            server, node = node_of(sender)
            by_server.setdefault(server, {})[node] = messages
        for server, nodes in by_server.items():
            self._count_refused(server, nodes)

    # ------------------------------------------------------------------ out

    def wake(self) -> None:
        """Let `take` return at once: with nothing, unless a batch is due."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def close(self) -> None:
        """No more messages will come; `take` empties the queue, then returns None."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def take(self, timeout: float, *, at_once: bool = False) -> InboxBatch | None:
        """The next batch; empty when nothing came within `timeout` seconds, and when woken.

        Returns None when the inbox is closed and empty. `at_once`: as it is, though it might
        fill up.
        """
        with self._condition:
            if not (self._full or self._filling is not None or self._closed or self._woken):
                self._condition.wait(timeout)
            while not (self._full or self._filling is None or self._closed or at_once):
                left = self._left(self._filling)
                if left <= 0:
                    break
                if self._woken:  # what is there fills up meanwhile
                    self._woken = self._waits_for_more = False
                    return InboxBatch()
                self._condition.wait(left)
            self._woken = self._waits_for_more = False
            if self._full:
                filled = self._full.popleft()
            elif self._filling is not None:
                filled, self._filling = self._filling, None
            else:
                return None if self._closed else InboxBatch()
            self._bytes -= filled.size
            if self._shares is not None:
                self._count_off(filled, self._shares)
            self._lost.difference_update(filled.taken.lost)
            self._handed_at = self._clock()
            return filled.taken

    def _left(self, filling: Filling) -> float:
        """Seconds for which a batch is to wait before it is looked at again. Under the lock."""
        limits, now = self._limits, self._clock()
        left = filling.started_at + limits.max_delay - now
        self._waits_for_more = left <= 0 and filling.count < FEW_MESSAGES
        if not self._waits_for_more or now < self._hurried_until:
            return left
        return min(filling.started_at, self._handed_at) + limits.quiet_delay - now

    def _count_off(self, filled: Filling, shares: Shares) -> None:
        """A batch waits no longer. Under the lock."""
        if self._bytes < self._max_bytes // _COUNTED_ABOVE:
            self._shares = None
            self._senders.clear()
            return
        for server, topics, payloads in filled.columns():
            shares.release_all(self._senders_of(server), topics, payloads)
        self._taken_bytes += filled.size
        if self._taken_bytes >= self._spare_bytes:
            self._work_out_level(shares)
