"""The side tables between decoding and the spool: rows of events and metadata, per batch.

A table that is not configured costs nothing. Rows wait here until the next commit, which
is that of the batch they belong to.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from consumer.config import Normalize, configured_tables
from consumer.log_budget import LogBudget
from consumer.pipeline.node_log import NodeLog
from consumer.rows import (
    EncodedRows,
    EventRows,
    MetadataRows,
    VersionStore,
    descriptor_bytes,
    quarantine_events,
)
from consumer.spool import KeptVersions, NewBatch, Participant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.config import Zerobus
    from consumer.rows import SourceNames, TagColumns
    from consumer.spool import Spool, Transaction
    from sparkplug import Decoded, Event

_LOG = logging.getLogger(__name__)

_MOST_PENDING_EVENTS: Final = 10_000
_MOST_LOGGED: Final = 100
"""Bad messages of a batch that the log of nodes has: the last ones."""


class SideTables(Participant):
    """Collects the side rows of a batch, and keeps the versions of metadata that they begin.

    Args:
        zerobus: says which tables there are.
        spool: keeps the versions of metadata, and the schemas.
        clock_us: microseconds since 1970 UTC.
        normalize: says which columns tag_events has; all of ours unless given.
        spool_bytes: bound of the whole spool.
        budget: says how many of the same faults are logged.

    Attributes:
        log: the last events, whether or not there is a table of them.
    """

    def __init__(
        self,
        zerobus: Zerobus,
        spool: Spool,
        clock_us: Callable[[], int],
        *,
        normalize: Normalize | None = None,
        spool_bytes: int = 4 << 30,
        budget: LogBudget | None = None,
    ) -> None:
        self._events_table = zerobus.events_table
        self._metadata_table = zerobus.metadata_table
        self._clock_us = clock_us
        self._stamp_us = 0
        self._schema_ids = {
            name: spool.schemas.register(descriptor_bytes(table.descriptor))
            for name, table in configured_tables(zerobus, normalize or Normalize()).items()
        }
        self._budget = budget or LogBudget()
        self.log = NodeLog()
        self._versions = VersionStore(spool.state.get, self._budget)
        self._kept_versions = KeptVersions(spool_bytes)
        self._told = False  # that there is no room for all versions
        self._event_rows: dict[str, EventRows] = {}
        self._metadata_rows: dict[str, MetadataRows] = {}
        self._pending_events: list[tuple[SourceNames, Event]] = []
        self._rows: list[tuple[str, EncodedRows]] = []

    @property
    def pending(self) -> bool:
        """Whether rows or events of the side tables wait for a commit."""
        return bool(self._rows or self._pending_events)

    def schema_id(self, table: str) -> str:
        """The schema that rows of a table are encoded for."""
        return self._schema_ids[table]

    def collect(self, tags: TagColumns, decoded: Decoded) -> None:
        """Take what a batch of one server gave; `tags` are the server's."""
        names = tags.names
        bad = decoded.quarantined + decoded.expired
        self._tell_log(names, [*decoded.events, *quarantine_events(bad[-_MOST_LOGGED:])])
        if self._events_table:
            for event in [*decoded.events, *quarantine_events(bad)]:
                self._pending_events.append((names, event))
        if self._metadata_table and decoded.metadata:
            rows = self._metadata_rows.get(names.server)
            if rows is None:
                rows = self._metadata_rows[names.server] = MetadataRows(tags, self._versions)
            with self._without_harm("what births say of tags"):
                for metadata in decoded.metadata:
                    stamp_us = self._next_stamp(1)
                    for piece in rows.encode(metadata, stamp_us):
                        self._rows.append((self._metadata_table, EncodedRows(piece)))

    def note(self, names: SourceNames, event: Event) -> None:
        """Take an event that no message gave: it goes with the next commit.

        When commits fail for long, the oldest are forgotten.
        """
        self._tell_log(names, [event])
        if self._events_table:
            del self._pending_events[: 1 - _MOST_PENDING_EVENTS]
            self._pending_events.append((names, event))

    def _tell_log(self, names: SourceNames, events: Sequence[Event]) -> None:
        with self._without_harm("what happened to edge nodes"):
            for event in events:
                self.log.add(names.server, event)

    def batches(self) -> list[NewBatch]:
        """Batches of the side tables for the next commit; `settle` once it is done, or lost."""
        self._encode_events()
        return [NewBatch(table, self._schema_ids[table], rows) for table, rows in self._rows]

    def write(self, db: Transaction, room: Callable[[], int]) -> None:
        """Write the versions of metadata that hold after the commit, as far as there is room."""
        versions = self._versions.state()
        if not versions:
            return
        left = self._kept_versions.write(db, versions, room())
        if left and not self._told:
            self._told = True
            _LOG.warning(
                "there is no room in the spool for what the births of all edge nodes and devices "
                "say of their tags (%d MiB, a sixteenth of spool.max_bytes): the largest are "
                "forgotten, and when they change, the versions before get no valid_to in the table "
                "of metadata; see whether births are of nodes that exist, or raise spool.max_bytes",
                self._kept_versions.most_bytes >> 20,
            )

    def settle(self) -> None:
        """Forget rows and versions that were committed, or lost, together."""
        self._rows.clear()
        self._versions.settle()

    def _encode_events(self) -> None:
        pending, self._pending_events = self._pending_events, []
        by_server: dict[str, list[Event]] = {}
        for names, event in pending:
            if names.server not in self._event_rows:
                self._event_rows[names.server] = EventRows(names)
            by_server.setdefault(names.server, []).append(event)
        for server, events in by_server.items():
            with self._without_harm("events"):
                rows = self._event_rows[server].encode(events, self._next_stamp(len(events)))
                self._rows.append((self._events_table, rows))

    @contextlib.contextmanager
    def _without_harm(self, what: str) -> Iterator[None]:
        """Let a defect here not cost the rows of tag_events that are committed together."""
        try:
            yield
        except Exception:  # noqa: BLE001 - said in the log, and all that is lost is side rows
            if self._budget.allows("side_table_failed", what, ours=True):
                _LOG.exception("%s could not be written to their side table", what)

    def _next_stamp(self, count: int) -> int:
        """The first of `count` stamps that are greater than all before."""
        first = max(self._clock_us(), self._stamp_us + 1)
        self._stamp_us = first + count - 1
        return first
