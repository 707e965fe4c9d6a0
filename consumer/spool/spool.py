"""The spool: durable store-and-forward between the pipeline and Zerobus, one SQLite file.

A batch is on disk before `commit` returns and stays until it is trimmed, which happens
when Zerobus has acknowledged all of it. From the commit on nothing is lost.

Many threads of a consumer use it: that which decodes commits, those of the streams trim, keep dead
letters, and read when they lag, those of the connections write `state`, and that of HTTP looks.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from consumer.errors import SpoolDiskFull, SpoolError, SpoolFull
from consumer.log_budget import LogBudget
from consumer.rows import schema_id_of
from consumer.spool import file as spool_file
from consumer.spool.batch_queue import BatchQueue
from consumer.spool.batches import BatchStore, Content
from consumer.spool.database import Database
from consumer.spool.dead_letter_queue import DeadLetterQueue
from consumer.spool.letters import LetterStore
from consumer.spool.lock import FileLock
from consumer.spool.opening import open_sound
from consumer.spool.put_off import PutOff
from consumer.spool.quota import Quota, pages_of
from consumer.spool.reserve import RESERVE_BYTES, Reserve
from consumer.spool.schemas import SchemaRegistry
from consumer.spool.shares import MAX_BYTES
from consumer.spool.space import SpoolSpace
from consumer.spool.state import SpoolState
from consumer.spool.types import NewBatch, SpooledBatch, SpoolStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    from consumer.rows import EncodedRows
    from consumer.spool.layout import Sync
    from consumer.spool.opening import OpenedFile
    from consumer.spool.types import Participant, StateValue, Transaction

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")


@contextlib.contextmanager
def _telling(participants: Iterable[Participant]) -> Iterator[None]:
    """Participants hear what becomes of what is done meanwhile."""
    try:
        yield
    except BaseException:
        for each in participants:
            each.failed()
        raise
    for each in participants:
        each.committed()


class Spool:
    """An open spool file. Make one with `Spool.open`; every method is thread-safe.

    Attributes:
        path: the file.
        health: whether the file is sound, and still there.
        letters: rows that cannot be delivered are set aside there.
        schemas: descriptors that batches were encoded for.
        space: how much room there is.
        state: single values by a key.
        salvage: what was saved of a damaged file when this one was opened, None as a rule.
    """

    def __init__(
        self,
        opened: OpenedFile,
        *,
        max_bytes: int,
        clock: Callable[[], float],
        reserve: Reserve,
        max_dead_letter_bytes: int,
        log_budget: LogBudget,
    ) -> None:
        path, self._db, lock, self.salvage = opened
        self.path = path
        self._clock = clock
        self._quota = Quota(self._db, path, max_bytes, reserve)
        self._letters = LetterStore(self._db, max_dead_letter_bytes, max_bytes, clock, log_budget)
        self._file = Database(path, self._db, lock, self._quota, self._letters.count_again)
        self._put_off = PutOff(time.monotonic)
        with self._file.locked():
            self._batches = BatchStore(self._db)
        self.health = self._file.health
        self.state = SpoolState(self._file)
        self.schemas = SchemaRegistry(self._file, self._put_off)
        self.letters = DeadLetterQueue(self._file, self._batches, self._letters, clock, log_budget)
        self._queue = BatchQueue(
            self._file, self._batches, self._quota, self._put_off, self.letters
        )
        self.space = SpoolSpace(self._file, self._quota, self._queue)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        sync: Sync = "full",
        max_bytes: int = 4 << 30,
        clock: Callable[[], float] = time.time,
        reserve_bytes: int = RESERVE_BYTES,
        max_dead_letter_bytes: int = MAX_BYTES,
        descriptors: Sequence[bytes] = (),
        log_budget: LogBudget | None = None,
    ) -> Spool:
        """Open the spool at `path`, making it and its directory when there is none.

        A damaged file is set aside, and what can be read of it is saved: see `salvage`. A file
        that is there is opened and read without any room on its disk.

        Args:
            path: the SQLite file, or a link to it; `-wal`, `-shm` and `.lock` appear beside it.
            sync: `full`: a committed batch survives a power cut. `normal`: the last
                batches may be lost to a power cut, none to a crash of the process.
                `off`: the file itself may be lost to a power cut.
            max_bytes: bound of the pages in use plus the write-ahead log.
            clock: seconds since 1970, for `appended_at`.
            reserve_bytes: space that is kept for a full disk, in `<path>.reserve`.
            max_dead_letter_bytes: bound of what is kept as dead letters; never more than a
                quarter of `max_bytes`. Each kind of them has its share.
            descriptors: schemas that are known anyway, should the file have lost them.
            log_budget: says how many lines there are of what may occur often.

        Raises:
            SpoolLocked: another consumer has it open.
            SpoolError: not a spool, a newer release's, or not accessible; or damaged, and
                not to be set aside: there is no room, or there are too many already.
        """
        file = spool_file.resolved(path)
        lock = FileLock(file)
        try:
            known = {schema_id_of(each): each for each in descriptors}
            opened = open_sound(file, lock, sync, max_bytes, known_schemas=known, clock=clock)
            try:
                return cls(
                    opened,
                    max_bytes=max_bytes,
                    clock=clock,
                    reserve=Reserve(file, reserve_bytes),
                    max_dead_letter_bytes=max_dead_letter_bytes,
                    log_budget=log_budget or LogBudget(),
                )
            except SpoolError:
                opened.connection.close()
                raise
        except SpoolError:
            lock.release()
            raise

    def close(self) -> None:
        """Copy the log into the file and give up the lock. Batches stay. Idempotent.

        The log stays as it is when the file is gone, or its disk full.
        """
        with self._file.exclusive():
            if not self._file.closed:
                self.catch_up()
                left = sum(self._put_off.pending_rows().values())
                gone = self.health.gone
                if left and (gone is None or gone.kept):
                    _LOG.warning(
                        "%d acknowledged rows could not be deleted from the spool %s: the next run "
                        "sends them again",
                        left,
                        self.path,
                    )
                self._file.close()

    # -- writing ---------------------------------------------------------------------

    def append(
        self,
        table: str,
        rows: EncodedRows,
        *,
        schema_id: str,
        state: Mapping[str, StateValue] | None = None,
    ) -> SpooledBatch:
        """Commit one batch, with values of the state.

        Raises:
            SpoolFull: it does not fit within `max_bytes`, or on the disk (SpoolDiskFull).
            SpoolError: the file cannot be written, or the schema id is unknown.
            ValueError: the batch has no rows.
        """
        return self.commit([NewBatch(table, schema_id, rows)], state=state)[0]

    def commit(
        self,
        batches: Sequence[NewBatch],
        participants: Sequence[Participant] = (),
        *,
        state: Mapping[str, StateValue] | None = None,
        spare: bool = False,
    ) -> list[SpooledBatch]:
        """Commit batches, and what belongs to them, in one transaction.

        On return all is durable as `sync` promises; on an error nothing was written. The
        participants hear what became of the transaction, if one was begun: not of a ValueError, nor
        of rows that cannot be encoded.

        Args:
            batches: rows; there may be none.
            participants: write beside them, in this order.
            state: is kept, too.
            spare: also the last room may be used, which is there for what must not be lost while
                the spool is full.

        Returns:
            The batches as they are in the file.

        Raises:
            SpoolFull: they do not fit within `max_bytes` without what is held back, or on
                the disk (SpoolDiskFull).
            SpoolError: the file cannot be written, or a schema id is unknown.
            ValueError: a batch has no rows.
        """
        if not all(len(batch.rows) for batch in batches):
            raise ValueError("a batch without rows cannot be acknowledged")
        now = self._clock()
        # A third of the bytes: costs no more CPU than to write all of them, lets the same
        # disk last three times as long, and wears it less.
        blobs = [batch.rows.to_blob(compress=True) for batch in batches]
        needed = sum(map(pages_of, map(len, blobs)))
        kept = dict(state or {})
        for each in participants:
            kept |= each.state

        def append() -> list[SpooledBatch]:
            spooled: list[SpooledBatch] = []
            if self._quota.is_near(needed):
                self._file.shorten_log(needed)
            with self._file.transaction():
                self._quota.check(needed, spare=spare)
                self._put_off.write(self._db)
                for batch, blob in zip(batches, blobs, strict=True):
                    content = Content(len(batch.rows), batch.rows.nbytes, blob)
                    batch_id = self._batches.insert(batch.table, batch.schema_id, now, content)
                    spooled.append(
                        SpooledBatch(batch_id, batch.table, batch.schema_id, now, batch.rows)
                    )
                self.state.write(kept)
                for each in participants:
                    each.write(self._db, self.space.room)
            self._put_off.written()
            self._quota.note_taken(batches=len(spooled))
            return spooled

        # Nobody may see the file changed and the count not.
        with self._file.exclusive(), _telling(participants):
            try:
                if blobs and not spare and self._queue.waits and self.health.gone is None:
                    self._quota.keep_for_trims()
                spooled = self._file.try_twice(append)
            except SpoolFull as error:
                size = sum(map(len, blobs))
                self._quota.note_refusal(size, by_disk=isinstance(error, SpoolDiskFull))
                raise
            for batch in spooled:
                self._batches.note_inserted(batch.table, len(batch.rows), batch.rows.nbytes)
        return spooled

    def trim(self, batch_ids: Iterable[int]) -> None:
        """Remove batches, all of whose rows are acknowledged or set aside, in one commit.

        When that cannot be written, because the disk is full or the file gone, they are
        counted as removed, and deleted when it can: after a kill they are sent again.
        """
        self._queue.trim(batch_ids)

    def catch_up(self) -> None:
        """Write what was put off, and take the reserve, if there is room: call it now and then."""
        self._queue.catch_up()

    # -- reading ---------------------------------------------------------------------

    def batches_after(
        self,
        batch_id: int,
        limit_bytes: int,
        *,
        table: str,
        known: Mapping[int, SpooledBatch] | None = None,
    ) -> list[SpooledBatch]:
        """The batches of a table that follow `batch_id`, in order, about `limit_bytes` of them.

        At least one when there is one. Those in `known`, by id, are not read. A batch whose
        checksum does not fit is moved to the dead letters, whole, with an error in the log;
        the next ones follow.

        Raises:
            SpoolDamaged: the file itself cannot be read.
        """
        return self._queue.after(batch_id, limit_bytes, table, known or {})

    def pending_rows(self, table: str) -> int:
        """Rows of a table that wait for their acknowledgement: none whose trim was put off."""
        return self._queue.pending_rows(table)

    def pending(self) -> dict[str, int]:
        """Rows that are in the file, by table: also those whose trim was put off."""
        return self._queue.pending()

    def stats(self) -> SpoolStats:
        """Counts of what the spool holds now, and of the room that it and its disk have."""
        with self._file.locked():
            oldest_at = self._batches.oldest_at()
            waiting = self._batches.totals
            dead = self._letters.count().values()
            return SpoolStats(
                batches=waiting.batches,
                rows=waiting.rows,
                row_bytes=waiting.size,
                used_bytes=self._quota.pages.used_bytes,
                max_bytes=self._quota.max_bytes,
                oldest_age=0.0 if oldest_at is None else max(0.0, self._clock() - oldest_at),
                dead_letters=sum(use.number for use in dead),
                disk_free_bytes=self._quota.reserve.free_bytes,
                disk_is_full=self._quota.disk_is_full,
                dead_letter_bytes=sum(use.size for use in dead),
                is_full=self._quota.is_full,
                reserve_missing=self._quota.reserve.missing,
            )

    # -- other tables of the file ----------------------------------------------------

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """A transaction to read tables of the file in: all that is read is of one moment.

        Meanwhile no other thread reads or writes: what participants keep is of that moment, too.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self._file.snapshot() as db:
            yield db

    def write(self, change: Callable[[Transaction], Result]) -> Result:
        """Commit what a function writes to other tables of the file.

        It is called twice if the log could not grow at first.

        Raises:
            SpoolError: the file cannot be written, or is closed.
        """
        return self._file.write(change)

    def write_soon(
        self, change: Callable[[Transaction], object], state: Mapping[str, StateValue] | None = None
    ) -> None:
        """Commit what a function writes, and state; on a full disk with or before the next batch.

        It may be called more than once, if its transaction is taken back.
        """

        def both(db: Transaction) -> None:
            change(db)
            self.state.write(state or {})

        with self._file.exclusive():
            try:
                self._file.write(both)
            except SpoolDiskFull:
                self._put_off.keep_change(both)
