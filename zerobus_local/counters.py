"""Counters of what a server has received, committed, answered and refused."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts since the server was made. `streams_open` alone also falls.

    `records_committed` are in the tables; `acks_sent` counts messages, each of
    which covers all offsets up to its own.
    """

    streams_opened: int = 0
    streams_open: int = 0
    streams_refused: int = 0
    requests_received: int = 0
    records_received: int = 0
    bytes_received: int = 0
    records_refused: int = 0
    records_committed: int = 0
    commits: int = 0
    commit_failures: int = 0
    acks_sent: int = 0
    compactions: int = 0
    maintenance_failures: int = 0
    tokens_issued: int = 0
    tokens_refused: int = 0


class Tally:
    """Counters that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {field.name: 0 for field in fields(Counters)}

    def count(self, **amounts: int) -> None:
        """Add to counters by name."""
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount

    def read(self) -> Counters:
        """All counters at one moment."""
        with self._lock:
            return replace(Counters(), **self._counts)
