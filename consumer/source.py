"""What one MQTT server's messages need on the decoding thread, and what they gave."""

from __future__ import annotations

import fnmatch
import logging
import random
import re
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from consumer import fleet_store
from consumer.gap_records import GapRecords
from consumer.normalize import SourceNames, TagColumns, normalize
from consumer.records import EncodedRows
from consumer.side_tables import describe_again
from sparkplug.fleet import Fleet
from sparkplug.governor import RebirthGovernor
from sparkplug.memory import BirthMemory
from sparkplug.messages import HOST, ROW_TYPES
from sparkplug.screening import Limits

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from consumer.config import Configuration, Server
    from consumer.gap_records import GapTotals
    from consumer.ledger import Ledger
    from consumer.spool import Spool
    from sparkplug.holding import HeldMessage
    from sparkplug.memory import Memory
    from sparkplug.messages import Decoded, Observations

_LOG = logging.getLogger(__name__)

_OF_DEATHS: Final = np.array([each.endswith("DEATH") or each == HOST for each in ROW_TYPES])
_DEAD_FRACTION: Final = 8  # of the spool, for messages that cannot be read
_MOST_UNWRITTEN: Final = 20_000
_MOST_UNWRITTEN_BYTES: Final = 64 << 20


class Source:
    """Everything that one MQTT server's messages need on the decoding thread."""

    def __init__(self, server: Server, configuration: Configuration, totals: GapTotals) -> None:
        limits = configuration.limits
        host = configuration.host
        self.name = server.name
        self.site = server.site
        self.fleet = Fleet(
            Limits(
                max_payload_bytes=limits.max_payload,
                max_nodes=limits.max_nodes,
                max_tags=limits.max_tags,
            ),
            wanted=_wanted(server.include, server.exclude),
            emit_births=configuration.normalize.emit_births,
            emit_stale=configuration.normalize.emit_stale != "none",
            stale_when_lost=configuration.normalize.emit_stale == "all",
            emit_transient=configuration.normalize.emit_transient,
            reorder_timeout=host.reorder_timeout,
            describe_tags=bool(configuration.zerobus.metadata_table),
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
        self.governor = RebirthGovernor(
            host.rebirth.per_node, host.rebirth.fleet_per_second, random.random
        )
        self.gaps = GapRecords(server.name, self.fleet, totals, time.monotonic)
        # What the spool's file knows of the fleet is not what holds: a commit failed.
        self.forgotten = False
        self.most_dead = configuration.spool.max_bytes // _DEAD_FRACTION
        self.unwritten: list[Memory] = []  # of batches whose commit failed
        self.written_sequence = b""
        # Numbers on disk of held messages that are held no longer.
        self.no_longer_held: set[int] = set()

    def restore(self, spool: Spool, ledger: Ledger) -> None:
        """Take in what an earlier run remembered of this server's nodes."""
        births = spool.read(lambda db: fleet_store.read_births(db, self.name))
        held = spool.read(lambda db: fleet_store.take_held(db, self.name))
        state = spool.get_state(fleet_store.sequence_key(self.name))
        slots = self.fleet.restore(
            births, state if isinstance(state, bytes) else b"", held, time.monotonic()
        )
        self.gaps.restore(spool, time.time_ns() // 1_000)
        describe_again(self.fleet.catalogue)
        self.written_sequence = self.fleet.sequence_state()
        lost: list[int] = []

        def write(db: sqlite3.Connection) -> None:
            fleet_store.write_slots(db, self.name, slots)
            lost.append(ledger.restored(db, self.name, self.fleet.held_whole))

        spool.append_many(
            [],
            state={fleet_store.sequence_key(self.name): self.written_sequence},
            also=write,
        )
        if any(lost):
            _LOG.warning(
                "%s: %d messages that waited for others, or for a birth, were lost when the "
                "consumer was killed",
                self.name, sum(lost), extra={"server": self.name},
            )  # fmt: skip
        if births or held:
            _LOG.info(
                "%s: births of %d edge nodes and %d held messages are remembered",
                self.name, len(slots), len(held), extra={"server": self.name},
            )  # fmt: skip


class Taken:
    """What one server's part of a batch gave, on its way to the spool."""

    def __init__(self, source: Source, decoded: Decoded) -> None:
        self.source = source
        self.decoded = decoded
        self.rows: list[EncodedRows] = []
        self.held: list[HeldMessage] | None = None
        self.sequence = source.fleet.sequence_state()
        self.dead_lost = 0
        self.dead = decoded.quarantined + decoded.expired
        self._of_deaths: list[EncodedRows] = []
        self._dropped = 0
        source.gaps.take(decoded.gaps)
        source.gaps.collect()
        source.no_longer_held |= source.fleet.no_longer_held()

    @property
    def is_worth_a_commit(self) -> bool:
        """Whether anything is to be written."""
        return bool(
            self.rows
            or self.decoded.memories
            or self.dead
            or self.held is not None
            or self.source.gaps.pending
            or self.source.no_longer_held
            or self.sequence != self.source.written_sequence
        )

    def add(self, observations: Observations, first_arrival: int, *, dropping: bool) -> int:
        """Make rows of observations; return how many. Those of values not when they are dropped."""
        events = normalize(observations, self.source.tags, first_arrival)
        stale = len(observations) > 0 and bool(_OF_DEATHS[observations.message_type].all())
        if dropping and not stale:
            self._dropped += len(events)
            return len(events)
        rows = [EncodedRows(part) for part in events.encode()]
        self.rows += rows
        if stale:
            self._of_deaths += rows
        return len(events)

    def drop_values(self) -> int:
        """Keep only the rows of what died; return how many others there were."""
        dropped = self._dropped + self.rows_left - sum(map(len, self._of_deaths))
        self.rows, self._dropped = self._of_deaths, 0
        return dropped

    @property
    def rows_left(self) -> int:
        """Rows that are to be committed."""
        return sum(map(len, self.rows))

    def write(self, db: sqlite3.Connection) -> None:
        """Write what goes with the rows, inside their transaction."""
        name = self.source.name
        if self.source.forgotten:
            fleet_store.forget_births(db, name)
        fleet_store.write_memories(db, name, self.source.unwritten + self.decoded.memories)
        fleet_store.forget_held(db, self.source.no_longer_held)
        if self.dead:
            self.dead_lost = fleet_store.write_dead(db, name, self.dead, self.source.most_dead)
        if self.held is not None:
            fleet_store.write_held(db, name, self.held)
        self.source.gaps.write(db)

    def written(self) -> None:
        """The transaction is committed."""
        self.source.written_sequence = self.sequence
        self.source.forgotten = False
        self.source.unwritten = []
        self.source.gaps.settle()
        self.source.no_longer_held.clear()

    def keep_for_later(self) -> None:
        """The transaction failed: write the memories with the next one, unless they are many."""
        unwritten = self.source.unwritten + self.decoded.memories
        size = sum(len(m.message.payload) for m in unwritten if isinstance(m, BirthMemory))
        if (
            self.source.forgotten
            or len(unwritten) > _MOST_UNWRITTEN
            or size > _MOST_UNWRITTEN_BYTES
        ):
            self.source.forgotten, unwritten = True, []
        self.source.unwritten = unwritten


def join_sites(sources: list[Source]) -> None:
    """Let the fleets of servers that share a site know of each other."""
    for source in sources:
        source.fleet.liveness.peers = tuple(
            other.fleet.liveness
            for other in sources
            if other is not source and source.site and other.site == source.site
        )


def write_all(db: sqlite3.Connection, taken: list[Taken], ledger: Ledger) -> None:
    """Write what all servers' parts of a batch gave beside rows, inside their transaction."""
    for each in taken:
        each.write(db)
    ledger.write(db)


def _wanted(include: tuple[str, ...], exclude: tuple[str, ...]) -> Callable[[str], bool] | None:
    """A test of `group/node[/device]/metric` against the configured globs."""
    if not include and not exclude:
        return None
    included = [re.compile(fnmatch.translate(glob)).match for glob in include]
    excluded = [re.compile(fnmatch.translate(glob)).match for glob in exclude]

    def wanted(place: str) -> bool:
        if included and not any(match(place) for match in included):
            return False
        return not any(match(place) for match in excluded)

    return wanted
