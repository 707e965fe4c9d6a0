"""STATE messages of a host application (specification 5.3, 5.14 and 6.4.24), without I/O.

The rules one connection follows: a will `online: false` with a timestamp T, both
subscriptions, then a birth `online: true` with the same T; an own `online: false`
that arrives later is answered with the birth again; an intentional stop publishes
`online: false` with the present time. Timestamps never go backwards, because edge
nodes ignore a STATE that is older than the last they know.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from sparkplug.actions import Publish
from sparkplug.state_message import State, encode, parse, state_topic

STATE_QOS: Final = 1
_LATEST_FOLLOWED: Final = 253_402_300_799_999
"""Last millisecond of the year 9999. To be later than what was said to come from after that
would leave no room for the timestamps of further connections in 63 bits."""


class _Phase(Enum):
    IDLE = "no connection, or none that was announced"
    CONNECTING = "the will is set, the birth not yet published"
    ONLINE = "the birth is published"
    STOPPING = "the offline message of an intentional stop is published"


class HostState:
    """The STATE of one host application at one MQTT server.

    Every server needs an object of its own
    (operational-behavior-host-application-multi-server-timestamp). The caller
    publishes what is returned, in this order for each connection: `connect`, then
    subscribe and await the acknowledgement, then `birth`; `received` for every
    message on the own topic; `stop` before an intentional DISCONNECT.
    """

    def __init__(self, host_id: str, last_timestamp_ms: int = 0) -> None:
        """Begin after the largest timestamp that an earlier process is known to have used.

        Raises:
            ValueError: the id may not be used in a topic.
        """
        self.topic = state_topic(host_id)
        self._last_ms = last_timestamp_ms
        self._connection_ms = 0
        self._phase = _Phase.IDLE

    @property
    def last_timestamp_ms(self) -> int:
        """The largest timestamp that this host published, or saw on its topic."""
        return self._last_ms

    @property
    def outdated(self) -> bool:
        """True if a STATE newer than this connection's was seen on the own topic.

        The clock went backwards or another application uses the same id. Edge nodes
        ignore this connection's timestamp then; only a new connection gets a greater one.
        """
        return self._phase in (_Phase.CONNECTING, _Phase.ONLINE) and (
            self._last_ms > self._connection_ms
        )

    def connect(self, now_ms: int) -> Publish:
        """Begin a connection: the will, with a timestamp greater than any before.

        (host-topic-phid-death-payload-timestamp-connect, payloads-state-will-message-*)
        """
        self._connection_ms = self._last_ms = max(now_ms, self._last_ms + 1)
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

    def received(self, payload: bytes) -> Publish | None:
        """A message on the own topic: what to publish at once, or None.

        An `online: false` after the birth is answered with the birth again
        (message-flow-hid-sparkplug-state-message-delivered): always the same message,
        so that an overlapping subscription's second copy does no harm. Before the
        birth it is what an earlier connection left behind. While stopping it is this
        host's own, and answering would announce a host that is gone.
        """
        state = parse(payload)
        if state is None:
            return None
        if state.timestamp_ms <= _LATEST_FOLLOWED:
            self._last_ms = max(self._last_ms, state.timestamp_ms)
        if state.online or self._phase is not _Phase.ONLINE:
            return None
        return self._message(online=True)

    def stop(self, now_ms: int) -> Publish:
        """The message of an intentional stop, published before DISCONNECT.

        Its timestamp is the present, but never smaller than one before
        (host-topic-phid-death-payload-timestamp-disconnect-clean).
        """
        self._connection_ms = self._last_ms = max(now_ms, self._last_ms)
        self._phase = _Phase.STOPPING
        return self._message(online=False)

    def lost(self) -> None:
        """The connection was lost; the server publishes the will."""
        self._phase = _Phase.IDLE

    def _message(self, *, online: bool) -> Publish:
        payload = encode(State(online, self._connection_ms))
        return Publish(self.topic, payload, STATE_QOS, retain=True)
