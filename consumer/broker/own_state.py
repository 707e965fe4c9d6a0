"""The STATE of this host at one server: what is published, remembered, and said of others."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from consumer.errors import SpoolError, SpoolFull
from consumer.log_budget import ONCE_A_MINUTE, LogBudget
from sparkplug import Event, EventKind, HostState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug import OwnTimestamps, Publish

_LOG = logging.getLogger(__name__)

_RENEW_EVERY: Final = 60.0
_REMEMBER_EVERY: Final = 5.0
"""Seconds between attempts to write a timestamp of another application; the disk may be full."""
_MOST_UNTOLD: Final = 100
LIVE: Final = "live"
"""`reason` of the event that another host published that it is online."""
KEPT: Final = "kept"
"""`reason` of the event that the server kept such a STATE, and this host did not publish it."""


class Memory(Protocol):
    """Values by key that outlive the process; the spool keeps them, as a rule."""

    def get(self, key: str) -> int | float | str | bytes | None:
        """The value of a key."""

    def set(self, key: str, value: float | str | bytes) -> None:
        """Commit a value."""


class OwnState:
    """What one connection publishes on the own STATE topic, and hears there.

    Used by the connection's thread; counts are read, and events taken, by others. A passive
    host has no STATE: it publishes nothing and hears nothing.

    Args:
        host_id: the host application's id; None for a passive host.
        server: name of the MQTT server.
        memory: keeps the greatest timestamp, and that of the last birth, over restarts.
        own: timestamps of this host's births at all of its servers.
        clock: monotonic seconds.
        now_ms: milliseconds since 1970 UTC.
        budget: says how often others are logged, and told in an event.

    Attributes:
        topic: where it is published; empty for a passive host.
    """

    def __init__(
        self,
        host_id: str | None,
        server: str,
        memory: Memory,
        own: OwnTimestamps,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        budget: LogBudget | None = None,
    ) -> None:
        self._host_id = host_id
        self._server = server
        self._memory = memory
        self._clock = clock
        self._now_ms = now_ms
        self._timestamp_key = f"state_timestamp/{server}"
        self._birth_key = f"state_birth_timestamp/{server}"
        self._state: HostState | None = None
        self._remembered_ms = 0
        self._remember_again_at = -math.inf
        self._renewed_at = -math.inf
        self._budget = budget or LogBudget(clock)
        self._untold: deque[Event] = deque(maxlen=_MOST_UNTOLD)
        if host_id is not None:
            last, born = (self._remembered(key) for key in (self._timestamp_key, self._birth_key))
            if known := born or last:  # an earlier release kept the first of them only
                own.add(known)
            self._state = HostState(host_id, last, own)
            self._remembered_ms = last
        self.topic = "" if self._state is None else self._state.topic

    @property
    def is_active(self) -> bool:
        """Whether the host publishes at all."""
        return self._state is not None

    @property
    def answers(self) -> int:
        """How many births answered STATE messages of others on the own topic."""
        return 0 if self._state is None else self._state.answers

    @property
    def foreign_births(self) -> int:
        """How many STATE messages of others, on the own topic, said that the host is online."""
        return 0 if self._state is None else self._state.foreign_births

    @property
    def displaced(self) -> bool:
        """Whether the present connection has thrown out another host, with the same client id."""
        return self._state is not None and self._state.displaced

    def take_events(self) -> list[Event]:
        """Hand out the events of other hosts on the own STATE topic, those since the last call."""
        events = []
        while self._untold:
            events.append(self._untold.popleft())
        return events

    # ------------------------------------------------------------------ the connection

    def will(self) -> Publish | None:
        """The will of a new connection; None for a passive host."""
        if self._state is None:
            return None
        will = self._state.connect(self._now_ms())
        # On a full disk it is not remembered: messages unread were worse than a time used again.
        with contextlib.suppress(SpoolFull):
            self._remember()
        return will

    def birth(self) -> Publish | None:
        """The birth (host-topic-phid-birth-message); None for a passive host."""
        if self._state is None:
            return None
        birth = self._state.birth()
        with contextlib.suppress(SpoolError):  # the next run takes it for another host's
            self._memory.set(self._birth_key, self._state.connection_timestamp_ms)
        return birth

    def received(self, payload: bytes, *, retained: bool) -> Publish | None:
        """A message on the topic: what to publish at once, or None."""
        state = self._state
        if state is None:
            return None
        before = state.foreign_births
        answer = state.received(payload, self._clock(), retained=retained)
        if state.foreign_births != before:
            self._tell_of_foreign(state, KEPT if retained else LIVE)
        return answer

    def due(self) -> Publish | None:
        """An answer to what came before, if it is due."""
        if self._state is None:
            return None
        if self._clock() >= self._remember_again_at:
            self.remember_if_possible()  # another application's timestamp may be the greatest
        return self._state.due(self._clock())

    def must_renew(self) -> bool:
        """Whether edge nodes ignore this connection's STATE, because they know a newer one.

        Only a new connection gets a newer timestamp. Not again and again: two hosts
        with one id would never stop outdoing each other.
        """
        if self._state is None or not self._state.outdated:
            return False
        now = self._clock()
        if now - self._renewed_at < _RENEW_EVERY:
            return False
        self._renewed_at = now
        return True

    def stop(self) -> Publish | None:
        """The message of an intentional stop; None for a passive host."""
        if self._state is None:
            return None
        offline = self._state.stop(self._now_ms())
        self.remember_if_possible()
        return offline

    def lost(self) -> None:
        """The connection is no more."""
        if self._state is not None:
            self._state.lost()

    def remember_if_possible(self) -> None:
        """Commit the greatest timestamp if that is possible: a full disk stops nothing."""
        with contextlib.suppress(SpoolError):
            self._remember()

    # ------------------------------------------------------------------ bookkeeping

    def _remembered(self, key: str) -> int:
        value = self._memory.get(key)
        return int(value) if isinstance(value, (int, float)) else 0

    def _remember(self) -> None:
        """Commit the greatest timestamp of the own STATE, so that it is never used again.

        Raises:
            SpoolError: that is not possible.
        """
        if self._state is not None and self._state.last_timestamp_ms != self._remembered_ms:
            last_ms = self._state.last_timestamp_ms
            self._remember_again_at = self._clock() + _REMEMBER_EVERY
            self._memory.set(self._timestamp_key, last_ms)
            self._remembered_ms = last_ms

    def _tell_of_foreign(self, state: HostState, reason: str) -> None:
        """Two hosts of one id: edge nodes believe the one when the other has ended."""
        if not self._budget.allows(
            f"duplicate_host_{reason}", self._server, ONCE_A_MINUTE, ours=True
        ):
            return
        if reason == LIVE:
            text = f"another host application with the id {self._host_id} says that it is online"
            mend = (
                "edge nodes cannot tell the two apart, and take the end of one for the end of "
                "both. Give one of them another host.id; then restart this consumer"
            )
        else:
            text = (
                f"a host application with the id {self._host_id} was said to be online, and not "
                "by this consumer"
            )
            mend = (
                "fine if it is this one, started with another spool; else give one of them "
                "another host.id"
            )
        detail = f"{text} (timestamp {state.last_foreign_ms}, number {state.foreign_births})"
        _LOG.warning(
            "%s: %s: %s",
            self._server,
            detail,
            mend,
            extra={"server": self._server, "reason": reason},
        )
        self._untold.append(
            Event(EventKind.DUPLICATE_HOST, self._now_ms() * 1_000, reason=reason, detail=detail)
        )
