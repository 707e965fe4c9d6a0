"""The consumer: connections -> inbox -> decode and normalize -> spool -> delivery.

Three kinds of threads: one per MQTT server, which only reads; one that turns batches of
messages into spooled batches of rows; one that delivers them. From the spool on nothing
is lost; what is lost before it is counted by reason.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from consumer import fleet_store, node_alarms
from consumer.back_pressure import BackPressure
from consumer.balance import read_balance
from consumer.broker import BrokerConnection
from consumer.deliveries import Deliveries
from consumer.errors import SpoolDamaged, SpoolError, SpoolFull
from consumer.gap_records import GapTotals
from consumer.gauges import add_gauges
from consumer.inbox import BatchLimits, Inbox, InboxBatch
from consumer.ledger import Ledger
from consumer.overflow import Overflow
from consumer.rebirths import Rebirths
from consumer.side_tables import SideTables, describe_again
from consumer.source import Source, Taken, join_sites, write_all
from consumer.spool import NewBatch, Spool
from consumer.spool_watch import SpoolWatch
from consumer.tables import configured_tables
from consumer.telemetry import Telemetry
from consumer.zerobus import descriptor_bytes
from sparkplug.messages import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.balance import Balance
    from consumer.config import Configuration
    from consumer.spool_types import SpooledBatch, StateValue
    from sparkplug.messages import Decoded

_LOG = logging.getLogger(__name__)

_ARRIVAL_KEY: Final = "next_arrival_number"
_MOST_FAILED_BATCHES: Final = 10
_TAKE_TIMEOUT: Final = 0.2
_RETRY_EVERY: Final = 5.0
_LEDGER_EVERY: Final = 1.0


class Consumer:
    """The whole consumer. `start`, then `stop`; both are called from the main thread.

    Raises:
        SpoolError: the spool cannot be opened (at construction).
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.telemetry = Telemetry()
        self.ledger = Ledger()
        self._ledger_at = 0.0
        batch = configuration.batch
        self._inbox = Inbox(
            configuration.limits.queue_bytes,
            BatchLimits(batch.max_messages, batch.max_bytes, batch.max_delay),
            time.monotonic,
        )
        self.spool = Spool.open(
            configuration.spool.path,
            sync=configuration.spool.sync,
            max_bytes=configuration.spool.max_bytes,
            max_dead_letter_bytes=configuration.spool.max_dead_letter_bytes,
            descriptors=[
                descriptor_bytes(table.descriptor)
                for table in configured_tables(configuration.zerobus).values()
            ],
        )
        zerobus = configuration.zerobus
        self.side = SideTables(zerobus, self.spool, _now_us)
        known = self.spool.get_state(_ARRIVAL_KEY)
        # Lost with a damaged file: go on with numbers that are greater than all before.
        first = _now_us() if self.spool.salvage is not None else 1
        self._next_arrival = int(known) if isinstance(known, int) else first
        self.deliveries = Deliveries(
            self.spool,
            zerobus,
            {table: self.side.schema_id(table) for table in configured_tables(zerobus)},
        )
        self.delivery = self.deliveries.main
        self.gaps = GapTotals()
        self._sources = [
            Source(server, configuration, self.gaps) for server in configuration.servers
        ]
        join_sites(self._sources)
        for source in self._sources:
            source.restore(self.spool, self.ledger)
        self.overflow = Overflow(self.spool, self.telemetry, self._sources)
        self.watch = SpoolWatch(self.spool, configuration.spool, self.telemetry, time.monotonic)
        host_id = configuration.host.id if configuration.host.mode == "active" else None
        self.connections = [
            BrokerConnection(
                index,
                server,
                host_id=host_id,
                inbox=self._inbox,
                spool=self.spool,
                count_refused=self._refusal_counter(server.name),
            )
            for index, server in enumerate(configuration.servers)
        ]
        self.back_pressure = BackPressure(
            configuration, self.spool, self.delivery, self.connections
        )
        self._decoder = threading.Thread(target=self._decode_all, name="decode", daemon=True)
        self.failure: BaseException | None = None
        self._last_balance: Balance | None = None
        self._failed_batches = 0
        self._retry_at = 0.0
        self._rebirths = Rebirths(
            self._sources,
            self.connections,
            self.side,
            self.telemetry,
            passive=configuration.host.mode == "passive",
        )
        add_gauges(self, self._inbox, self._sources)

    def start(self) -> None:
        """Deliver what an earlier run left behind, decode, connect."""
        if waiting := self.spool.stats().rows:
            _LOG.info("%d rows of an earlier run are spooled and go first", waiting)
        self.back_pressure.start()
        self.deliveries.start()
        self._decoder.start()
        for connection in self.connections:
            connection.start()

    def stop(self) -> int:
        """Leave the servers, spool what was received, await acknowledgements.

        Returns the number of rows that remain in the spool for the next run.
        """
        for connection in self.connections:
            connection.request_stop()
        for connection in self.connections:
            connection.join(timeout=5.0)
        self._inbox.close()
        if self._decoder.ident is not None:
            self._decoder.join()
        patience = 0.0 if self.spool.damage else self.configuration.shutdown_timeout
        remaining = self.deliveries.stop(patience)
        if self.failure is not None:
            self._lose("decoding_failed")
        self._write_ledger()
        with contextlib.suppress(SpoolError):
            self._last_balance = self.balance()
        self.spool.close()
        return remaining

    def ask_rebirth(self, server: str, group_id: str, edge_node_id: str) -> None:
        """Ask an edge node for its births because a person wants them; see `Rebirths.ask`."""
        self._rebirths.ask(server, group_id, edge_node_id)

    @property
    def ready(self) -> bool:
        """Whether rows flow: gate and all streams open, every server connected, decoding alive."""
        return (
            self.alive
            and self.back_pressure.is_open
            and self.deliveries.all_open
            and all(connection.connected.is_set() for connection in self.connections)
        )

    @property
    def alive(self) -> bool:
        """Whether the consumer does its work at all; a restart is needed when it does not."""
        if self.failure is None:
            self.failure = self.spool.damage
        return self.failure is None and self._decoder.is_alive()

    def balance(self) -> Balance:
        """What became of all messages and rows up to the last batch that was taken in.

        After `stop` it stays what it was then.

        Raises:
            SpoolError: the spool cannot be read.
        """
        with self.spool.alone():
            if self._last_balance is not None:
                return self._last_balance
            waiting, spooled = self.ledger.waiting(), self.spool.pending()
            return self.spool.read(lambda db: read_balance(db, waiting, spooled))

    @property
    def spooled_rows(self) -> int:
        """Rows of tag_events in the spool that are not acknowledged yet."""
        return self.spool.pending_rows(self.configuration.zerobus.table)

    # ------------------------------------------------------------------ the decoding thread

    def _decode_all(self) -> None:
        try:
            while (batch := self._inbox.take(_TAKE_TIMEOUT)) is not None:
                self.overflow.look(self._sources)
                self._take_whatever_it_is(batch)
                self.watch.look()
                self._tend_gate()
                self._rebirths.send()
                self._retry_dead_letters()
            self._take_leave()
        except SpoolDamaged as error:
            _LOG.error("decoding ended: %s", error)
            self.failure = error
        except Exception as error:  # noqa: BLE001 - the thread's last word: shown by /healthz and the exit code
            _LOG.exception("decoding ended")
            self.failure = error

    def _take_whatever_it_is(self, batch: InboxBatch) -> None:
        """Let one batch that cannot be decoded cost no more than itself.

        That is a defect of ours, or memory that ran out: it is said loudly and counted, and
        when it goes on and on the consumer ends, so that its supervisor notices.
        """
        try:
            self._take(batch)
        except SpoolDamaged:
            raise
        except Exception:
            self._failed_batches += 1
            self._lose("decoding_failed")
            if self._failed_batches >= _MOST_FAILED_BATCHES:
                raise
            _LOG.exception("a batch was lost: decoding failed")
            for index, messages in batch.by_server.items():
                self._sources[index].forgotten = True
                describe_again(self._sources[index].fleet.catalogue)
                self.telemetry.add_reason(
                    "decoding_failed", len(messages), self._sources[index].name, messages.topics[0]
                )
        else:
            self._failed_batches = 0

    def _take(self, batch: InboxBatch) -> None:
        """Decode one batch of every server and commit its rows to the spool."""
        now = time.monotonic()
        taken: list[Taken] = []
        for index, source in enumerate(self._sources):
            received = (batch.by_server.get(index), batch.certificates.get(index))
            self.ledger.received(source.name, sum(map(len, filter(None, received))))
        for index, source in enumerate(self._sources):
            messages = batch.by_server.get(index)
            started = time.perf_counter()
            certificates = batch.certificates.get(index)
            known = source.fleet.warm_start(certificates, now) if certificates else None
            if messages:
                self.telemetry.add_received(source.name, len(messages), messages.size)
                self.deliveries.recent.remember(messages)
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
            source.gaps.collect(at_once=True)
            taken.append(each)
        self._commit(taken)

    def _commit(self, taken: list[Taken], *, again: bool = False) -> None:
        """One transaction for the rows of a batch and all that is remembered with them.

        When there is no room the rows are dropped, and the rest is written for itself: `again`,
        if that shows only at the first attempt.
        """
        dropping = self.overflow.active
        side_batches = self.side.batches()
        if not again:
            self.ledger.batches(side_batches)
        if dropping:
            self._drop(taken, side_batches)
            side_batches = []
        written = [each for each in taken if each.is_worth_a_commit]
        if not written and not side_batches:
            self.side.settle()
            self._postpone()
            return
        started = time.perf_counter()
        table = self.configuration.zerobus.table
        schema_id = self.side.schema_id(table)
        batches = [NewBatch(table, schema_id, part) for each in taken for part in each.rows]
        state = self._state(written) | ({} if dropping else self.side.state())
        try:
            spooled = self._append(batches + side_batches, state, written, dropping=dropping)
        except SpoolFull as error:
            if dropping:
                self._lose(str(Reason.SPOOL_FULL))
                self.overflow.drop_rest(taken)
                return
            self.overflow.begin(error)
            self._commit(taken, again=True)
            return
        finally:
            self.side.settle()
        self.overflow.settle()
        self.telemetry.add_spooled(time.perf_counter() - started)
        for each in written:
            each.written()
            self.telemetry.add_dead_messages_lost(each.dead_lost)
        for batch in side_batches:
            self.telemetry.add_side_rows(batch.table, len(batch.rows))
        self.deliveries.submit(spooled)

    def _state(self, written: list[Taken]) -> dict[str, StateValue]:
        """What the next run must know of this batch."""
        state: dict[str, StateValue] = {_ARRIVAL_KEY: self._next_arrival}
        for each in written:
            state[fleet_store.sequence_key(each.source.name)] = each.sequence
        return state | self.overflow.state()

    def _append(
        self,
        batches: list[NewBatch],
        state: dict[str, StateValue],
        written: list[Taken],
        *,
        dropping: bool = False,
    ) -> list[SpooledBatch]:
        """Commit; what does not fit at first may fit once the gate closes.

        Raises:
            SpoolFull: it does not.
        """

        def append() -> list[SpooledBatch]:
            with self.spool.alone():
                spooled = self.spool.append_many(
                    batches,
                    state=state,
                    also=lambda db: write_all(db, written, self.ledger),
                    spare=dropping,
                )
                self.ledger.written()
            return spooled

        try:
            return append()
        except SpoolFull as error:
            if not self.back_pressure.make_room(error):
                raise
            return append()

    def _drop(self, taken: list[Taken], side_batches: list[NewBatch]) -> None:
        """Drop the rows of a batch, but for those of deaths, and say so in the ledger."""
        reason = str(Reason.SPOOL_FULL)
        side_rows = sum(len(batch.rows) for batch in side_batches)
        for server, messages, rows in self.overflow.drop(taken, side_rows):
            self.ledger.drop(self.configuration.zerobus.table, rows, reason)
            self.ledger.take_back(server, messages, reason)
        for batch in side_batches:
            self.ledger.drop(batch.table, len(batch.rows), reason)

    def _tend_gate(self) -> None:
        """Let the gate close or open, and each server's events tell of it."""
        for event in self.back_pressure.tend():
            for source in self._sources:
                self.side.note(source.tags.names, event)

    def _lose(self, reason: str) -> None:
        """Book the batch that is being taken in as lost, with all its messages and rows."""
        self.ledger.lose(reason, {each.name: each.fleet.held_whole for each in self._sources})

    def _postpone(self) -> None:
        """Book a batch that gave nothing to commit, at most a second later than it was taken."""
        self.ledger.postpone()
        if time.monotonic() - self._ledger_at >= _LEDGER_EVERY:
            self._write_ledger()

    def _write_ledger(self) -> None:
        """Commit what is in the ledger's memory, and in no batch."""
        self._ledger_at = time.monotonic()
        if self.ledger.is_waiting:
            # On a full disk it goes on waiting.
            with contextlib.suppress(SpoolError), self.spool.alone():
                self.spool.write(self.ledger.write)
                self.ledger.written()

    def _convert(self, source: Source, decoded: Decoded, started: float) -> Taken:
        """Rows, as they are spooled, and the rest of what a batch gave."""
        telemetry = self.telemetry
        if decoded.counts:
            examples = {r.reason: f"{r.group_id}/{r.edge_node_id}" for r in decoded.rebirths}
            examples |= {each.reason: each.message.topic for each in decoded.quarantined}
            telemetry.add_reasons(decoded.counts, source.name, examples)
        if decoded.expired:
            telemetry.add_dead_messages(Counter(each.reason for each in decoded.expired))
        for group_id, edge_node_id in decoded.births:
            source.governor.born(group_id, edge_node_id)
        for request in decoded.rebirths:
            source.governor.want(request)
        node_alarms.heed(decoded.events, source.governor, source.fleet.alarms.duplicates.alarmed)
        taken = Taken(source, decoded)
        produced = repeated = 0
        for observations in decoded.observations:
            rows = taken.add(observations, self._next_arrival, dropping=self.overflow.active)
            self._next_arrival += rows
            produced += rows
            repeated += len(observations) - rows
        if repeated:
            telemetry.add_reason(Reason.REPEATED_BIRTH_VALUE, repeated, source.name)
        self.side.take(source.tags, decoded)
        if decoded.observations:
            telemetry.add_decoded(source.name, produced, time.perf_counter() - started)
            self.ledger.rows(self.configuration.zerobus.table, produced + repeated, repeated)
        self.ledger.messages(source.name, decoded, source.fleet.held_whole)
        return taken

    def _retry_dead_letters(self) -> None:
        """See to what `deadletter retry` asked for; on a full disk, later."""
        now = time.monotonic()
        if now >= self._retry_at:
            self._retry_at = now + _RETRY_EVERY
            with contextlib.suppress(SpoolFull):
                self._take_dead_letters(now)

    def _take_dead_letters(self, now: float) -> None:
        rows = self.spool.send_again()
        if rows:
            _LOG.info("%d dead letters are sent again", sum(rows.values()))
            self.deliveries.wake(rows)
        for source in self._sources:
            messages = self.spool.write(partial(fleet_store.take_retries, server=source.name))
            if messages:
                _LOG.info("%d dead messages of %s wait again", len(messages), source.name)
                self.ledger.held_again(source.name, sum(not each.counted for each in messages))
                decoded = source.fleet.hold_again(messages, now)
                self._commit([self._convert(source, decoded, time.perf_counter())])

    def _refusal_counter(self, server: str) -> Callable[[str], None]:
        def count(reason: str) -> None:
            self.telemetry.add_reason(reason, 1, server)
            self.ledger.refuse(server, reason)

        return count


def _now_us() -> int:
    """The wall clock, in microseconds since 1970 UTC."""
    return time.time_ns() // 1_000
