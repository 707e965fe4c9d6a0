"""The consumer: connections -> intake -> decode and normalize -> spool -> delivery.

Its threads: one per MQTT server, which only reads; one that turns batches of messages into
spooled batches of rows; one for each stream of a table, which delivers them; one that answers HTTP.
The SDK has threads of its own. From the spool on nothing is lost; what is lost before it is counted
by reason.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from consumer.config import configured_layout, configured_tables
from consumer.errors import SpoolError
from consumer.malloc import FreedMemory
from consumer.pipeline import wiring
from consumer.pipeline.arrival_numbers import next_arrival
from consumer.pipeline.back_pressure import BackPressure
from consumer.pipeline.commits import Commits
from consumer.pipeline.decoding import Decoding
from consumer.pipeline.drill import Drill
from consumer.pipeline.gaps import GapTotals
from consumer.pipeline.ingest import Ingest
from consumer.pipeline.overflow import Overflow
from consumer.pipeline.parts import Parts
from consumer.pipeline.posts import Busy, Posts
from consumer.pipeline.rebirths import Rebirths
from consumer.pipeline.side_tables import SideTables
from consumer.pipeline.source import Source, join_sites
from consumer.pipeline.spool_watch import SpoolWatch
from consumer.spool import read_balance
from sparkplug import TagRoom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.config import Configuration
    from consumer.pipeline.intake import Connection, Intake
    from consumer.pipeline.telemetry import Telemetry
    from consumer.spool import Balance, Ledger, Spool

_LOG = logging.getLogger(__name__)


class Consumer:
    """The whole consumer. `start`, then `stop`; both are called from the main thread.

    Args:
        configuration: of everything; its servers are in the order of the connections.
        intake: brings the messages.
        connections: bring them there, and carry rebirth requests.
        spool: open; closed by `stop`.
        telemetry: where everything is counted.
        ledger: what became of every message and row.

    Raises:
        SpoolError: the spool cannot be read or written (at construction).
    """

    def __init__(
        self,
        configuration: Configuration,
        intake: Intake,
        connections: Sequence[Connection],
        *,
        spool: Spool,
        telemetry: Telemetry,
        ledger: Ledger,
    ) -> None:
        self.configuration = configuration
        self.intake = intake
        self.connections = connections
        self.spool = spool
        self.telemetry = telemetry
        self.ledger = ledger
        zerobus, host = configuration.zerobus, configuration.host
        layout = configured_layout(configuration.normalize)
        self.side = SideTables(
            zerobus,
            spool,
            _now_us,
            normalize=configuration.normalize,
            spool_bytes=configuration.spool.max_bytes,
            budget=telemetry.log_budget,
        )
        first_arrival = next_arrival(spool, _now_us())
        self.deliveries = wiring.deliveries(
            spool,
            zerobus,
            {
                table: self.side.schema_id(table)
                for table in configured_tables(zerobus, configuration.normalize)
            },
            telemetry,
            layout,
        )
        self.main_delivery = self.deliveries.main
        self.gaps = GapTotals()
        room = TagRoom()
        self.sources = [
            Source(server, configuration, self.gaps, room, layout)
            for server in configuration.servers
        ]
        join_sites(self.sources)
        for source in self.sources:
            source.restore(spool, ledger)
            telemetry.remarks.count("birth_damaged", len(source.store.births.damaged))
        self.overflow = Overflow(spool, telemetry, self.sources)
        self.watch = SpoolWatch(spool, configuration.spool, telemetry, time.monotonic)
        self.back_pressure = BackPressure(
            configuration, spool, wiring.gate_sight(spool, self.main_delivery), connections
        )
        self.drill = Drill(
            configuration,
            spool,
            sources=self.sources,
            connections=connections,
            back_pressure=self.back_pressure,
        )
        self._last_balance: Balance | None = None
        self._rebirths = Rebirths(
            self.sources, connections, self.side, telemetry, passive=host.mode == "passive"
        )
        parts = Parts(
            table=zerobus.table,
            intake=intake,
            connections=connections,
            sources=self.sources,
            spool=spool,
            side=self.side,
            ledger=ledger,
            telemetry=telemetry,
            deliveries=self.deliveries,
            overflow=self.overflow,
            watch=self.watch,
            back_pressure=self.back_pressure,
            drill=self.drill,
            rebirths=self._rebirths,
            freed=FreedMemory(configuration.limits.memory, time.monotonic),
        )
        self.commits = Commits(parts, first_arrival)
        senders = sum(key.role == "ingest" for key in configuration.http.all_keys)
        self.posts = Posts(self._busy, intake.wake, configuration.limits.memory, senders)
        ingest = Ingest(
            zerobus.table, self.posts, self.commits, telemetry, self._no_room, layout=layout
        )
        self.decoding = Decoding(parts, self.commits, ingest)

    def _no_room(self) -> Busy | None:
        """Why posts may not use the spool now; None while they may."""
        if not self.back_pressure.is_open:
            return Busy.GATE_CLOSED
        return Busy.SPOOL_FULL if self.overflow.active or self.watch.above else None

    def _busy(self) -> Busy | None:
        """Why no post is let in now: MQTT, which cannot wait, goes first."""
        if 2 * self.intake.queued_bytes > self.configuration.limits.budget.queue_bytes:
            return Busy.QUEUE_HALF_FULL
        return self._no_room()

    @property
    def unmended_nodes(self) -> list[dict[str, Any]]:
        """Edge nodes with a trouble that their births do not mend, for /status. JSON-compatible."""
        return self._rebirths.status()

    @property
    def failure(self) -> BaseException | None:
        """Why the consumer does not do its work any more; None while it does."""
        return self.decoding.failure or self.spool.health.damage or self.spool.health.gone

    def start(self) -> None:
        """Deliver what an earlier run left behind, decode, connect."""
        if waiting := self.spool.stats().rows:
            _LOG.info("%d rows of an earlier run are spooled and go first", waiting)
        self.back_pressure.start()
        self.drill.resume()
        self.deliveries.start()
        self.decoding.thread.start()
        for connection in self.connections:
            connection.start()

    def stop(self) -> int:
        """Leave the servers, spool what was received, await acknowledgements.

        Returns the number of rows that remain in the spool for the next run; when the spool's
        file is gone, that are lost with it.
        """
        for connection in self.connections:
            connection.request_stop()
        for connection in self.connections:
            connection.join()  # what came later would be in no account
        self.intake.close()
        if self.decoding.thread.ident is not None:
            self.decoding.thread.join()
        patience = 0.0 if self.spool.health.damage else self.configuration.shutdown_timeout
        remaining = self.deliveries.stop(patience)
        if self.failure is not None:
            self.commits.lose("decoding_failed")
        self.commits.write_ledger()
        with contextlib.suppress(SpoolError):
            self._last_balance = self.balance()
        self.spool.close()
        self.telemetry.remarks.tell(at_once=True)
        return remaining

    def ask_rebirth(self, server: str, group_id: str, edge_node_id: str) -> None:
        """Ask an edge node for its births because a person wants them.

        The request is sent within a second or so, at most every `host.rebirth.per_node`.

        Args:
            server: name of the MQTT server.
            group_id: of the edge node.
            edge_node_id: of the edge node.

        Raises:
            ValueError: no server has this name, the ids cannot be those of an edge node,
                or the host is passive.
        """
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
        return self.failure is None and self.decoding.thread.is_alive()

    def balance(self) -> Balance:
        """What became of all messages and rows up to the last batch that was taken in.

        After `stop` it stays what it was then.

        Raises:
            SpoolError: the spool cannot be read.
        """
        try:
            with self.spool.snapshot() as db:
                return read_balance(db, self.ledger.waiting(), self.spool.pending())
        except SpoolError:
            if self._last_balance is None:
                raise
            return self._last_balance

    @property
    def spooled_rows(self) -> int:
        """Rows of tag_events in the spool that are not acknowledged yet."""
        return self.spool.pending_rows(self.configuration.zerobus.table)

    @property
    def waiting_messages(self) -> int:
        """Messages that wait for a missing one, or for a birth, behind all servers."""
        return sum(source.fleet.gauges.held_messages for source in self.sources)


def _now_us() -> int:
    """The wall clock, in microseconds since 1970 UTC."""
    return time.time_ns() // 1_000
