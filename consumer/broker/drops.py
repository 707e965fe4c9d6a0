"""What an MQTT server says that it discarded: `$SYS/broker/publish/messages/dropped`.

Mosquitto counts there the messages that it discarded because a queue or a limit was full, for all
its clients together, and publishes the number, retained, every `sys_interval` seconds when it
has changed. Servers that have no such topic, or do not let us read it, say nothing.
"""

from __future__ import annotations

import logging
from typing import Final

from consumer.log_budget import ONCE_A_MINUTE, LogBudget

_LOG = logging.getLogger(__name__)

DROPPED_TOPIC: Final = "$SYS/broker/publish/messages/dropped"
"""Topic of the number of messages that the server discarded since it started, as text.

Mosquitto defines it (mosquitto(8), "Broker status"); other servers have it for compatibility.
"""


class BrokerDrops:
    """The growth of one server's count while we are connected. Used by the connection's thread.

    Args:
        server: name for the log.
        budget: says how often it is logged.

    Attributes:
        total: messages that the server discarded since the start, while we were connected.
    """

    def __init__(self, server: str, budget: LogBudget | None = None) -> None:
        self.total = 0
        self._server = server
        self._budget = budget or LogBudget()
        self._last: int | None = None
        self._unlogged = 0

    def connected(self) -> None:
        """A new connection: the next number says where the count is now."""
        self._last = None

    def received(self, payload: bytes) -> None:
        """Take a number in; what is none is ignored."""
        # Of the texts that int() reads only plain digits are a count.
        count = int(payload) if payload.isdigit() and len(payload) < 20 else None
        if count is None:
            return
        last, self._last = self._last, count
        if last is None or count <= last:
            return
        self.total += count - last
        self._unlogged += count - last
        if not self._budget.is_due("broker_drops", self._server, ONCE_A_MINUTE):
            return
        _LOG.warning(
            "%s discarded %d messages, of all its clients together; if some were ours, gaps in seq "
            "show it. Let it queue more (Mosquitto: max_queued_messages 0 with "
            "max_queued_bytes), and see which client is slow",
            self._server,
            self._unlogged,
            extra={"server": self._server, "dropped": self._unlogged},
        )
        self._unlogged = 0
