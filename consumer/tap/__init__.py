"""Looks at the wire, and at what a running consumer made of it, and publishes nothing.

Names are loaded when they are used: what asks a consumer over HTTP needs no MQTT, and JSON
needs no screen.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from consumer.tap.top import SORTS, Picture, Wanted, look
    from consumer.tap.top_screen import screen
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "top": ["SORTS", "Picture", "Wanted", "look"],
            "top_screen": ["screen"],
        },
    )

__all__ = ["SORTS", "Picture", "Wanted", "look", "screen"]
