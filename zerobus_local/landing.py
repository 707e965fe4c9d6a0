"""Landing: requests of all streams of a table become Delta commits, then acknowledgements.

One thread per table writes to it. It commits at most every `commit_interval`, or when there
is `ENOUGH_RECORDS`, and only after a commit does it tell the streams how far they have landed.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import grpc
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake import Transaction as AppTransaction
from deltalake.exceptions import DeltaError

from zerobus_local.due_faults import COMMIT, CommitFailure
from zerobus_local.errors import CommitError, RecordError, Refusal
from zerobus_local.maintenance import Maintenance
from zerobus_local.tables import DataDir, TableName, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zerobus_local.counters import Tally
    from zerobus_local.due_faults import DueFaults
    from zerobus_local.records import Decoder

log = logging.getLogger(__name__)

CHUNK_RECORDS = 4000
"""Records per conversion: enough to amortise the call, few enough to stay in the cache."""
ENOUGH_RECORDS = 40_000
"""Records that do not wait for the interval, which keeps few from making many files.

Clients that have 100,000 under way at most (100 calls of 1,000) would wait for it in vain.
"""
COMMIT_ATTEMPTS = 4
FIRST_RETRY_SECONDS = 0.1

_APPLICATION = "zerobus-local"
# Checkpoints and log cleanup are the maintenance thread's.
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class Stream(Protocol):
    """The stream that a request came on, as its table sees it.

    Attributes:
        refusing: true from `refused` on. Requests queued before that do not land.
    """

    refusing: bool

    def landed(self, offset: int, commit: int) -> None:
        """Everything up to `offset` is in the table since the commit of this number."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Requests behind the last landed offset are refused: they will not be in the table.

        Sets `refusing`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """The records of one offset of one stream.

    Attributes:
        size: bytes on the wire, which count against the limit of uncommitted data.
    """

    stream: Stream
    decoder: Decoder
    offset: int
    records: Sequence[bytes | str]
    size: int


class ByteBudget:
    """Bounds the bytes that are received and not yet committed, over all tables."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._freed = threading.Condition()
        self._closed = False

    def acquire(self, size: int) -> bool:
        """Wait until `size` fits (or nothing else is held); False once closed."""
        with self._freed:
            self._freed.wait_for(
                lambda: self._closed or not self._used or self._used + size <= self._limit
            )
            if self._closed:
                return False
            self._used += size
            return True

    def release(self, size: int) -> None:
        """Give back what was acquired."""
        with self._freed:
            self._used -= size
            self._freed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._freed:
            self._closed = True
            self._freed.notify_all()

    @property
    def tight(self) -> bool:
        """Whether more than half of the budget is used, so that a commit is due at once."""
        return self._used * 2 > self._limit


@dataclass(frozen=True, slots=True)
class LandingOptions:
    """How rows are landed.

    Attributes:
        commit_interval: seconds between the starts of two commits of a table, unless
            `ENOUGH_RECORDS` wait.
        max_uncommitted_bytes: what may be received and not committed, over all tables.
        compact_every: commits between two compactions of a table.
    """

    commit_interval: float
    max_uncommitted_bytes: int
    compact_every: int


@dataclass(frozen=True, slots=True)
class _Shared:
    """Options, budget and other parts that all tables' writers use."""

    options: LandingOptions
    budget: ByteBudget
    maintenance: Maintenance
    faults: DueFaults
    tally: Tally


class Landing:
    """All tables that streams write to."""

    def __init__(
        self, data_dir: DataDir, options: LandingOptions, faults: DueFaults, tally: Tally
    ) -> None:
        self._data_dir = data_dir
        budget = ByteBudget(options.max_uncommitted_bytes)
        self._shared = _Shared(options, budget, Maintenance(tally), faults, tally)
        self._tables: dict[TableName, TableWriter] = {}
        self._lock = threading.Lock()

    def table(self, name: TableName) -> TableWriter:
        """The writer of a table, which it opens at first use.

        Raises:
            Refusal: there is no such table, or none that can be written to.
        """
        with self._lock:
            if name not in self._tables:
                delta = self._data_dir.open(name)
                self._tables[name] = TableWriter(name, delta, self._shared)
            return self._tables[name]

    def hurry(self) -> None:
        """Have all tables commit without waiting for the interval, for good: streams are to end."""
        with self._lock:
            for writer in self._tables.values():
                writer.hurry()

    def close(self) -> None:
        """Commit what was received, then stop all threads."""
        self._shared.budget.close()
        with self._lock:
            writers = list(self._tables.values())
            self._tables.clear()
        for writer in writers:
            writer.close()
        self._shared.maintenance.close()


