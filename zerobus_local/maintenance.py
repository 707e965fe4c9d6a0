"""Maintenance: compaction, checkpoints and cleanup, beside the commits.

A commit costs about 0.1 ms per active file of its table, so small files are
merged. This runs in one thread of its own: an append does not conflict with a
compaction, and acknowledgements need not wait for one.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import DeltaError

if TYPE_CHECKING:
    from zerobus_local.counters import Tally

log = logging.getLogger(__name__)

MIN_FILE_BYTES = 8 * 1024 * 1024
MAX_FILE_BYTES = 128 * 1024 * 1024
GROWTH = 16
"""Files are merged up to this many times what has arrived since: bounds rewriting."""

# Appends go on meanwhile: the commit of a compaction has to get in between them.
_PATIENT = CommitProperties(max_commit_retries=100)
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class Maintenance:
    """A thread that keeps tables small in files."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._waiting: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._thread.start()

    def ask(self, table_uri: str) -> None:
        """Maintain a table soon; asking again before that changes nothing."""
        if table_uri not in self._waiting:
            self._waiting.add(table_uri)
            self._asked.put(table_uri)

    def close(self) -> None:
        """Finish what is being done, then stop."""
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (table_uri := self._asked.get()) is not None:
            self._waiting.discard(table_uri)
            try:
                maintain(DeltaTable(table_uri))
                self._tally.count(compactions=1)
            except (DeltaError, OSError) as error:
                # Nothing is lost by it: the next round finds the same files.
                self._tally.count(maintenance_failures=1)
                log.warning("Maintenance of %s failed: %s", table_uri, error)


def maintain(table: DeltaTable) -> None:
    """Merge small files, write a checkpoint, remove what has been superseded long enough."""
    table.optimize.compact(
        target_size=_target_size(table),
        commit_properties=_PATIENT,
        post_commithook_properties=_NO_HOOKS,
    )
    table.create_checkpoint()
    table.cleanup_metadata()
    table.vacuum(dry_run=False, post_commithook_properties=_NO_HOOKS)


def _target_size(table: DeltaTable) -> int:
    sizes = table.get_add_actions(flatten=True).column("size_bytes").to_pylist()
    recent: int = sum(size for size in sizes if size < MIN_FILE_BYTES)
    return min(max(GROWTH * recent, MIN_FILE_BYTES), MAX_FILE_BYTES)
