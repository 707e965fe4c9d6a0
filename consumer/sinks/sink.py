"""What a sink tells the owner of a stream: acknowledgements, and that it is dead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_CALL_BYTES: Final = 10_420_224
"""Most record bytes per call that the SDK takes (10 MiB less 64 KiB)."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Everything of a stream up to `offset` is durable."""

    generation: int
    offset: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A stream of this generation is dead; `ZerobusIngestStream.failure` says why."""

    generation: int


StreamEvent = Acknowledged | Failed | None
"""An entry of the queue of a stream's owner; None comes from others, to wake the owner."""
