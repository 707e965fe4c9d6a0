"""One MQTT server on the decoding thread: its fleet, tags, names, gaps and what is kept."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from consumer.config import fleet_limits, fleet_options, source_names
from consumer.errors import SpoolFull
from consumer.pipeline.gaps import GapRecords
from consumer.pipeline.last_values import RING_ROWS, LastValues
from consumer.rows import DEFAULT_LAYOUT, TagColumns
from consumer.spool import FleetStore
from sparkplug import Fleet, RebirthGovernor

if TYPE_CHECKING:
    from consumer.config import Configuration, Server
    from consumer.pipeline.gaps import GapTotals
    from consumer.rows import TagLayout
    from consumer.spool import Ledger, Spool
    from sparkplug import Memory, TagRoom

_LOG = logging.getLogger(__name__)


class Source:
    """What one MQTT server's messages need on the decoding thread, and what the spool has of it.

    Attributes:
        name: of the server.
        site: of the server; empty when it shares none.
        store: writes what is remembered of its nodes to the spool's file, and reads it.
        fleet: reads its messages.
        tags: columns that all rows of a tag have in common.
        last_values: of its tags, for those who look.
        governor: says which rebirth requests are sent, and when.
        gaps: what did not come, until it is in the file.
        births_are_void: whether the births that the file has are to be deleted with the next
            commit, because it missed some, or because decoding failed: rebirths bring them again.
        unwritten: memories of batches whose commit failed.
        written_sequence: the state of seq that the file has.
        written_conduct: the state of conduct that the file has.
        no_longer_held: numbers on disk of messages that are held no longer, to be deleted.
    """

    def __init__(
        self,
        server: Server,
        configuration: Configuration,
        totals: GapTotals,
        room: TagRoom,
        layout: TagLayout = DEFAULT_LAYOUT,
    ) -> None:
        budget, normalize = configuration.limits.budget, configuration.normalize
        servers = len(configuration.servers)
        host = configuration.host
        self.name = server.name
        self.site = server.site
        spool = configuration.spool
        self.store = FleetStore(server.name, spool.max_bytes, spool.max_dead_letter_bytes)
        self.fleet = Fleet(
            fleet_limits(configuration.limits, servers),
            fleet_options(
                server,
                normalize,
                host,
                held_bytes=budget.held_bytes // servers,
                describe_tags=bool(configuration.zerobus.metadata_table),
            ),
            room=room,
        )
        self.tags = TagColumns(self.fleet.catalogue, source_names(server, normalize), layout)
        self.last_values = LastValues(self.fleet.catalogue, time.monotonic, RING_ROWS // servers)
        self.governor = RebirthGovernor(
            host.rebirth.per_node,
            host.rebirth.fleet_per_second,
            random.random,
            host.rebirth.max_pause,
        )
        self.gaps = GapRecords(
            server.name,
            self.fleet,
            totals,
            time.monotonic,
            lambda: time.time_ns() // 1_000,
            spool_bytes=configuration.spool.max_bytes,
        )
        self.births_are_void = False
        self.unwritten: list[Memory] = []
        self.written_sequence = self.written_conduct = b""
        self.no_longer_held: set[int] = set()

    def restore(self, spool: Spool, ledger: Ledger) -> None:
        """Take in what an earlier run remembered of this server's nodes."""
        state = spool.state.get(self.store.sequence_key())
        conduct = spool.state.get(self.store.conduct_key())
        with spool.snapshot() as db:
            held = self.store.take_held(db)
            # Births are taken in as they are read: all at once might be more than the memory.
            slots = self.fleet.memory.restore(
                self.store.births.read(db),
                state if isinstance(state, bytes) else b"",
                held,
                time.monotonic(),
                conduct if isinstance(conduct, bytes) else b"",
            )
        self._tell_of_damage()
        self.gaps.restore(spool)
        self.fleet.catalogue.states.describe_again()
        self.written_sequence = self.fleet.memory.sequence_state()
        self.written_conduct = self.fleet.memory.conduct_state()
        spool.write_soon(
            lambda db: self.store.births.write_slots(db, slots, spool.space.room()),
            {
                self.store.sequence_key(): self.written_sequence,
                self.store.conduct_key(): self.written_conduct,
            },
        )
        waits = self.fleet.gauges.held_whole
        try:
            lost = spool.write(lambda db: ledger.restored(db, self.name, waits))
        except SpoolFull:
            with spool.snapshot() as db:
                lost = ledger.restored(db, self.name, waits, later=True)
        if lost:
            _LOG.warning(
                "%s: %d messages that waited for others, or for a birth, were lost when the "
                "consumer was killed",
                self.name,
                lost,
                extra={"server": self.name},
            )
        if slots or held:
            _LOG.info(
                "%s: births of %d edge nodes and %d held messages are remembered",
                self.name,
                len(slots),
                len(held),
                extra={"server": self.name},
            )

    def _tell_of_damage(self) -> None:
        """Say which births could not be restored: no others are told of these nodes."""
        damaged = self.store.births.damaged
        if damaged:
            (_, *node), error = next(iter(damaged.items()))
            _LOG.error(
                "%s: births of %d edge nodes are damaged in the spool, for example of %s (%s): "
                "these nodes are asked for their births when they speak; check the disk",
                self.name,
                len(damaged),
                "/".join(node),
                error,
                extra={"server": self.name, "edge_nodes": len(damaged)},
            )


def join_sites(sources: list[Source]) -> None:
    """Let the fleets of servers that share a site know of each other."""
    for source in sources:
        source.fleet.liveness.join(
            other.fleet.liveness
            for other in sources
            if other is not source and source.site and other.site == source.site
        )
