"""Looks at the wire: what MQTT servers bring, beside a consumer, and publishes nothing."""

from consumer.tap.filters import Filters
from consumer.tap.globs import Places
from consumer.tap.items import Item
from consumer.tap.lines import json_of, pieces_of
from consumer.tap.listening import Listening, listen
from consumer.tap.tail import Mode, Tail, TailOptions

__all__ = [
    "Filters",
    "Item",
    "Listening",
    "Mode",
    "Places",
    "Tail",
    "TailOptions",
    "json_of",
    "listen",
    "pieces_of",
]
