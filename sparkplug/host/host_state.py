"""STATE messages of a host application (specification 5.3, 5.14 and 6.4.24), without I/O.

The rules one connection follows: a will `online: false` with a timestamp T, both
subscriptions, then a birth `online: true` with the same T; what others write on the own
topic and does not say online is answered with the birth again, but seldom; an intentional
stop publishes `online: false` with the present time. Timestamps never go backwards, because
edge nodes ignore a STATE that is older than the last they know.

Each answer may make every edge node that waits for this host publish its births. So what the
server kept, and delivers because we subscribe, is not answered: the birth replaces it. Nor is
another host's `online: true`, or two hosts of one id would outdo each other without end.
"""

from __future__ import annotations

import itertools
import math
from enum import Enum
from typing import Final

from sparkplug.actions import Publish
from sparkplug.state_message import State, encode, parse, state_topic

STATE_QOS: Final = 1
ANSWER_PAUSE: Final = 60.0
"""Shortest time between two answers on one connection, in seconds."""
_LATEST_FOLLOWED: Final = 253_402_300_799_999
"""Last millisecond of the year 9999. To be later than what was said to come from after that
would leave no room for the timestamps of further connections in 63 bits."""
_MOST_OWN: Final = 1_000


class _Phase(Enum):
    IDLE = "no connection, or none that was announced"
    CONNECTING = "the will is set, the birth not yet published"
    ONLINE = "the birth is published"
    STOPPING = "the offline message of an intentional stop is published"


class OwnTimestamps:
    """Timestamps that one host has used at all of its servers, which a bridge may connect.

    The last thousand. May be shared by threads.
    """

    def __init__(self) -> None:
        self._kept: list[int | None] = [None] * _MOST_OWN
        self._positions = itertools.count()

    def add(self, timestamp_ms: int) -> None:
        """Take in the timestamp of a STATE that is going to be published, or was."""
        self._kept[next(self._positions) % _MOST_OWN] = timestamp_ms

    def __contains__(self, timestamp_ms: object) -> bool:
        return timestamp_ms in self._kept


