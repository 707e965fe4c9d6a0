"""How much room a spool's batches have: within `max_bytes`, and on its disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDiskFull, SpoolFull
from consumer.spool import layout
from consumer.spool.pages import Pages
from consumer.spool.reserve import RESERVE_BYTES

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from consumer.spool.reserve import Reserve

# What remains for state, births and the last rows of dead nodes when batches find no room.
_SPARE_FRACTION: Final = 16
_MOST_SPARE_BYTES: Final = 32 << 20
# After a refusal there is room again for so many batches of that size.
_ROOM_FOR: Final = 4
# What the log has of each commit beside rows: pages of trees, of the free list, of the ledger.
_COMMIT_BYTES: Final = 6 * layout.PAGE_BYTES
_LOOK_EVERY: Final = 16
"""Appends after which the used bytes are looked at, however much room there seems to be."""


class Quota:
    """The room of one spool, and the batches that found none. Used under the spool's lock.

    Args:
        db: the spool's connection.
        path: its file.
        max_bytes: bound of the pages in use plus the write-ahead log.
        reserve: space on its disk.

    Attributes:
        pages: what the file and its log take.
        held_back: so many of `max_bytes` are kept from batches, for the moment when the gate
            to the edge closes.
    """

    def __init__(
        self, db: sqlite3.Connection, path: Path, max_bytes: int, reserve: Reserve
    ) -> None:
        self.max_bytes = max_bytes
        self.reserve = reserve
        self.pages = Pages(db, path)
        self._db = db
        self._path = path
        self._spare = min(_MOST_SPARE_BYTES, max_bytes // _SPARE_FRACTION)
        self.held_back = 0
        self._at_most = max_bytes  # bytes in use, as far as they were counted
        self._not_looked = 0
        self._promised = 0  # bytes of the append that was checked last
        self._began: tuple[int, int] | None = None  # bytes in file and log before this transaction
        self._no_room = False  # on the disk, for a batch
        self._refused = 0  # bytes of the batches that found no room, 0 while there is some

    @property
    def is_full(self) -> bool:
        """Whether a batch was refused, and `look_for_room` has found none since."""
        return self._refused > 0

    @property
    def is_short(self) -> bool:
        """Whether half of the room may be used up, or none was found; any thread may ask."""
        return self._at_most > self.max_bytes // 2 or self.is_full or self.reserve.given_up

    @property
    def room(self) -> int:
        """Bytes that file and log may grow by, beside the append that was checked last.

        What is written is in both of them until the log is copied. What the transaction under way
        has written is in the file already, and in the log when it is committed.
        """
        pages, wrote = self.pages.in_use_bytes, 0
        if self._db.in_transaction:
            if self._began is None:
                self._began = pages, self.pages.log_bytes
            begun, log = self._began
            wrote = max(0, pages - begun)
            used = begun + log
        else:
            used = pages + self.pages.log_bytes
        return max(0, self.max_bytes - used - 2 * max(self._promised, wrote) - _COMMIT_BYTES)

    def note_begin(self) -> None:
        """A transaction begins.

        While there is much room, what is in use is looked at when somebody asks how much that is,
        which hardly any transaction does.
        """
        self._began = (self.pages.in_use_bytes, self.pages.log_bytes) if self.is_short else None

    def check(self, needed: int, *, spare: bool) -> None:
        """Refuse what does not fit.

        Raises:
            SpoolFull: so many bytes do not fit, once in the log and once in the file.
        """
        limit = self.max_bytes - self.held_back - (0 if spare else self._spare)
        self._promised = needed
        grows = 2 * needed + _COMMIT_BYTES
        # Looking costs 0.1 ms. What else is written between two looks is little.
        self._at_most += grows
        self._not_looked += 1
        if self._at_most <= limit and self._not_looked < _LOOK_EVERY:
            return
        used = self.pages.used_bytes
        self._at_most, self._not_looked = used + grows, 0
        if needed and self._at_most > limit:
            self._at_most = used
            kept = f", {self.held_back} are held back" if self.held_back else ""
            raise SpoolFull(
                f"the spool {self._path} is full: {needed} bytes do not fit, "
                f"{used} of {self.max_bytes} are used (spool.max_bytes){kept}"
            )

    def shorten_log(self, needed: int) -> None:
        """Before an append of so many bytes, outside of a transaction: let no log be in its way.

        What else was written, such as births, is in log and file until the log is copied.
        """
        if self.is_near(needed) and self.pages.log_bytes > self._spare and self.has_room_for_log:
            self.pages.cut_log_back()
            self._not_looked = _LOOK_EVERY

    def is_near(self, needed: int) -> bool:
        """Whether an append of so many bytes may come near the end of the room."""
        grows = 2 * needed + _COMMIT_BYTES
        return self._at_most + grows > self.max_bytes - self.held_back - self._spare

    def note_refusal(self, size: int, *, by_disk: bool = False) -> None:
        """Batches of so many bytes found no room, in the spool or on the disk."""
        self._refused = max(self._refused, size, 1)
        self._no_room = self._no_room or by_disk

    def note_taken(self, *, batches: int) -> None:
        """Note that batches found room, on the disk as well if there were any."""
        self._no_room = self._no_room and not batches

    @property
    def disk_is_full(self) -> bool:
        """Whether the reserve is missing, or the disk had no room for a batch, and has little."""
        few = self.reserve.free_bytes < RESERVE_BYTES
        return self.reserve.missing or (self._no_room and few)

    @property
    def has_room_for_log(self) -> bool:
        """Whether a log that is deleted could be made again."""
        return self.reserve.free_bytes >= RESERVE_BYTES // 2

    def look_for_room(self, *, nothing_waits: bool) -> bool:
        """Whether batches find room; after a refusal there must be a good deal more than they need.

        On the edge of being full every second batch would be lost, and no node's data be whole.
        """
        if self._refused:
            wanted = min(max(self._spare, _ROOM_FOR * self._refused), self.max_bytes // 2)
            # Of a large commit; nothing else cuts it back now. On a full disk others take the room.
            if self.pages.log_bytes > self._spare and not self._no_room:
                self.pages.cut_log_back()
            left = self.max_bytes - self._spare - self.pages.used_bytes
            on_disk = self.reserve.free_bytes + self.pages.free_bytes
            fits = left >= wanted and on_disk >= wanted and not self.reserve.is_needed()
            # Waiting makes no more room in a spool that is empty, but perhaps on its disk.
            enough = not self._no_room or on_disk >= _ROOM_FOR * self._refused
            if fits or (nothing_waits and enough):
                self._refused = 0
        return not self._refused

    def keep_for_trims(self) -> None:
        """Refuse an ordinary batch while the reserve's space is needed for trims; else do nothing.

        Raises:
            SpoolDiskFull: it is.
        """
        if self.reserve.is_needed():
            raise SpoolDiskFull(
                f"no room on the disk for the spool {self._path}: its reserve is there for what is "
                "acknowledged; free some space"
            )


def pages_of(size: int) -> int:
    """Bytes of the pages that a batch of so many bytes takes, with a page for its bookkeeping."""
    return (size // layout.PAGE_BYTES + 2) * layout.PAGE_BYTES