class TableWriter:
    """The only appender of one table, in a thread of its own."""

    def __init__(self, name: TableName, delta: DeltaTable, shared: _Shared) -> None:
        self.name = name
        self.schema = schema_of(delta)
        self._delta = delta
        self._transaction = delta.transaction_version(_APPLICATION) or 0
        self._shared = shared
        self._pending: list[Request] = []
        self._pending_records = 0
        self._wake = threading.Condition()
        self._hurried = False
        self._closing = False
        self._last_start = 0.0
        self._thread = threading.Thread(target=self._run, name=f"landing {name}", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> bool:
        """Queue a request, waiting for room; False if the server is stopping."""
        if not self._shared.budget.acquire(request.size):
            return False
        with self._wake:
            self._pending.append(request)
            self._pending_records += len(request.records)
            self._wake.notify()
        return True

    def hurry(self) -> None:
        """Have the table commit without waiting for the interval, for good."""
        with self._wake:
            self._hurried = True
            self._wake.notify()

    def close(self) -> None:
        """Land what is queued, then stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while requests := self._next():
            try:
                self._land(requests)
            except Exception:
                # A defect must not leave streams waiting for ever; nothing is acknowledged.
                log.exception("Landing in %s failed", self.name)
                internal = Refusal(grpc.StatusCode.INTERNAL, "Internal error.")
                for stream in {request.stream for request in requests}:
                    stream.refused(internal)
            finally:
                self._shared.budget.release(sum(request.size for request in requests))

    def _next(self) -> list[Request]:
        """Wait until a commit is due; return the queued requests, none when it is time to stop."""
        with self._wake:
            self._wake.wait_for(lambda: self._pending or self._closing)
            due = self._last_start + self._shared.options.commit_interval
            self._wake.wait_for(self._in_haste, max(0.0, due - time.monotonic()))
            requests, self._pending = self._pending, []
            self._pending_records = 0
        self._last_start = time.monotonic()
        return requests

    def _in_haste(self) -> bool:
        return (
            self._hurried
            or self._closing
            or self._pending_records >= ENOUGH_RECORDS
            or self._shared.budget.tight
        )

    def _land(self, requests: list[Request]) -> None:
        by_stream: dict[Stream, list[Request]] = {}
        for request in requests:
            if not request.stream.refusing:
                by_stream.setdefault(request.stream, []).append(request)
        decoded = {stream: _decode(own) for stream, own in by_stream.items()}
        batches = [batch for rows in decoded.values() for batch in rows.batches]
        table = pa.Table.from_batches(batches, schema=self.schema)
        try:
            if table.num_rows:
                self._commit(table)
        except CommitError as error:
            for stream in by_stream:
                stream.refused(Refusal(grpc.StatusCode.UNAVAILABLE, str(error)))
            return
        for stream, rows in decoded.items():
            if rows.landed is not None:
                stream.landed(rows.landed, self._transaction)
            if rows.wrong is not None:
                self._shared.tally.count(records_refused=1)
                stream.refused(Refusal(grpc.StatusCode.INVALID_ARGUMENT, rows.wrong.text))

    def _commit(self, table: pa.Table) -> None:
        """Append `table`, repeating a failed attempt unless it landed after all.

        Raises:
            CommitError: every attempt failed.
        """
        self._shared.faults.wait(COMMIT, lambda: self._closing)
        number = self._transaction + 1
        properties = CommitProperties(app_transactions=[AppTransaction(_APPLICATION, number)])
        pause = FIRST_RETRY_SECONDS
        for attempt in range(1, COMMIT_ATTEMPTS + 1):
            failure = self._shared.faults.commit_failure()
            try:
                if failure is not CommitFailure.BEFORE:
                    write_deltalake(
                        self._delta,
                        table,
                        mode="append",
                        commit_properties=properties,
                        post_commithook_properties=_NO_HOOKS,
                    )
                if failure is not None:
                    raise OSError(f"a failure {failure.value} was asked for")  # noqa: TRY301
            except (DeltaError, OSError) as error:
                self._shared.tally.count(commit_failures=1)
                log.warning("Commit to %s failed (attempt %d): %s", self.name, attempt, error)
                if not self._landed_after_all(number):
                    if attempt == COMMIT_ATTEMPTS:
                        raise CommitError(f"Commit to table {self.name} failed: {error}") from error
                    time.sleep(pause)
                    pause *= 2
                    continue
            break
        self._transaction = number
        self._shared.tally.count(commits=1, records_committed=table.num_rows)
        if number % self._shared.options.compact_every == 0:
            self._shared.maintenance.ask(self._delta.table_uri)

    def _landed_after_all(self, number: int) -> bool:
        with suppress(DeltaError, OSError):
            self._delta = DeltaTable(self._delta.table_uri)
            return self._delta.transaction_version(_APPLICATION) == number
        return False


@dataclass(slots=True)
class _Decoded:
    """The rows of one stream's requests, the last offset of them, and why not all."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    landed: int | None = None
    wrong: RecordError | None = None


def _decode(requests: list[Request]) -> _Decoded:
    """Convert requests in chunks. Each lands whole or not at all."""
    rows = _Decoded()
    decoder = requests[0].decoder
    chunk: list[bytes | str] = []
    starts: list[int] = []  # of the requests within the chunk
    for index, request in enumerate(requests):
        starts.append(len(chunk))
        chunk += request.records
        if len(chunk) < CHUNK_RECORDS and index + 1 < len(requests):
            continue
        batch, rows.wrong = decoder.decode(chunk)
        if rows.wrong is not None:
            position = bisect_right(starts, rows.wrong.index) - 1
            rows.batches.append(batch.slice(0, starts[position]))
            wrong_request = index + 1 - len(starts) + position
            if wrong_request:
                rows.landed = requests[wrong_request - 1].offset
            return rows
        rows.batches.append(batch)
        rows.landed = request.offset
        starts, chunk = [], []
    return rows
