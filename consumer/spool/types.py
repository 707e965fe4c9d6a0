"""Batches that go into the spool and come out of it, participants, and statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from consumer.rows import EncodedRows

Transaction: TypeAlias = "sqlite3.Connection"
"""An open transaction of the spool; only this room writes SQL into it."""

StateValue = int | float | str | bytes
"""What a state key may hold: SQLite's own types."""


class Participant:
    """Takes part in commits: it writes beside the batches, and hears what became of that.

    `state` is asked once and before the spool's lock is taken. All else is called under it, so that
    nobody sees the file changed and the participant not. Whoever inherits from it says only what
    differs.
    """

    @property
    def state(self) -> Mapping[str, StateValue]:
        """Values to be kept in the state of the spool, by key, with the commit."""
        return {}

    def write(self, db: Transaction, room: Callable[[], int]) -> None:
        """Write to tables of the file, inside the transaction.

        It may be called twice before `committed` or `failed`: on a full disk a commit is tried
        twice. `room` tells how many bytes file and log may still grow by.
        """

    def committed(self) -> None:
        """Hear that the commit is done: all that was written is durable."""

    def failed(self) -> None:
        """Hear that the commit failed: nothing was written."""


class Origin(NamedTuple):
    """Topic and payload of the message that rows come from, each None where it is not known."""

    topic: str | None = None
    payload: bytes | None = None


UNKNOWN_ORIGIN: Final = Origin()


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be appended: its table, the schema its rows were encoded for, the rows."""

    table: str
    schema_id: str
    rows: EncodedRows


@dataclass(frozen=True, slots=True)
class SpooledBatch:
    """A batch that is on disk. `batch_id` grows with every append and is never reused.

    `positions` tells which of its rows these are, when they are a part of it.
    """

    batch_id: int
    table: str
    schema_id: str
    appended_at: float
    rows: EncodedRows
    positions: NDArray[np.int32] | None = field(default=None, compare=False)

    def position(self, row: int) -> int:
        """The index in the whole batch of row `row` of this part of it."""
        return row if self.positions is None else int(self.positions[row])


@dataclass(frozen=True, slots=True)
class DeadLetterShare:
    """Dead letters of one kind: number, bytes, bound of bytes, and rows that found no room.

    `count` is rows, or messages of the kind `unreadable`; `dropped` is rows since the file was
    opened: the ledger counts messages that were not kept.
    """

    count: int
    size: int
    max_bytes: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """Counts of what is in the spool, and of its room, at one moment. Sizes in bytes.

    `used_bytes` counts pages in use and the write-ahead log. `oldest_age` is the seconds since
    the oldest batch was appended, 0 when there is none. `disk_is_full` says that the reserve is
    missing, or that the disk had no room for a batch and has little still; `reserve_missing` that
    the reserve was given up, or could not be taken; `is_full` that a batch was refused and there is
    no room yet. `dead_letters` counts rows.
    """

    batches: int
    rows: int
    row_bytes: int
    used_bytes: int
    max_bytes: int
    oldest_age: float
    dead_letters: int
    disk_free_bytes: int
    disk_is_full: bool
    dead_letter_bytes: int = 0
    is_full: bool = False
    reserve_missing: bool = False

    @property
    def fill(self) -> float:
        """How full the spool is, 0 to 1."""
        return self.used_bytes / self.max_bytes
