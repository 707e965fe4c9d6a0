"""One MQTT server on the decoding thread: its fleet, tags, names, gaps and what is kept."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

from consumer.config import selection, sight
from consumer.errors import SpoolFull
from consumer.pipeline.gaps import GapRecords
from consumer.pipeline.last_values import RING_ROWS, LastValues
from consumer.rows import SourceNames, TagColumns
from consumer.spool import FleetStore
from sparkplug import Fleet, FleetLimits, FleetOptions, HoldLimits, RebirthGovernor

if TYPE_CHECKING:
    from consumer.config import Configuration, Server
    from consumer.pipeline.gaps import GapTotals
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
        self, server: Server, configuration: Configuration, totals: GapTotals, room: TagRoom
    ) -> None:
        limits, budget = configuration.limits, configuration.limits.budget
        servers = len(configuration.servers)
        held = budget.held_bytes // servers
        host = configuration.host
        self.name = server.name
        self.site = server.site
        spool = configuration.spool
        self.store = FleetStore(server.name, spool.max_bytes, spool.max_dead_letter_bytes)
        self.fleet = Fleet(
            FleetLimits(
                max_payload_bytes=limits.max_payload,
                max_nodes=limits.max_nodes,
                max_tags=budget.tags,
                max_name_characters=budget.name_characters,
                max_waiting_bytes=budget.waiting_bytes // servers,
                max_file_bytes=budget.file_bytes // servers,
                max_definition_members=budget.definition_members // servers,
                max_definition_bytes=budget.definition_bytes // servers,
            ),
            FleetOptions(
                wanted=selection(server.include, server.exclude),
                sight=sight(server.topics),
                emit_births=configuration.normalize.emit_births,
                emit_stale=configuration.normalize.emit_stale != "none",
                stale_when_lost=configuration.normalize.emit_stale == "all",
                emit_transient=configuration.normalize.emit_transient,
                describe_tags=bool(configuration.zerobus.metadata_table),
                hold_limits=HoldLimits(node_bytes=held // 2, total_bytes=held),
                reorder_timeout=host.reorder_timeout,
                unheard=host.unheard,
                silent_after=host.silent_after,
                passive=host.mode == "passive",
            ),
            room=room,
        )
        self.tags = TagColumns(
            self.fleet.catalogue,
            SourceNames(
                server=server.name,
                site=server.site,
                tag_path=configuration.normalize.tag_path,
                source_system_id=server.source_system_id,
            ),
        )
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


def join_sites(sources: list[Source]) -> None:
    """Let the fleets of servers that share a site know of each other."""
    for source in sources:
        source.fleet.liveness.join(
            other.fleet.liveness
            for other in sources
            if other is not source and source.site and other.site == source.site
        )
