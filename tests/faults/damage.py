"""A bad disk: bytes of a spool's file that are not what was written. Nobody may have it open."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from faults.spool_evidence import event_ids

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_PAGE_BYTES = 16384
_SAMPLE_BYTES = 64


class DamagedBatch(NamedTuple):
    """A batch that is not what it was, and the rows it had."""

    batch_id: int
    event_ids: frozenset[str]


def damage_batch(spool: Path, landed: Collection[str]) -> DamagedBatch:
    """Turn around some bits in the middle of a batch in the middle of the file.

    Of a batch of which nothing has landed: what was sent, and not acknowledged before the service
    was killed, may have.
    """
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        batches = db.execute("SELECT batch_id, rows FROM batches ORDER BY batch_id").fetchall()
    batches = [each for each in batches if not set(landed).intersection(event_ids(each[1]))]
    batch_id, blob = batches[len(batches) // 2]
    content = spool.read_bytes()
    for start in range(len(blob) // 2, len(blob) - _SAMPLE_BYTES, _SAMPLE_BYTES):
        sample = blob[start : start + _SAMPLE_BYTES]
        # A sample may lie on the border of two pages, which need not be neighbours.
        if content.count(sample) == 1:
            place = content.index(sample)
            turned = bytes(byte ^ 0xFF for byte in sample[:8])
            spool.write_bytes(content[:place] + turned + content[place + 8 :])
            return DamagedBatch(batch_id, frozenset(event_ids(blob)))
    raise AssertionError("no piece of the batch was found in the file")


def damage_page(spool: Path, of: str) -> None:
    """Overwrite the root page of a table or index of the spool."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (of,))
    with spool.open("r+b") as file:
        file.seek((page - 1) * _PAGE_BYTES)
        file.write(b"\xa5" * 512)