class HostState:
    """The STATE of one host application at one MQTT server.

    Every server needs an object of its own
    (operational-behavior-host-application-multi-server-timestamp). The caller
    publishes what is returned, in this order for each connection: `connect`, then
    subscribe and await the acknowledgement, then `birth`; `received` for every
    message on the own topic, and `due` now and then; `stop` before an intentional
    DISCONNECT. Times called `now` are monotonic, in seconds.

    Attributes:
        answers: how many messages of others were answered.
        foreign_births: how many messages said online that this host did not publish; copies
            of one, which overlapping subscriptions bring, count once.
        last_foreign_ms: the timestamp of the last of them; 0 if there was none.
        displaced: whether a host that this one is not was announced between this connection and
            the one before it, and is gone since this one was made: the server has room for one
            of them, because both have one MQTT client id.
    """

    def __init__(
        self, host_id: str, last_timestamp_ms: int = 0, own: OwnTimestamps | None = None
    ) -> None:
        """Begin after the largest timestamp that an earlier process is known to have used.

        `own`: timestamps of births of this host, shared by its servers, and of earlier processes.

        Raises:
            ValueError: the id may not be used in a topic.
        """
        self.topic = state_topic(host_id)
        self.answers = 0
        self.foreign_births = 0
        self.last_foreign_ms = 0
        self.displaced = False
        self._last_foreign: tuple[int, bool] | None = None
        self._own = OwnTimestamps() if own is None else own
        self._last_ms = last_timestamp_ms
        self._last_is_offline = False
        self._connection_ms = self._connection_before_ms = 0
        self._answered_at = -math.inf
        self._unanswered = False
        self._phase = _Phase.IDLE

    @property
    def last_timestamp_ms(self) -> int:
        """The largest timestamp that this host published, or saw on its topic."""
        return self._last_ms

    @property
    def connection_timestamp_ms(self) -> int:
        """The timestamp of this connection's will and birth; 0 before the first."""
        return self._connection_ms

    @property
    def outdated(self) -> bool:
        """True if a STATE newer than this connection's was seen, and says offline.

        The clock went backwards or another application uses the same id. Edge nodes
        ignore this connection's timestamp then; only a new connection gets a greater one.
        While a newer STATE says online they believe what is true, and whoever said that is
        not to be outdone.
        """
        return (
            self._phase in (_Phase.CONNECTING, _Phase.ONLINE)
            and self._last_is_offline
            and self._last_ms > self._connection_ms
        )

    def connect(self, now_ms: int) -> Publish:
        """Begin a connection: the will, with a timestamp greater than any before.

        (host-topic-phid-death-payload-timestamp-connect, payloads-state-will-message-*)
        """
        self._connection_before_ms = self._connection_ms
        self._connection_ms = self._last_ms = max(now_ms, self._last_ms + 1)
        self._own.add(self._connection_ms)
        self.displaced = False
        self._last_is_offline = self._unanswered = False
        self._answered_at = -math.inf
        self._phase = _Phase.CONNECTING
        return self._message(online=False)

    def birth(self) -> Publish:
        """The birth, the first message of a connection, with the timestamp of its will.

        (host-topic-phid-birth-payload-timestamp)

        Raises:
            RuntimeError: there is no connection, or it is being stopped.
        """
        if self._phase not in (_Phase.CONNECTING, _Phase.ONLINE):
            raise RuntimeError("connect() comes before birth()")
        self._phase = _Phase.ONLINE
        return self._message(online=True)

    def received(
        self, payload: bytes, now: float = 0.0, *, retained: bool = False
    ) -> Publish | None:
        """A message on the own topic: what to publish at once, or None.

        What comes after the birth and is not online, or is no STATE at all, is answered with
        the birth again (message-flow-hid-sparkplug-state-message-delivered), always the same
        message; but not twice within `ANSWER_PAUSE`: `due` gives that answer later, unless the
        topic says online by then. Before the birth it is what an earlier connection left
        behind. While stopping it is this host's own, and answering would announce a host that
        is gone. `retained` is what the server kept from before the subscription, and so from
        before the birth, whenever it is delivered.
        """
        state = parse(payload)
        if state is not None and _LATEST_FOLLOWED >= state.timestamp_ms >= self._last_ms:
            self._last_ms, self._last_is_offline = state.timestamp_ms, not state.online
        if state is not None and state.online:
            foreign = (state.timestamp_ms, retained)
            if state.timestamp_ms not in self._own and foreign != self._last_foreign:
                self.foreign_births += 1
                self.last_foreign_ms, _ = self._last_foreign = foreign
            self._unanswered = self._unanswered and retained
            return None
        if retained and state is not None and state.timestamp_ms not in self._own:
            # Its will, which the server published when this connection was made.
            self.displaced |= 0 < self._connection_before_ms < state.timestamp_ms
        if retained or self._phase is not _Phase.ONLINE:
            return None
        self._unanswered = True
        return self.due(now)

    def due(self, now: float) -> Publish | None:
        """The answer to what others wrote, if one is due by now."""
        if (
            not self._unanswered
            or self._phase is not _Phase.ONLINE
            or now - self._answered_at < ANSWER_PAUSE
        ):
            return None
        self._unanswered = False
        self._answered_at = now
        self.answers += 1
        return self._message(online=True)

    def stop(self, now_ms: int) -> Publish:
        """The message of an intentional stop, published before DISCONNECT.

        Its timestamp is the present, but never smaller than one before
        (host-topic-phid-death-payload-timestamp-disconnect-clean).
        """
        self._connection_ms = self._last_ms = max(now_ms, self._last_ms)
        self._own.add(self._connection_ms)
        self._phase = _Phase.STOPPING
        return self._message(online=False)

    def lost(self) -> None:
        """The connection was lost; the server publishes the will."""
        self._phase = _Phase.IDLE

    def _message(self, *, online: bool) -> Publish:
        payload = encode(State(online, self._connection_ms))
        return Publish(self.topic, payload, STATE_QOS, retain=True)
