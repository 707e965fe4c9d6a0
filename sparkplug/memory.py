"""What is remembered of edge nodes over a restart: their births, as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from sparkplug.messages import Message


class BirthMemory(NamedTuple):
    """A birth that was read. An NBIRTH ends the sessions of the node's devices.

    `slot` is the place of the node in `FleetMemory.sequence_state`.
    """

    slot: int
    group_id: str
    edge_node_id: str
    device_id: str | None
    message: Message


class EndMemory(NamedTuple):
    """The session of a node (with its devices) or device ended.

    `stale`: its tags that were alive got rows of quality STALE. `bd_seq` and `time_us` are
    the death's bdSeq and time of arrival, None where no NDEATH was the cause.
    """

    group_id: str
    edge_node_id: str
    device_id: str | None
    stale: bool
    bd_seq: int | None = None
    time_us: int | None = None


class StaleMemory(NamedTuple):
    """The tags of a node or device got rows of quality STALE; its session may go on, or be over."""

    group_id: str
    edge_node_id: str
    device_id: str | None


class TakenBackMemory(NamedTuple):
    """Some tags of a node or device that were said to be STALE have values again, by data."""

    group_id: str
    edge_node_id: str
    device_id: str | None


Memory: TypeAlias = BirthMemory | EndMemory | StaleMemory | TakenBackMemory


class RememberedBirth(NamedTuple):
    """A birth as it was found on disk, with what became of its session.

    `stale`: the last rows of its tags say STALE. `taken_back`: those of some of them do not any
    more; which, is not known.
    `died_us` is for people: by it nobody can tell how long ago a death was, because the clock
    may have been set since.
    """

    birth: BirthMemory
    alive: bool
    stale: bool
    dead_bd_seq: int | None = None
    died_us: int | None = None
    taken_back: bool = False
