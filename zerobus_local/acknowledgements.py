"""A record of acknowledgements: when the rows of which commit were acknowledged."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class AcknowledgementLog:
    """A file with one JSON object per line, in the order in which answers are sent.

    `commit` is the number that the table's log has as the version of its `txn` action, which
    leads to the files that were added with it; `acknowledged_us`, microseconds since 1970
    UTC, is taken right before the answer is given to gRPC. Without a path nothing is written.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._file = None if path is None else path.open("a", encoding="utf-8", buffering=1)

    def note(self, table: str, commit: int) -> None:
        """Write that all rows of a stream up to those of a commit are about to be acknowledged."""
        if self._file is None:
            return
        entry = {"table": table, "commit": commit, "acknowledged_us": time.time_ns() // 1_000}
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            with self._lock:
                self._file.close()
