"""Tables of typed columns that grow with the plant: one row per edge node, one per data topic.

A column is an attribute, an array over the index of its row. It may be longer than `size`, with
zeros behind, and `append` may put a longer array in its place. So hold the table, and take a
column from it anew after whatever may append: what is written to an array of before is lost.

*Heard seconds* are those for which somebody has listened, as `Hearing` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_BORN: Final = -1
"""In the place of the seq that is expected of a node: it has no session, or a doubtful one."""

_FIRST_ROOM: Final = 64
"""Rows for which a new table has room."""


def _numbers() -> NDArray[np.int64]:
    return np.zeros(_FIRST_ROOM, np.int64)


def _seconds() -> NDArray[np.float64]:
    return np.zeros(_FIRST_ROOM, np.float64)


def _flags() -> NDArray[np.bool_]:
    return np.zeros(_FIRST_ROOM, np.bool_)


def _codes() -> NDArray[np.uint8]:
    return np.zeros(_FIRST_ROOM, np.uint8)


@dataclass(slots=True, eq=False)
class _GrowingTable:
    """Columns over an index that grows one by one."""

    size: int = field(init=False, default=0)
    """How many rows there are. Another thread may read it, and then columns as far as that."""

    _room: int = field(init=False, default=_FIRST_ROOM)

    def append(self) -> int:
        """Add a row of zeros; return its index. Columns may be replaced by longer ones."""
        if self.size == self._room:
            for each in fields(self):
                column = getattr(self, each.name)
                if isinstance(column, np.ndarray):
                    setattr(self, each.name, np.concatenate([column, np.zeros_like(column)]))
            self._room *= 2
        self.size += 1
        return self.size - 1


@dataclass(slots=True, eq=False)
class NodeTable(_GrowingTable):
    """The edge nodes of one fleet, by their index (`EdgeNodeState.index`).

    Times called "heard" are seconds for which somebody has listened (`Hearing.now`).
    """

    next_seq: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """The seq of the next message, 0 to 255; NOT_BORN without session, or in a doubtful one."""
    ignition: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether Ignition's module began the session."""
    confirmed: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether a message has continued the seq since births came from disk, or some were missed."""
    partial: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether topic filters show a part of the node only, so that its seq says nothing."""
    born: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether the node is in a session."""

    received: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """Messages that took part in seq since they were last asked for."""
    sent_us: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """When the last message in order was sent, by its payload: µs since 1970 UTC; 0: none came."""

    heard_at: NDArray[np.float64] = field(init=False, default_factory=_seconds)
    """When the node was heard last, in heard seconds; NaN if not since it may have been missed."""
    pause: NDArray[np.float64] = field(init=False, default_factory=_seconds)
    """Its longest pause between two messages, slowly forgotten, in heard seconds."""
    observed: NDArray[np.float64] = field(init=False, default_factory=_seconds)
    """For how long its pauses were observed, in heard seconds."""
    answers: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether the node is known to answer rebirth requests."""

    wanted_at: NDArray[np.float64] = field(init=False, default_factory=_seconds)
    """When it was last said that the node is to be asked, in heard seconds; -inf: never."""
    asked_at: NDArray[np.float64] = field(init=False, default_factory=_seconds)
    """When a rebirth request was last sent to it, in heard seconds; -inf: never."""
    requests: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """How many rebirth requests in a row were sent since the node was heard."""


@dataclass(slots=True, eq=False)
class TopicTable(_GrowingTable):
    """The data topics of one fleet: one of each node, one of each device, by their index."""

    node: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """Index of the node in NodeTable."""
    message_type: NDArray[np.uint8] = field(init=False, default_factory=_codes)
    """Code of NDATA or DDATA: its index in MESSAGE_TYPES."""
    live: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether the birth of the node or device came, and its data is read in the usual way."""
    special: NDArray[np.bool_] = field(init=False, default_factory=_flags)
    """Whether aliases need a look of their own: they are scattered, or owners share them."""
    alias_base: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """Where the alias table of the node begins in AliasPool.tags."""
    alias_count: NDArray[np.int64] = field(init=False, default_factory=_numbers)
    """How many entries of AliasPool.tags the alias table of the node has."""
