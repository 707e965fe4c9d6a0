"""Names that the specification and Ignition give to metrics and properties."""

from __future__ import annotations

from typing import Final

BD_SEQ: Final = "bdSeq"

REBIRTH: Final = "Node Control/Rebirth"

QUALITY: Final = "Quality"

SEQ_MODULUS: Final = 256
