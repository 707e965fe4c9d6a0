"""Looks at the wire, and at what a running consumer made of it, and publishes nothing.

Names are loaded when they are used: what asks a consumer over HTTP needs no MQTT, and JSON
needs no screen.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from consumer.tap.filters import Filters
    from consumer.tap.globs import Places
    from consumer.tap.items import Item
    from consumer.tap.lines import json_of, pieces_of
    from consumer.tap.listening import Listening, listen
    from consumer.tap.tail import Mode, Tail, TailOptions
    from consumer.tap.top import SORTS, Picture, Wanted, look
    from consumer.tap.top_screen import screen
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "filters": ["Filters"],
            "globs": ["Places"],
            "items": ["Item"],
            "lines": ["json_of", "pieces_of"],
            "listening": ["Listening", "listen"],
            "tail": ["Mode", "Tail", "TailOptions"],
            "top": ["SORTS", "Picture", "Wanted", "look"],
            "top_screen": ["screen"],
        },
    )

__all__ = [
    "SORTS",
    "Filters",
    "Item",
    "Listening",
    "Mode",
    "Picture",
    "Places",
    "Tail",
    "TailOptions",
    "Wanted",
    "json_of",
    "listen",
    "look",
    "pieces_of",
    "screen",
]
