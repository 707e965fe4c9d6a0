"""The spool: durable store-and-forward between the pipeline and Zerobus, one SQLite file.

A batch is on disk before `append` returns and stays until it is trimmed, which happens
when Zerobus has acknowledged all of it. From the append on nothing is lost.

The threads of a consumer are the pipeline (appends) and the delivery (reads only when it lags,
trims).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from consumer.errors import SpoolDamaged, SpoolDiskFull, SpoolError, SpoolFileGone, SpoolFull
from consumer.log_budget import LogBudget
from consumer.rows import EncodedRows, schema_id_of
from consumer.spool import file as spool_file
from consumer.spool import ledger
from consumer.spool.batches import BatchStore, Content, Removed
from consumer.spool.database import Database
from consumer.spool.letters import LetterStore
from consumer.spool.lock import FileLock
from consumer.spool.opening import open_sound
from consumer.spool.put_off import PutOff
from consumer.spool.setting_aside import SettingAside
from consumer.spool.shares import MAX_BYTES, LetterKind, messages_kept
from consumer.spool.space import RESERVE_BYTES, Reserve, SpoolSpace, pages_of
from consumer.spool.types import (
    DeadLetterShare,
    NewBatch,
    SpooledBatch,
    SpoolStats,
    StateValue,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from consumer.spool.layout import Sync
    from consumer.spool.salvage import Salvage
    from consumer.spool.types import Participant, Transaction

_LOG = logging.getLogger(__name__)

Result = TypeVar("Result")

# So many batches whose trim was put off are deleted in one transaction.
_TRIM_AGAIN: Final = 64


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
        salvage: what was saved of a damaged file when this one was opened, None as a rule.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: FileLock,
        *,
        max_bytes: int,
        clock: Callable[[], float],
        reserve: Reserve,
        max_dead_letter_bytes: int,
        salvage: Salvage | None,
        log_budget: LogBudget,
    ) -> None:
        self.path = path
        self.salvage = salvage
        self._db = connection
        self._letters = LetterStore(connection, max_dead_letter_bytes, max_bytes, clock, log_budget)
        self._space = SpoolSpace(connection, path, max_bytes, reserve)
        self._put_off = PutOff(time.monotonic)
        self._clock = clock
        self._file = Database(path, connection, lock, self._space, self._letters.count_again)
        self._mutex = self._file.mutex
        with self._file.reading():
            self._batches = BatchStore(connection)
        self._aside = SettingAside(connection, self._file, self._batches, self._letters, log_budget)

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
            connection, salvage = open_sound(
                file, lock, sync, max_bytes, known_schemas=known, clock=clock
            )
            try:
                return cls(
                    file,
                    connection,
                    lock,
                    max_bytes=max_bytes,
                    clock=clock,
                    reserve=Reserve(file, reserve_bytes),
                    max_dead_letter_bytes=max_dead_letter_bytes,
                    salvage=salvage,
                    log_budget=log_budget or LogBudget(),
                )
            except SpoolError:
                connection.close()
                raise
        except SpoolError:
            lock.release()
            raise

    def close(self) -> None:
        """Copy the log into the file and give up the lock. Batches stay. Idempotent.

        The log stays as it is when the file is gone, or its disk full.
        """
        with self._mutex:
            if not self._file.closed:
                self.catch_up()
                left = sum(self._put_off.pending_rows().values())
                if left and (self.gone is None or self.gone.kept):
                    _LOG.warning(
                        "%d acknowledged rows could not be deleted from the spool %s: the next run "
                        "sends them again",
                        left,
                        self.path,
                    )
                self._file.close()

    @property
    def damage(self) -> SpoolDamaged | None:
        """The first sign, since it was opened, that the file is damaged.

        Nothing can be relied on then: end, and start again.
        """
        return self._file.damage

    @property
    def gone(self) -> SpoolFileGone | None:
        """Set when the file, or its log, was deleted or replaced.

        Nothing is written any more; what is committed can still be read, and is counted until it
        is trimmed.
        """
        return self._file.gone

    def hold_back(self, size: int) -> None:
        """Keep so many of `max_bytes` from what is committed, until told otherwise."""
        with self._mutex:
            self._space.held_back = size

    # -- writing ---------------------------------------------------------------------

    def add_schema(self, descriptor: bytes) -> str:
        """Keep a descriptor, so that batches encoded for it can be sent by a later release.

        Returns:
            The schema id, 16 hex digits that depend on the bytes only.
        """
        schema_id = schema_id_of(descriptor)
        try:
            with self._file.transaction():
                self._db.execute(
                    "INSERT OR IGNORE INTO schemas VALUES (?, ?)",
                    (schema_id, descriptor),
                )
        except SpoolDiskFull:
            with self._mutex:
                self._put_off.schemas[schema_id] = descriptor
        return schema_id

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

        On return all is durable as `sync` promises; on an error nothing was written. Either way
        the participants have heard it.

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
            if self._space.is_near(needed):
                self._file.shorten_log(needed)
            with self._file.transaction():
                self._space.check(needed, spare=spare)
                self._put_off.write(self._db)
                for batch, blob in zip(batches, blobs, strict=True):
                    content = Content(len(batch.rows), batch.rows.nbytes, blob)
                    batch_id = self._batches.insert(batch.table, batch.schema_id, now, content)
                    spooled.append(
                        SpooledBatch(batch_id, batch.table, batch.schema_id, now, batch.rows)
                    )
                self._write_state(kept)
                for each in participants:
                    each.write(self._db, self.room)
            self._put_off.written()
            self._space.note_taken(batches=len(spooled))
            return spooled

        # Nobody may see the file changed and the count not.
        with self._mutex, _telling(participants):
            try:
                if blobs and not spare and self._waits and self.gone is None:
                    self._space.keep_for_trims()
                spooled = self._file.try_twice(append)
            except SpoolFull as error:
                size = sum(map(len, blobs))
                self._space.note_refusal(size, by_disk=isinstance(error, SpoolDiskFull))
                raise
            for batch in spooled:
                self._batches.add(batch.table, len(batch.rows), batch.rows.nbytes)
        return spooled

    def trim(self, batch_ids: Iterable[int]) -> None:
        """Remove batches, all of whose rows are acknowledged or set aside, in one commit.

        When that cannot be written, because the disk is full or the file gone, they are
        counted as removed, and deleted when it can: after a kill they are sent again.
        """
        with self._mutex:
            ids = list(batch_ids)
            if self._put_off.batches and not self._put_off.is_due():
                self._put_off_trim(ids)
                return
            try:
                self._trim_now(ids)
                for start in range(0, len(waiting := list(self._put_off.batches)), _TRIM_AGAIN):
                    self._trim_now(waiting[start : start + _TRIM_AGAIN])
            except (SpoolDiskFull, SpoolFileGone) as error:
                self._put_off_trim(ids, error)
            if self._space.reserve.missing and self.gone is None:
                self._space.reserve.take_back()
                self._space.reserve.given_up &= self._waits

    def _trim_now(self, batch_ids: Sequence[int]) -> None:
        removed = self._file.make_room(lambda: self._trim(batch_ids))
        for batch_id, each in removed.items():
            if batch_id not in self._put_off.batches:
                self._batches.take_off(each)
        self._put_off.batches_deleted(batch_ids)

    def _trim(self, batch_ids: Iterable[int]) -> dict[int, Removed]:
        with self._file.transaction():
            found = {batch_id: self._batches.remove(batch_id) for batch_id in batch_ids}
            removed = {batch_id: each for batch_id, each in found.items() if each is not None}
            ledger.acknowledge(
                self._db, [(batch_id, each.table, each.rows) for batch_id, each in removed.items()]
            )
            self._space.return_free_pages()
        return removed

    def _put_off_trim(self, batch_ids: Iterable[int], error: Exception | None = None) -> None:
        with self._file.reading():
            found = {each: self._batches.find(each) for each in batch_ids}
        removed = {
            batch_id: each
            for batch_id, each in found.items()
            if each is not None and batch_id not in self._put_off.batches
        }
        for each in removed.values():
            self._batches.take_off(each)
        self._put_off.keep_batches(removed.items(), error)

    def catch_up(self) -> None:
        """Write what was put off, and take the reserve, if there is room: call it now and then."""
        with self._mutex, contextlib.suppress(SpoolError):
            if self.gone is not None:
                return
            if self._put_off:
                self.trim([])
                self.write(self._put_off.write)
                self._put_off.written()
            self._space.reserve.take_back()

    @property
    def _waits(self) -> bool:
        """Whether the file holds batches, or ones whose trim was put off."""
        return bool(self._batches.totals.batches or self._put_off.batches)

    def set_aside(
        self,
        batch: SpooledBatch,
        start: int,
        stop: int,
        *,
        reason: str,
        error: str,
        topic: str | None = None,
        payload: bytes | None = None,
    ) -> bool:
        """Keep rows that cannot be delivered as a dead letter, so that the others can go on.

        Topic and payload are those of the message that they come from, where that is known.
        Doing it again, after a crash before the batch was trimmed, changes nothing, also when
        the letter was retried or dropped meanwhile. When there are too many dead letters the
        rows are dropped, which is counted and said.

        Returns:
            Whether they are kept, and were not before.
        """
        return self._aside.put(
            batch, start, stop, reason=reason, error=error, origin=(topic, payload)
        )

    def send_again(self) -> dict[str, int]:
        """Make batches of dead letters for which that was asked, behind all others: some of them.

        Returns:
            The rows of each table.
        """
        again: Counter[str] = Counter()
        with self._mutex:  # nobody may see the file changed and the count not
            with self._file.transaction():
                letters = self._letters.take_again()
                for each in letters:
                    self._batches.insert(each.table, each.schema_id, self._clock(), each.content)
            for each in letters:
                self._batches.add(each.table, each.content.rows, each.content.size)
                again[each.table] += each.content.rows
        return dict(again)

    def room(self) -> int:
        """Bytes that file and log together may still grow by, within `max_bytes`.

        Inside of `commit` what its batches take is taken off.
        """
        with self._file.reading():
            return self._space.room

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
        found: list[SpooledBatch] = []
        known = known or {}
        size = 0
        with self._file.reading():
            while True:
                ids = self._batches.next_ids(table, batch_id)
                for batch_id, byte_count in ids:  # noqa: PLR1704 - the next query goes on there
                    if found and size + byte_count > limit_bytes:
                        return found
                    batch = known.get(batch_id) or self._read(batch_id)
                    if batch is not None:
                        found.append(batch)
                        size += byte_count
                if found or not ids:
                    return found

    def schema(self, schema_id: str) -> bytes:
        """The descriptor kept under `schema_id`.

        Raises:
            SpoolError: there is none.
        """
        with self._file.reading():
            row = self._db.execute(
                "SELECT descriptor FROM schemas WHERE schema_id = ?", (schema_id,)
            ).fetchone()
            if row is None and schema_id in self._put_off.schemas:
                return self._put_off.schemas[schema_id]
        if row is None:
            raise SpoolError(f"schema {schema_id} was never added to the spool {self.path}")
        return bytes(row[0])

    def pending_rows(self, table: str) -> int:
        """Rows of a table that are spooled and not yet acknowledged."""
        with self._mutex:
            return self._batches.pending_rows().get(table, 0)

    def pending(self) -> dict[str, int]:
        """Rows that are in the file, by table: also those whose trim was put off."""
        with self._mutex:
            rows = self._batches.pending_rows()
            for table, put_off in self._put_off.pending_rows().items():
                rows[table] = rows.get(table, 0) + put_off
            return rows

    def stats(self) -> SpoolStats:
        """Counts of what the spool holds now, and of the room that it and its disk have."""
        with self._file.reading():
            oldest_at = self._batches.oldest_at()
            waiting = self._batches.totals
            dead = self._letters.count().values()
            return SpoolStats(
                batches=waiting.batches,
                rows=waiting.rows,
                row_bytes=waiting.size,
                used_bytes=self._space.used_bytes,
                max_bytes=self._space.max_bytes,
                oldest_age=0.0 if oldest_at is None else max(0.0, self._clock() - oldest_at),
                dead_letters=sum(use.number for use in dead),
                disk_free_bytes=self._space.reserve.free_bytes,
                disk_is_full=self._space.disk_is_full,
                dead_letter_bytes=sum(use.size for use in dead),
                is_full=self._space.is_full,
            )

    @property
    def is_short(self) -> bool:
        """Whether so little room is left that acknowledged batches must leave at once."""
        return self._space.is_short

    @property
    def dropped_letters(self) -> int:
        """Rows that could neither be delivered nor kept, since the file was opened."""
        return self._letters.dropped_rows.total()

    def dead_letter_shares(self) -> dict[LetterKind, DeadLetterShare]:
        """What dead letters of each kind take, may take, and have cost since the file was opened.

        Messages are counted when it is asked for. Those that found no room are in the ledger.
        """
        with self._file.reading():
            kept = self._letters.count() | {LetterKind.UNREADABLE: messages_kept(self._db)}
        return {
            kind: DeadLetterShare(
                *use, self._letters.shares[kind], self._letters.dropped_rows[kind]
            )
            for kind, use in kept.items()
        }

    def has_room(self) -> bool:
        """Whether batches are taken; once one was refused, not before there is room for more.

        An empty spool has room in any case: waiting would not make more of it.
        """
        with self._file.reading():
            return self._space.look_for_room(nothing_waits=not self._waits)

    def note_full(self) -> None:
        """Count as full until there is room: an earlier run ended like that."""
        with self._mutex:
            self._space.note_refusal(0)

    # -- state -----------------------------------------------------------------------

    def get_state(self, key: str) -> StateValue | None:
        """The value kept under `key`, None when there is none."""
        with self._file.reading():
            row = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        value: StateValue | None = row[0] if row else None
        return value

    def set_state(self, key: str, value: StateValue) -> None:
        """Commit one value by itself."""
        self.write(lambda _: self._write_state({key: value}))

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction to read tables of the file in: all that is read is of one moment.

        Meanwhile no other thread reads or writes: what participants keep is of that moment, too.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self._file.reading():
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("COMMIT")

    def read(self, query: Callable[[Transaction], Result]) -> Result:
        """Call a function that reads tables of the file; all that it reads is of one moment.

        Raises:
            SpoolError: the file cannot be read, or is closed.
        """
        with self.reading() as db:
            return query(db)

    def write(self, change: Callable[[Transaction], Result]) -> Result:
        """Commit what a function writes to other tables of the file."""

        def write() -> Result:
            with self._file.transaction():
                return change(self._db)

        return self._file.try_twice(write)

    def write_soon(
        self, change: Callable[[Transaction], object], state: Mapping[str, StateValue] | None = None
    ) -> None:
        """Commit what a function writes, and state; on a full disk with or before the next batch.

        It may be called more than once, if its transaction is taken back.
        """

        def both(db: Transaction) -> None:
            change(db)
            self._write_state(state or {})

        with self._mutex:
            try:
                self.write(both)
            except SpoolDiskFull:
                self._put_off.add(both)

    def look_at_files(self) -> None:
        """Set `gone` if a file was deleted or replaced, `damage` if it was overwritten in place."""
        self._file.look_at_files()

    # -- inside ----------------------------------------------------------------------

    def _write_state(self, state: Mapping[str, StateValue]) -> None:
        if state:
            self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    def _read(self, batch_id: int) -> SpooledBatch | None:
        found = self._batches.fetch(batch_id)
        if found is None:
            raise self._file.note_damage(
                SpoolDamaged(
                    f"the spool {self.path} is damaged: batch {batch_id} is in its index only; "
                    "check the disk, and start again, which saves what can be read of it"
                )
            )
        try:
            rows = EncodedRows.from_blob(found.blob)
        except SpoolDamaged as error:
            self._aside.put_damaged(batch_id, found.table, found.schema_id, found.blob, error)
            return None
        return SpooledBatch(batch_id, found.table, found.schema_id, found.appended_at, rows)
