"""Connections to MQTT servers, and the queue of what they bring."""

from consumer.broker.connection import BrokerConnection
from consumer.broker.inbox import BatchLimits, Inbox, InboxBatch

__all__ = ["BatchLimits", "BrokerConnection", "Inbox", "InboxBatch"]
