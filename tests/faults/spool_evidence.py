"""What was in the spool's file at a moment, read from a copy so that nothing is disturbed.

Opening a database whose owner was killed would repair it; the next run is to do that.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from end_to_end.consumer_process import TABLE
from support.services import PATIENCE

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.encoded import EncodedRows
from sparkplug import Reason
from sparkplug.pb import sparkplug_b_pb2


@dataclass(frozen=True)
class DeadRows:
    """Rows that were set aside. `event_ids` is empty when they cannot be read."""

    reason: str
    rows: int
    event_ids: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """Rows by arrival_number, and the number that the next row was to have."""

    rows: dict[int, str]
    batches: int
    next_arrival: int
    dead: list[DeadRows]

    def dead_ids(self) -> set[str]:
        return {event_id for each in self.dead for event_id in each.event_ids}


def evidence(spool: Path) -> Evidence:
    """Read the spool's file and its log, as they are.

    The consumer must not be running, or not be writing: a copy in between is none.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "spool.db"
        for suffix in ("", "-wal"):
            source = spool.with_name(spool.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        with contextlib.closing(sqlite3.connect(copy)) as db:
            [(sound,)] = db.execute("PRAGMA quick_check")
            assert sound == "ok", f"the spool is not sound after a crash: {sound}"
            return _read(db)


def dead_rows(spool: Path) -> list[DeadRows]:
    """The dead letters, also while the consumer runs."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        return _dead_rows(db)


def values_without_birth(spool: Path) -> dict[tuple[str, bytes], int]:
    """Of each message that is a dead letter because nobody saw its birth: its metrics."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        found = db.execute(
            "SELECT topic, payload FROM dead_messages WHERE reason = ?",
            (Reason.ALIAS_OF_UNSEEN_BIRTH,),
        ).fetchall()
    return {
        (topic, payload): len(sparkplug_b_pb2.Payload.FromString(payload).metrics)
        for topic, payload in found
    }


def spooled_ids(spool: Path) -> set[str]:
    """The event_ids of the rows that wait, and of dead letters, also while the consumer runs."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        blobs = db.execute("SELECT rows FROM batches WHERE table_name = ?", (TABLE,)).fetchall()
        dead = _dead_rows(db)
    waiting = {each for (blob,) in blobs for each in event_ids(blob)}
    return waiting.union(*(each.event_ids for each in dead))


def rows_of_group(spool: Path, group_id: str, message_type: str, since: float) -> int:
    """Rows that wait of a group's messages of a type, sent since then, seconds since 1970 UTC."""
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        blobs = db.execute(
            "SELECT rows FROM batches WHERE table_name = ? AND appended_at >= ?", (TABLE, since)
        ).fetchall()
    return sum(
        each.group_id == group_id
        and each.message_type == message_type
        and each.payload_timestamp >= round(since * 1e6)
        for (blob,) in blobs
        for each in _events(blob)
    )


def wait_rows(spool: Path, rows: int, since: float) -> None:
    """Return within milliseconds when so many rows were committed since then."""
    until = time.monotonic() + PATIENCE
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        query = "SELECT total(row_count) FROM batches WHERE appended_at >= ?"
        while db.execute(query, (since,)).fetchone()[0] < rows:
            assert time.monotonic() < until, f"not {rows} rows within {PATIENCE} s"
            time.sleep(0.002)


def _read(db: sqlite3.Connection) -> Evidence:
    rows: dict[int, str] = {}
    batches = 0
    for (blob,) in db.execute("SELECT rows FROM batches WHERE table_name = ?", (TABLE,)):
        batches += 1
        for event in _events(blob):
            assert event.arrival_number not in rows, "one row in two batches"
            rows[event.arrival_number] = event.event_id
    known = db.execute("SELECT value FROM state WHERE key = 'next_arrival_number'").fetchone()
    return Evidence(rows, batches, known[0] if known else 1, _dead_rows(db))


def _dead_rows(db: sqlite3.Connection) -> list[DeadRows]:
    found = []
    for reason, count, blob in db.execute("SELECT reason, row_count, rows FROM dead_letters"):
        ids = () if reason == "damaged" else event_ids(blob)
        found.append(DeadRows(reason, count, ids))
    return found


def event_ids(blob: bytes) -> tuple[str, ...]:
    """The event_id of each row of a batch or dead letter."""
    return tuple(each.event_id for each in _events(blob))


def _events(blob: bytes) -> list[TagEvent]:
    rows = EncodedRows.from_blob(blob)
    return [TagEvent.FromString(message) for message in rows.slice(0, len(rows))]
