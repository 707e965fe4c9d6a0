"""Where the arrival numbers of a spool begin: at a time, which no test knows."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def first_arrival_number(spool: Path) -> int:
    """The number of the first row that was ever put into a spool, also while it is in use."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        [(first,)] = db.execute("SELECT value FROM state WHERE key = 'first_arrival_number'")
    return int(first)


def counted(numbers: Iterable[int], spool: Path) -> list[int]:
    """Arrival numbers as if the first row of the spool had the number 1."""
    first = first_arrival_number(spool)
    return [number - first + 1 for number in numbers]
