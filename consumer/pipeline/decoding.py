"""The decoding thread: batches of messages in, commits to the spool out."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.broker import InboxBatch
from consumer.errors import SpoolDamaged, SpoolFileGone, SpoolFull, SpoolLocked
from consumer.pipeline.portions import Giant, Portions
from consumer.pipeline.rebirths import AlarmLog
from consumer.pipeline.taken import Taken
from sparkplug import Reason

if TYPE_CHECKING:
    from consumer.pipeline.commits import Commits
    from consumer.pipeline.ingest import Ingest
    from consumer.pipeline.parts import Parts
    from consumer.pipeline.source import Source
    from sparkplug import Decoded

_LOG = logging.getLogger(__name__)

_ENDS: Final = (SpoolDamaged, SpoolFileGone, SpoolLocked)
"""After these no batch can be committed: the consumer ends, and edge nodes keep what they can."""
_MOST_FAILED_BATCHES: Final = 10
_TAKE_TIMEOUT: Final = 0.25
_RETRY_EVERY: Final = 5.0


class Decoding:
    """Turns batches into spooled rows, on a thread of its own.

    Whatever changes with a batch is changed on this thread: the fleets here, between two commits;
    arrival numbers, overflow, ledger and gaps by `Commits`.
    """

    def __init__(self, parts: Parts, commits: Commits, ingest: Ingest) -> None:
        self._table = parts.table
        self._portions = Portions(parts.intake, parts.sources)
        self._connections = parts.connections
        self._sources = parts.sources
        self._spool = parts.spool
        self._side = parts.side
        self._ledger = parts.ledger
        self._telemetry = parts.telemetry
        self._deliveries = parts.deliveries
        self._overflow = parts.overflow
        self._watch = parts.watch
        self._back_pressure = parts.back_pressure
        self._drill = parts.drill
        self._rebirths = parts.rebirths
        self._commits = commits
        self._ingest = ingest
        self._freed = parts.freed
        budget = parts.telemetry.log_budget
        self._alarm_logs = {source: AlarmLog(source.name, budget) for source in parts.sources}
        self._failed_batches = 0
        self._is_within_giant = False
        self._taken: list[Taken] = []  # what the batch gave that is taken in
        self._retry_at = 0.0
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._decode_all, name="decode", daemon=True)

    def _decode_all(self) -> None:
        try:
            while self._portions.take(_TAKE_TIMEOUT):
                for portion in self._portions:
                    self._overflow.look(self._sources)
                    self._take_whatever_it_is(portion)
                    self._see_to_the_rest()
            self._ingest.take_leave()
            self._take_leave()
        except _ENDS as error:
            _LOG.error("decoding ended: %s", error)
            self.failure = error
        except Exception as error:  # noqa: BLE001 - the thread's last word: shown by /healthz and the exit code
            _LOG.exception("decoding ended")
            self.failure = error
        finally:
            self._ingest.close()

    def _see_to_the_rest(self) -> None:
        """Do what is due from time to time, also while one giant follows the other."""
        self._ingest.take_in()
        self._freed.look()
        self._watch.look()
        self._tend_gate()
        self._tend_drill()
        self._tell_of_other_hosts()
        self._rebirths.send()
        self._retry_dead_letters()
        self._telemetry.remarks.tell()

    def _take_whatever_it_is(self, portion: InboxBatch | Giant, now: float | None = None) -> None:
        """Let one portion that cannot be decoded cost no more than itself.

        That is a defect of ours, or memory that ran out: it is said loudly and counted, and
        when it goes on and on the consumer ends, so that its supervisor notices.
        """
        batch = portion.batch if isinstance(portion, Giant) else portion
        try:
            if isinstance(portion, Giant):
                self._take_giant(portion)
            else:
                self._take(portion, now)
        except _ENDS:
            raise
        except Exception:
            self._failed_batches += 1
            self._commits.lose("decoding_failed")
            if self._failed_batches >= _MOST_FAILED_BATCHES:
                raise
            if self._telemetry.log_budget.allows("decoding_failed_batch", ours=True):
                _LOG.exception("a batch was lost: decoding failed")
            touched = {self._sources[index] for index in batch.by_server}
            # Time passed for the others, too: births that had waited may have been read.
            touched |= {each.source for each in self._taken if each.decoded.memories}
            for source in touched:
                source.births_are_void = True
                source.tags.forget_last_rows()
                source.fleet.catalogue.states.describe_again()
            for index, messages in batch.by_server.items():
                self._telemetry.remarks.note(
                    "decoding_failed", len(messages), self._sources[index].name, messages.topics[0]
                )
        else:
            if not self._is_within_giant:  # what comes beside it says nothing of it
                self._failed_batches = 0
            self._taken = []  # freed now, and not when the next batch comes: it is in the cache

    def _take(self, batch: InboxBatch, now: float | None = None) -> None:
        """Decode one batch of every server and commit its rows to the spool."""
        self._commits.commit(self._read(batch, time.monotonic() if now is None else now))

    def _take_giant(self, giant: Giant) -> None:
        """Decode one giant and commit its rows in pieces, and between these what comes of others.

        Nothing is remembered of the giant before all of its rows are committed: who is
        killed before has not heard it.
        """
        now = time.monotonic()
        beside = self._portions.beside(giant)
        self._is_within_giant = True
        try:
            self._take_whatever_it_is(InboxBatch(), now)  # so that what time gives is not its own
            with contextlib.ExitStack() as unfinished:
                for source in self._sources:
                    unfinished.enter_context(source.fleet.memory.unfinished(*giant.node))
                taken, last = self._read(giant.batch, now), None
                for last in self._commits.commit_but_last_piece(taken):
                    if last is None:
                        with self._ledger.apart():
                            for others in beside:
                                self._take_whatever_it_is(others)
                        self._ingest.take_in()
                        self._taken = taken
        finally:
            self._is_within_giant = False
            beside.end()
        self._commits.commit(taken, last)

    def _read(self, batch: InboxBatch, now: float) -> list[Taken]:
        """Decode one batch; return what each server's part of it gave."""
        taken = self._taken = []
        for index, source in enumerate(self._sources):
            received = (batch.by_server.get(index), batch.certificates.get(index))
            self._ledger.received(source.name, sum(map(len, filter(None, received))))
        for index, source in enumerate(self._sources):
            messages = batch.by_server.get(index)
            started = time.perf_counter()
            certificates = batch.certificates.get(index)
            known = source.fleet.memory.warm_start(certificates, now) if certificates else None
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
            if index in batch.lost:
                self._drill.left(source)
        return taken

    def _take_leave(self) -> None:
        """Spool what waits: for a missing message no longer, for a birth until the next start."""
        taken: list[Taken] = []
        for source in self._sources:
            started = time.perf_counter()
            each = self._convert(source, source.fleet.flush(time.monotonic()), started)
            each.held = source.fleet.memory.held()
            taken.append(each)
        self._commits.commit(taken, leaving=True)

    def _tend_gate(self) -> None:
        """Let the gate close or open, and each server's events tell of it."""
        for event in self._back_pressure.tend():
            for source in self._sources:
                self._side.note(source.tags.names, event)

    def _tend_drill(self) -> None:
        """Let a drill go on, and the events of its servers tell of it."""
        for name, event in self._drill.tend():
            for source in self._sources:
                if source.name == name:
                    self._side.note(source.tags.names, event)

    def _tell_of_other_hosts(self) -> None:
        """Let the events of a server tell of others that use this host's id there."""
        for source, connection in zip(self._sources, self._connections, strict=True):
            for event in connection.own_state.take_events():
                self._side.note(source.tags.names, event)

    def _convert(self, source: Source, decoded: Decoded, started: float) -> Taken:
        """Rows, as they are spooled, and the rest of what a batch gave."""
        telemetry = self._telemetry
        self._drill.look(source, decoded)
        if decoded.counts:
            examples = {r.reason: f"{r.group_id}/{r.edge_node_id}" for r in decoded.rebirths}
            examples |= {each.reason: each.message.topic for each in decoded.quarantined}
            examples |= decoded.examples
            telemetry.remarks.note_all(decoded.counts, source.name, examples)
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
        taken = Taken(source, decoded, source.fleet.memory.no_longer_held())
        produced = repeated = 0
        for observations in decoded.observations:
            first = self._commits.next_arrival
            rows = taken.make_rows(observations, first, dropping=self._overflow.active)
            self._commits.next_arrival += rows
            produced += rows
            repeated += len(observations) - rows
        if repeated:
            telemetry.remarks.note(Reason.REPEATED_BIRTH_VALUE, repeated, source.name)
        if decoded.observations:
            telemetry.add_decoded(source.name, produced, time.perf_counter() - started)
            self._ledger.rows(self._table, produced + repeated, repeated)
        self._ledger.messages(source.name, decoded, source.fleet.gauges.held_whole)
        return taken

    def _retry_dead_letters(self) -> None:
        """See to what `deadletter retry` asked for; on a full disk, later."""
        now = time.monotonic()
        if now >= self._retry_at:
            self._retry_at = now + _RETRY_EVERY
            with contextlib.suppress(SpoolFull):
                self._take_dead_letters(now)

    def _take_dead_letters(self, now: float) -> None:
        rows = self._spool.letters.send_again()
        if rows:
            _LOG.info("%d dead letters are sent again", sum(rows.values()))
            self._deliveries.wake(rows)
        for source in self._sources:
            messages = self._spool.write(source.store.take_retries)
            if messages:
                _LOG.info("%d dead messages of %s wait again", len(messages), source.name)
                self._ledger.held_again(source.name, sum(not each.counted for each in messages))
                decoded = source.fleet.hold_again(messages, now)
                self._commits.commit([self._convert(source, decoded, time.perf_counter())])
