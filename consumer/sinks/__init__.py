"""Zerobus, which rows go to, and what it says: the Databricks SDK stands behind this.

A `ZerobusSink` opens streams; their events go into the queue of who opened them.
"""

from consumer.sinks.login import Login
from consumer.sinks.meanings import difference, is_of_network, meaning_of, mend
from consumer.sinks.sink import MAX_CALL_BYTES, Acknowledged, StreamEvent
from consumer.sinks.zerobus import StreamOptions, ZerobusIngestStream, ZerobusSink, try_stream

__all__ = [
    "MAX_CALL_BYTES",
    "Acknowledged",
    "Login",
    "StreamEvent",
    "StreamOptions",
    "ZerobusIngestStream",
    "ZerobusSink",
    "difference",
    "is_of_network",
    "meaning_of",
    "mend",
    "try_stream",
]
