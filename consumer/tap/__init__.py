"""Looks at the wire, and at what a running consumer made of it, beside it.

Nothing is published but what was captured, on request. Names are loaded when they are used: what
asks a consumer over HTTP needs no MQTT, and JSON needs no screen.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
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
    from consumer.tap.top import SORTS, Picture, Wanted, look
    from consumer.tap.top_screen import screen
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "capture_format": ["CapturedServer", "Record"],
            "capture_reader": ["CaptureReader"],
            "capture_writer": ["LEAST_BYTES", "check_free"],
            "capturing": ["Capturing"],
            "filters": ["Filters"],
            "globs": ["Places"],
            "items": ["Item"],
            "lines": ["json_of", "pieces_of"],
            "listening": ["Listening", "listen"],
            "publishing": ["Publishing", "is_loopback"],
            "replaying": ["Replay", "ReplaySettings", "Replayed"],
            "tail": ["Mode", "Tail", "TailOptions"],
            "top": ["SORTS", "Picture", "Wanted", "look"],
            "top_screen": ["screen"],
        },
    )

__all__ = [
    "LEAST_BYTES",
    "SORTS",
    "CaptureReader",
    "CapturedServer",
    "Capturing",
    "Filters",
    "Item",
    "Listening",
    "Mode",
    "Picture",
    "Places",
    "Publishing",
    "Record",
    "Replay",
    "ReplaySettings",
    "Replayed",
    "Tail",
    "TailOptions",
    "Wanted",
    "check_free",
    "is_loopback",
    "json_of",
    "listen",
    "look",
    "pieces_of",
    "screen",
]
