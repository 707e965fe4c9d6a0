"""The decoding thread: batches of messages in, commits to the spool out."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.broker import InboxBatch
from consumer.errors import SpoolDamaged, SpoolError, SpoolFileGone, SpoolFull
from consumer.pipeline.arrival_numbers import ARRIVAL_KEY
from consumer.pipeline.rebirths import AlarmLog
from consumer.pipeline.taken import Taken, committed, in_pieces, write_all
from consumer.spool import NewBatch
from sparkplug import MessageBatch, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consumer.delivery import Deliveries
    from consumer.pipeline.back_pressure import BackPressure
    from consumer.pipeline.intake import Connection, Intake
    from consumer.pipeline.overflow import Overflow
    from consumer.pipeline.rebirths import Rebirths
    from consumer.pipeline.side_tables import SideTables
    from consumer.pipeline.source import Source
    from consumer.pipeline.spool_watch import SpoolWatch
    from consumer.pipeline.telemetry import Telemetry
    from consumer.spool import Ledger, Spool, SpooledBatch, StateValue, Transaction
    from sparkplug import Decoded

_LOG = logging.getLogger(__name__)

_BIRTH_LEFT: Final = "birth_not_kept"
"""Reason: the births of a node are not on disk any more; the next run asks for them."""
_MOST_FAILED_BATCHES: Final = 10
_TAKE_TIMEOUT: Final = 0.25
_RETRY_EVERY: Final = 5.0
_LEDGER_EVERY: Final = 1.0
_PIECE_BYTES: Final = 32 << 20
"""Row bytes that are in memory, and committed, at a time: a few bytes may give many rows."""


class Decoding:
    """Turns batches into spooled rows, on a thread of its own.

    Everything that changes with a batch is changed here, between two commits.
    """

    def __init__(
        self,
        table: str,
        *,
        intake: Intake,
        connections: Sequence[Connection],
        sources: Sequence[Source],
        spool: Spool,
        side: SideTables,
        ledger: Ledger,
        telemetry: Telemetry,
        deliveries: Deliveries,
        overflow: Overflow,
        watch: SpoolWatch,
        back_pressure: BackPressure,
        rebirths: Rebirths,
        next_arrival: int,
    ) -> None:
        self._table = table
        self._intake = intake
        self._connections = connections
        self._sources = sources
        self._spool = spool
        self._side = side
        self._ledger = ledger
        self._telemetry = telemetry
        self._deliveries = deliveries
        self._overflow = overflow
        self._watch = watch
        self._back_pressure = back_pressure
        self._rebirths = rebirths
        self._next_arrival = next_arrival
        self._ledger_at = 0.0
        budget = telemetry.log_budget
        self._alarm_logs = {source: AlarmLog(source.name, budget) for source in sources}
        self._failed_batches = 0
        self._taken: list[Taken] = []  # what the batch gave that is taken in
        self._retry_at = 0.0
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._decode_all, name="decode", daemon=True)

    def _decode_all(self) -> None:
        try:
            while (batch := self._intake.take(_TAKE_TIMEOUT)) is not None:
                self._overflow.look(self._sources)
                for part in self._in_portions(batch):
                    self._take_whatever_it_is(part)
                self._watch.look()
                self._tend_gate()
                self._tell_of_other_hosts()
                self._rebirths.send()
                self._retry_dead_letters()
                self._telemetry.tell()
            self._take_leave()
        except (SpoolDamaged, SpoolFileGone) as error:
            _LOG.error("decoding ended: %s", error)
            self.failure = error
        except Exception as error:  # noqa: BLE001 - the thread's last word: shown by /healthz and the exit code
            _LOG.exception("decoding ended")
            self.failure = error

    def _in_portions(self, batch: InboxBatch) -> Iterator[InboxBatch]:
        """The batch, divided if it would take much memory to be decoded at once."""
        kept = self._portions({i: MessageBatch(each) for i, each in batch.certificates.items()})
        heard = self._portions(batch.by_server)
        if len(kept) == len(batch.certificates) and len(heard) == len(batch.by_server):
            yield batch
            return
        for index, messages in kept:
            yield InboxBatch(certificates={index: list(messages)})
        for index, messages in heard:
            yield InboxBatch({index: messages})
        if batch.lost:
            yield InboxBatch(lost=batch.lost)

    def _portions(self, by_server: Mapping[int, MessageBatch]) -> list[tuple[int, MessageBatch]]:
        return [
            (index, portion)
            for index, messages in by_server.items()
            for portion in self._sources[index].fleet.portions(messages)
        ]

    def _take_whatever_it_is(self, batch: InboxBatch) -> None:
        """Let one batch that cannot be decoded cost no more than itself.

        That is a defect of ours, or memory that ran out: it is said loudly and counted, and
        when it goes on and on the consumer ends, so that its supervisor notices.
        """
        try:
            self._take(batch)
        except (SpoolDamaged, SpoolFileGone):
            raise
        except Exception:
            self._failed_batches += 1
            self.lose("decoding_failed")
            if self._failed_batches >= _MOST_FAILED_BATCHES:
                raise
            if self._telemetry.log_budget.allows("decoding_failed_batch", ours=True):
                _LOG.exception("a batch was lost: decoding failed")
            touched = {self._sources[index] for index in batch.by_server}
            # Time passed for the others, too: births that had waited may have been read.
            touched |= {each.source for each in self._taken if each.decoded.memories}
            for source in touched:
                source.forgotten = True
                source.fleet.catalogue.describe_again()
            for index, messages in batch.by_server.items():
                self._telemetry.add_reason(
                    "decoding_failed", len(messages), self._sources[index].name, messages.topics[0]
                )
        else:
            self._failed_batches = 0
            self._taken = []  # freed now, and not when the next batch comes: it is in the cache

    def _take(self, batch: InboxBatch) -> None:
        """Decode one batch of every server and commit its rows to the spool."""
        now = time.monotonic()
        taken = self._taken = []
        for index, source in enumerate(self._sources):
            received = (batch.by_server.get(index), batch.certificates.get(index))
            self._ledger.received(source.name, sum(map(len, filter(None, received))))
        for index, source in enumerate(self._sources):
            messages = batch.by_server.get(index)
            started = time.perf_counter()
            certificates = batch.certificates.get(index)
            known = source.fleet.warm_start(certificates, now) if certificates else None
            if messages:
                self._telemetry.add_received(source.name, len(messages), messages.size)
                self._deliveries.recent.remember(messages)
                decoded = source.fleet.feed(messages, now)
            else:
                decoded = source.fleet.tick(now)
            if known is not None:
                decoded.add(known)
            if index in batch.lost:
                decoded.add(source.fleet.connection_lost(now, batch.lost[index]))
                source.gaps.connection_lost(batch.lost[index])
            taken.append(self._convert(source, decoded, started))
        self._commit(taken)

    def _take_leave(self) -> None:
        """Spool what waits: for a missing message no longer, for a birth until the next start."""
        taken: list[Taken] = []
        for source in self._sources:
            started = time.perf_counter()
            each = self._convert(source, source.fleet.flush(time.monotonic()), started)
            each.held = source.fleet.held()
            source.gaps.collect(leaving=True)
            taken.append(each)
        self._commit(taken)

    def _commit(self, taken: list[Taken], *, again: bool = False) -> None:
        """One transaction for the rows of a batch and all that is remembered with them.

        When there is no room the rows are dropped, and the rest is written for itself: `again`,
        if that shows only at the first attempt.
        """
        dropping = self._overflow.active
        side_batches = self._side.batches()
        if not again:
            self._ledger.batches(side_batches)
        if dropping:
            self._drop(taken, side_batches)
            side_batches = []
        written = [each for each in taken if each.is_worth_a_commit]
        if not written and not side_batches:
            self._side.settle()
            self._postpone()
            return
        started = time.perf_counter()
        try:
            spooled = self._append_all(taken, written, side_batches, dropping=dropping)
        except SpoolFull as error:
            if dropping:
                self.lose(str(Reason.SPOOL_FULL))
                self._overflow.drop_rest(taken)
                return
            self._overflow.begin(error)
            self._commit(taken, again=True)
            return
        finally:
            self._side.settle()
        self._overflow.settle()
        self._telemetry.add_spooled(time.perf_counter() - started)
        for each in written:
            each.written()
            self._tell_of_lost(each)
        for batch in side_batches:
            self._telemetry.add_side_rows(batch.table, len(batch.rows))
        self._deliveries.submit(spooled)

    def _tell_of_lost(self, taken: Taken) -> None:
        """What belonged to a batch and found no room beside it."""
        if taken.dead_lost:
            self._telemetry.add_dead_messages_lost(taken.dead_lost)
        if taken.births_left:
            counts = Counter(server for server, *_ in taken.births_left)
            for server, count in counts.items():
                example = next("/".join(n) for name, *n in taken.births_left if name == server)
                self._telemetry.add_reason(_BIRTH_LEFT, count, server, example)
        if taken.held_lost:
            reason, server = str(Reason.SPOOL_FULL), taken.source.name
            self._telemetry.add_discarded(taken.held_lost, reason, server)

    def _state(self, written: list[Taken]) -> dict[str, StateValue]:
        """What the next run must know of this batch."""
        state: dict[str, StateValue] = {ARRIVAL_KEY: self._next_arrival}
        for each in written:
            state |= each.state
        return state | self._overflow.state()

    def _append_all(
        self,
        taken: list[Taken],
        written: list[Taken],
        side_batches: list[NewBatch],
        *,
        dropping: bool,
    ) -> list[SpooledBatch]:
        """Commit a batch, in pieces if it has many bytes; return those of the last one.

        What is remembered of the batch goes with the last piece. Whoever is killed before has
        some of its rows twice, or too early, but none of them for nothing: the messages are
        missing, as if nothing of them had come.

        Raises:
            SpoolFull: a piece found no room. Those before it are committed.
        """
        schema_id = self._side.schema_id(self._table)
        for piece, last in in_pieces(taken, _PIECE_BYTES):
            batches = [NewBatch(self._table, schema_id, rows) for _, rows in piece]
            if last:
                state = self._state(written)
                return self._append(batches + side_batches, state, written, dropping=dropping)
            left = sum(each.rows_left for each in taken)
            self._deliveries.submit(self._append_piece(batches, left, dropping=dropping))
            committed(piece)
        raise AssertionError("no piece was the last")

    def _append_piece(
        self, batches: list[NewBatch], left: int, *, dropping: bool
    ) -> list[SpooledBatch]:
        """Commit rows of a batch, of which so many are left, before the rest of it.

        Raises:
            SpoolFull: they do not fit.
        """
        rows = sum(len(batch.rows) for batch in batches)
        # Whoever is killed now gives the numbers of those that are not committed again.
        next_arrival = self._next_arrival - (0 if dropping else left - rows)

        def append() -> list[SpooledBatch]:
            return self._spool.append_many(
                batches,
                state={ARRIVAL_KEY: next_arrival},
                also=lambda db: self._ledger.write_piece(db, self._table, rows),
                spare=dropping,
            )

        with self._spool.alone():
            spooled = self._within(append)
            self._ledger.piece_written(self._table, rows)
        return spooled

    def _append(
        self,
        batches: list[NewBatch],
        state: dict[str, StateValue],
        written: list[Taken],
        *,
        dropping: bool = False,
    ) -> list[SpooledBatch]:
        """Commit rows, and what is remembered with them.

        Raises:
            SpoolFull: it does not.
        """

        def also(db: Transaction) -> None:
            write_all(db, written, self._ledger, self._spool.room)
            if not dropping:
                self._side.write(db, self._spool.room)

        def append() -> list[SpooledBatch]:
            with self._spool.alone():
                spooled = self._spool.append_many(
                    batches,
                    state=state,
                    also=also,
                    spare=dropping,
                )
                self._ledger.written()
            return spooled

        return self._within(append)

    def _within(self, append: Callable[[], list[SpooledBatch]]) -> list[SpooledBatch]:
        """Append; what does not fit at first may fit once the gate closes."""
        try:
            return append()
        except SpoolFull as error:
            if not self._back_pressure.make_room(error):
                raise
            return append()

    def _drop(self, taken: list[Taken], side_batches: list[NewBatch]) -> None:
        """Drop the rows of a batch, but for those of deaths, and say so in the ledger."""
        reason = str(Reason.SPOOL_FULL)
        side_rows = sum(len(batch.rows) for batch in side_batches)
        for server, messages, rows in self._overflow.drop(taken, side_rows):
            self._ledger.drop(self._table, rows, reason)
            self._ledger.take_back(server, messages, reason)
        for batch in side_batches:
            self._ledger.drop(batch.table, len(batch.rows), reason)

    def _tend_gate(self) -> None:
        """Let the gate close or open, and each server's events tell of it."""
        for event in self._back_pressure.tend():
            for source in self._sources:
                self._side.note(source.tags.names, event)

    def _tell_of_other_hosts(self) -> None:
        """Let the events of a server tell of others that use this host's id there."""
        for source, connection in zip(self._sources, self._connections, strict=True):
            for event in connection.own_state.take_events():
                self._side.note(source.tags.names, event)

    def lose(self, reason: str) -> None:
        """Book the batch that is being taken in as lost, with all its messages and rows."""
        self._ledger.lose(reason, {each.name: each.fleet.held_whole for each in self._sources})

    def _postpone(self) -> None:
        """Book a batch that gave nothing to commit, at most a second later than it was taken."""
        self._ledger.postpone()
        if time.monotonic() - self._ledger_at >= _LEDGER_EVERY:
            self.write_ledger()

    def write_ledger(self) -> None:
        """Commit what is in the ledger's memory, and in no batch."""
        self._ledger_at = time.monotonic()
        if self._ledger.is_waiting:
            # On a full disk it goes on waiting.
            with contextlib.suppress(SpoolError), self._spool.alone():
                self._spool.write(self._ledger.write)
                self._ledger.written()

    def _convert(self, source: Source, decoded: Decoded, started: float) -> Taken:
        """Rows, as they are spooled, and the rest of what a batch gave."""
        telemetry = self._telemetry
        if decoded.counts:
            examples = {r.reason: f"{r.group_id}/{r.edge_node_id}" for r in decoded.rebirths}
            examples |= {each.reason: each.message.topic for each in decoded.quarantined}
            examples |= decoded.examples
            telemetry.add_reasons(decoded.counts, source.name, examples)
        if decoded.expired:
            telemetry.add_dead_messages(Counter(each.reason for each in decoded.expired))
        for group_id, edge_node_id in decoded.births:
            source.governor.born(group_id, edge_node_id)
        born = set(decoded.births)
        for request in decoded.rebirths:
            # The birth that data came before may have come behind it, in the same batch.
            answered = request.reason is Reason.DATA_BEFORE_BIRTH and request[:2] in born
            if not answered:
                source.governor.want(request)
        self._alarm_logs[source].heed(
            decoded.events, source.governor, source.fleet.alarms.duplicates.alarmed
        )
        taken = Taken(source, decoded)
        produced = repeated = 0
        for observations in decoded.observations:
            rows = taken.add(observations, self._next_arrival, dropping=self._overflow.active)
            self._next_arrival += rows
            produced += rows
            repeated += len(observations) - rows
        if repeated:
            telemetry.add_reason(Reason.REPEATED_BIRTH_VALUE, repeated, source.name)
        self._side.take(source.tags, decoded)
        if decoded.observations:
            telemetry.add_decoded(source.name, produced, time.perf_counter() - started)
            self._ledger.rows(self._table, produced + repeated, repeated)
        self._ledger.messages(source.name, decoded, source.fleet.held_whole)
        return taken

    def _retry_dead_letters(self) -> None:
        """See to what `deadletter retry` asked for; on a full disk, later."""
        now = time.monotonic()
        if now >= self._retry_at:
            self._retry_at = now + _RETRY_EVERY
            with contextlib.suppress(SpoolFull):
                self._take_dead_letters(now)

    def _take_dead_letters(self, now: float) -> None:
        rows = self._spool.send_again()
        if rows:
            _LOG.info("%d dead letters are sent again", sum(rows.values()))
            self._deliveries.wake(rows)
        for source in self._sources:
            messages = self._spool.write(source.store.take_retries)
            if messages:
                _LOG.info("%d dead messages of %s wait again", len(messages), source.name)
                self._ledger.held_again(source.name, sum(not each.counted for each in messages))
                decoded = source.fleet.hold_again(messages, now)
                self._commit([self._convert(source, decoded, time.perf_counter())])
