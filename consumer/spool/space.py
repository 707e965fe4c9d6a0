"""The room that a spool has, as its users ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer.spool.batch_queue import BatchQueue
    from consumer.spool.database import Database
    from consumer.spool.quota import Quota


class SpoolSpace:
    """The room of a spool's file, within `max_bytes` and on its disk. Thread-safe.

    Args:
        file: the spool's.
        quota: how much there is.
        queue: batches that wait.
    """

    def __init__(self, file: Database, quota: Quota, queue: BatchQueue) -> None:
        self._file = file
        self._quota = quota
        self._queue = queue

    def room(self) -> int:
        """Bytes that file and log together may still grow by, within `max_bytes`.

        Inside of `Spool.commit` what its batches take is taken off.
        """
        with self._file.locked():
            return self._quota.room

    def hold_back(self, size: int) -> None:
        """Keep so many of `max_bytes` from what is committed, until told otherwise."""
        with self._file.exclusive():
            self._quota.held_back = size

    def has_room(self) -> bool:
        """Whether batches are taken; once one was refused, not before there is room for more.

        An empty spool has room in any case: waiting would not make more of it.
        """
        with self._file.locked():
            return self._quota.look_for_room(nothing_waits=not self._queue.waits)

    def note_full(self) -> None:
        """Count as full until there is room: an earlier run ended like that."""
        with self._file.exclusive():
            self._quota.note_refusal(0)

    @property
    def is_short(self) -> bool:
        """Whether so little room is left that acknowledged batches must leave at once."""
        return self._quota.is_short
