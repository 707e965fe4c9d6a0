"""Looks at the wire: what MQTT servers bring, beside a consumer, and publishes nothing.

What was captured is read again as the consumer reads it, or published on a server on request.
"""

from consumer.tap.capture_format import CapturedServer, Record
from consumer.tap.capture_reader import CaptureReader
from consumer.tap.capture_writer import LEAST_BYTES, check_free
from consumer.tap.capturing import Capturing
from consumer.tap.filters import Filters
from consumer.tap.globs import Places
from consumer.tap.items import Item
from consumer.tap.lines import json_of, pieces_of
from consumer.tap.listening import Listening, listen
from consumer.tap.publishing import Publishing, is_loopback
from consumer.tap.replaying import Replay, Replayed, ReplaySettings
from consumer.tap.tail import Mode, Tail, TailOptions

__all__ = [
    "LEAST_BYTES",
    "CaptureReader",
    "CapturedServer",
    "Capturing",
    "Filters",
    "Item",
    "Listening",
    "Mode",
    "Places",
    "Publishing",
    "Record",
    "Replay",
    "ReplaySettings",
    "Replayed",
    "Tail",
    "TailOptions",
    "check_free",
    "is_loopback",
    "json_of",
    "listen",
    "pieces_of",
]
