"""Connections to MQTT servers, one each, and the queue of what they bring.

A `BrokerConnection` reads and never waits for anybody; what it receives goes into the
`Inbox`, which hands it over in batches. When that is full, what is refused is taken from
whoever has most waiting.
"""

from consumer.broker.client import mqtt_client
from consumer.broker.connection import BrokerConnection
from consumer.broker.drops import BrokerDrops
from consumer.broker.filling import InboxBatch
from consumer.broker.inbox import BatchLimits, Inbox
from consumer.broker.own_state import OwnState
from consumer.broker.shares import size_together
from consumer.broker.switch import DRILL, ConnectionSwitch

__all__ = [
    "DRILL",
    "BatchLimits",
    "BrokerConnection",
    "BrokerDrops",
    "ConnectionSwitch",
    "Inbox",
    "InboxBatch",
    "OwnState",
    "mqtt_client",
    "size_together",
]
