"""A message that waits: in the window of its node, or for a birth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.payload import weight_opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparkplug.host.nodes.seq_place import SeqPlace
    from sparkplug.host.structured_rows import UnknownMembers
    from sparkplug.messages import Message, Reason

NodeKey = tuple[str, str]
"""Group id and edge node id."""

_OVERHEAD: Final = 1200
"""Bytes that a held message costs beside its payload and topic."""
WHILE_READ: Final = 4
"""How many times what waits may take when it is read."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One message that waits, in the window of its node or for a birth.

    `since` is monotonic time in seconds. `position` is its place in the batch that is
    being read, None when it is in none; `rows` are the metrics of that batch that wait,
    None for all of the message; of a template in that batch `members` wait. `reason` says
    what it is held for, None in the window. `counted`: what became of the message is told
    already, and only some of its metrics, or its seq, wait. `kept` is its number on disk,
    None if it is not there. `seq_place` is where it stands in the seq of its session, None where
    that is not known.
    """

    message: Message
    seq: int
    since: float
    position: int | None = None
    rows: NDArray[np.int64] | None = None
    reason: Reason | None = None
    device_id: str | None = None
    members: UnknownMembers | None = None
    counted: bool = False
    kept: int | None = None
    seq_place: SeqPlace | None = None
    _size: int = field(default=0, init=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes that it takes, or a quarter of what it takes to be read, if that is more.

        What waits for one birth, or for one missing message, is read together.
        """
        if not self._size:
            payload = self.message.payload
            taken = max(len(payload), weight_opened(payload) // WHILE_READ)
            self._size = taken + len(self.message.topic) + _OVERHEAD
        return self._size

    @property
    def place(self) -> int:
        """`position` of what is in the batch that is being read."""
        assert self.position is not None, "what may be read was recalled into the batch"
        return self.position

    def leave(self) -> None:
        """The batch that it is in was read."""
        self.position = self.rows = self.members = None


class HeldMessage(NamedTuple):
    """A held message as it is kept over a restart: what it waits for, and why.

    `counted`: what became of the message is told already, and only some of its metrics wait.
    `kept` is its number on disk, None if it is not there.
    """

    message: Message
    device_id: str | None
    reason: Reason
    counted: bool = False
    kept: int | None = None
