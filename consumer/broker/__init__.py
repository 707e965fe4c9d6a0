"""Connections to MQTT servers, one each, and the queue of what they bring.

A `BrokerConnection` reads and never waits for anybody; what it receives goes into the
`Inbox`, which hands it over in batches, or refuses it when it is full.
"""

from consumer.broker.connection import BrokerConnection
from consumer.broker.inbox import BatchLimits, Inbox, InboxBatch

__all__ = ["BatchLimits", "BrokerConnection", "Inbox", "InboxBatch"]
