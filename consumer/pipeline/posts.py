"""Posts that wait for the decoding thread, bounded in bytes and in number.

Only the decoding thread appends to the spool. Whoever answers HTTP offers what it has read and
is told when that is committed. MQTT, which cannot wait, goes first: while the queue of its
messages is half full, or the spool nearly full, nothing is let in here, and senders wait.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consumer.rows import ReadBody

MOST_BODY_BYTES: Final = 10 << 20
"""Bytes of one body."""
_MOST_POSTS: Final = 100
_SHARE: Final = 32
_PORTION_BYTES: Final = 4 << 20
_PORTION_EVENTS: Final = 10_000
"""Bodies and events that are committed together; one post may have more bytes."""


class Busy(StrEnum):
    """Why no post is let in for now."""

    SPOOL_FULL = "spool_full"
    GATE_CLOSED = "gate_closed"
    QUEUE_HALF_FULL = "queue_half_full"
    TOO_MANY_POSTS = "too_many_posts"
    STOPPING = "stopping"
    SLOW = "slow"


class Outcome(StrEnum):
    """What became of a post that was let in."""

    COMMITTED = "committed"
    NO_ROOM = "no_room"
    GATE_CLOSED = "gate_closed"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Post:
    """Events of one body that wait to be committed.

    Args:
        source: source_system_id of their rows.
        body: what was read of it; some event of it is accepted.
        size: bytes of the body.
        answer: hears once what became of it, on the decoding thread.
        offered_at: when it began to wait, monotonic seconds.
    """

    source: str
    body: ReadBody
    size: int
    answer: Callable[[Outcome], None]
    offered_at: float = field(default_factory=time.monotonic)


class Posts:
    """Posts under way: admitted, offered, taken, answered. Thread-safe.

    Args:
        busy: says why none is to be let in for now, as far as that is known elsewhere.
        wake: has the decoding thread look for posts soon.
        memory: of the consumer; bodies under way have a part of it.
        senders: keys that are for posting. Where there are several, none has more than half of
            the places and bytes, so that one that never ends its bodies leaves room to others.

    Attributes:
        statuses: answers that were given, by HTTP status. Counted by whoever answers.
        accepted: events that were committed.
        dropped: events that were not, by reason.
        wait_seconds: for which posts have waited for their commits, all together.
    """

    def __init__(
        self,
        busy: Callable[[], Busy | None],
        wake: Callable[[], None],
        memory: int,
        senders: int = 1,
    ) -> None:
        self.statuses: Counter[str] = Counter()
        self.accepted = 0
        self.dropped: Counter[str] = Counter()
        self.wait_seconds = 0.0
        self._busy = busy
        self._wake = wake
        parts = 2 if senders > 1 else 1
        self._most_bytes = max(parts * MOST_BODY_BYTES, memory // _SHARE)
        self._most_bytes_of_one = self._most_bytes // parts
        self._most_posts_of_one = _MOST_POSTS // parts
        self._lock = threading.Lock()
        self._waiting: deque[Post] = deque()
        self._posts = self._bytes = 0
        self._posts_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self._closed = False

    @property
    def under_way(self) -> int:
        """Posts that were let in and are not answered yet."""
        return self._posts

    @property
    def bytes(self) -> int:
        """Bytes of their bodies, as far as these have come."""
        return self._bytes

    # ------------------------------------------------------------------ whoever answers HTTP

    def admit(self, sender: str) -> Busy | None:
        """Let one more post in, which `leave`s; or say why not. `sender`: name of its key."""
        busy = Busy.STOPPING if self._closed else self._busy()
        with self._lock:
            if busy is None and (
                self._posts >= _MOST_POSTS or self._posts_of[sender] >= self._most_posts_of_one
            ):
                busy = Busy.TOO_MANY_POSTS
            if busy is None:
                self._posts += 1
                self._posts_of[sender] += 1
        return busy

    def hold(self, sender: str, size: int) -> bool:
        """Count bytes that came of a body; False if there is no room for them now."""
        with self._lock:
            if (
                self._bytes + size > self._most_bytes
                or self._bytes_of[sender] + size > self._most_bytes_of_one
            ):
                return False
            self._bytes += size
            self._bytes_of[sender] += size
            return True

    def leave(self, sender: str, size: int) -> None:
        """Count a post that was let in as answered; `size` are the bytes held for it."""
        with self._lock:
            self._posts -= 1
            self._posts_of[sender] -= 1
            self._bytes -= size
            self._bytes_of[sender] -= size

    def offer(self, post: Post) -> bool:
        """Have a post committed; it hears of it. False: nothing is committed any more."""
        with self._lock:
            if self._closed:
                return False
            self._waiting.append(post)
        self._wake()
        return True

    def take_back(self, post: Post) -> bool:
        """Have a post not committed after all. False: it is being committed, and hears of it."""
        with self._lock:
            if post not in self._waiting:
                return False
            self._waiting.remove(post)
            return True

    # ------------------------------------------------------------------ the decoding thread

    def take(self) -> list[Post]:
        """The posts that are to be committed together next; none if none waits."""
        if not self._waiting:
            return []
        taken: list[Post] = []
        size = events = 0
        with self._lock:
            while self._waiting:
                size += self._waiting[0].size
                events += len(self._waiting[0].body.events)
                if taken and (size > _PORTION_BYTES or events > _PORTION_EVENTS):
                    break
                taken.append(self._waiting.popleft())
        if self._waiting:
            self._wake()
        return taken

    def answer(self, posts: Iterable[Post], outcome: Outcome) -> None:
        """Tell each of them what became of it."""
        now = time.monotonic()
        for post in posts:
            self.wait_seconds += now - post.offered_at
            if outcome is Outcome.COMMITTED:
                self.accepted += len(post.body.events)
                self.count_dropped(post.body)
            post.answer(outcome)

    def count_dropped(self, body: ReadBody) -> Counter[str]:
        """Count events of a body that are dropped; return how many there are by reason."""
        dropped = Counter({str(reason): count for reason, count in body.dropped.items()})
        if dropped:
            with self._lock:
                self.dropped += dropped
        return dropped

    def close(self) -> None:
        """Let no more in; what waits can still be taken."""
        with self._lock:
            self._closed = True
