"""Names that the specification and Ignition give metrics and properties; the end of seq."""

from __future__ import annotations

from typing import Final

BD_SEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
QUALITY: Final = "Quality"
SEQ_MODULUS: Final = 256

COMPRESSED_UUID: Final = "SPBV1.0_COMPRESSED"
"""The uuid of a payload whose body is another payload, compressed (Eclipse Tahu, PayloadUtil)."""
