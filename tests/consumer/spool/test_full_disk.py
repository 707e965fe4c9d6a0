"""The spool on a disk that is full: a small file system of its own."""

from __future__ import annotations

import contextlib
import subprocess
import time

import pytest
import support.small_disk
from support.spooled_rows import TABLE, random_rows

from consumer.config import SpoolSection
from consumer.errors import SpoolDiskFull
from consumer.pipeline.spool_watch import SpoolWatch
from consumer.pipeline.telemetry import Telemetry
from consumer.spool import Spool

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB."""
    with support.small_disk.small_disk(tmp_path, 64) as disk:
        yield disk.path


def fill(spool, schema_id):
    """Append batches of a megabyte until the disk is full."""
    taken = []
    with contextlib.suppress(SpoolDiskFull):
        for _ in range(100):
            batch = spool.append(TABLE, random_rows(1000, 1000), schema_id=schema_id)
            taken.append(batch.batch_id)
    assert len(taken) < 100
    return taken


def test_a_spool_on_a_full_disk_is_emptied_and_takes_rows_again(small_disk):
    with contextlib.closing(
        Spool.open(small_disk / "spool.db", sync="off", reserve_bytes=8 * MIB)
    ) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        assert not spool.stats().disk_is_full
        taken = fill(spool, schema_id)
        # Not a byte is left: what others wrote takes the rest.
        with contextlib.suppress(OSError), (small_disk / "other").open("wb", buffering=0) as other:
            while other.write(bytes(MIB)):
                pass
        assert spool.stats().disk_free_bytes < MIB
        for batch_id in taken[:-2]:
            spool.trim([batch_id])
        (small_disk / "other").unlink()
        assert spool.stats().batches == 2
        again = spool.append(TABLE, random_rows(1000, 1000), schema_id=schema_id)
        assert [b.batch_id for b in spool.batches_after(0, 100 * MIB, table=TABLE)] == [
            *taken[-2:],
            again.batch_id,
        ]


def test_the_reserve_is_taken_back_when_there_is_room(small_disk):
    with contextlib.closing(
        Spool.open(small_disk / "spool.db", sync="off", reserve_bytes=4 * MIB)
    ) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        taken = fill(spool, schema_id)
        with contextlib.suppress(OSError), (small_disk / "other").open("wb", buffering=0) as other:
            while other.write(bytes(64 * 1024)):
                pass
        spool.trim(taken)
        assert spool.stats().disk_is_full
        subprocess.run(["mount", "-o", "remount,size=256m", str(small_disk)], check=True)
        last = spool.append(TABLE, random_rows(1, 10), schema_id=schema_id)
        spool.trim([last.batch_id])
        assert not spool.stats().disk_is_full
        assert (small_disk / "spool.db.reserve").stat().st_blocks * 512 >= 4 * MIB


def test_to_ask_for_room_on_a_full_disk_is_no_error(small_disk):
    with contextlib.closing(
        Spool.open(small_disk / "spool.db", sync="off", max_bytes=128 * MIB, reserve_bytes=8 * MIB)
    ) as spool:
        # The log is longer than the last room, and cannot be copied: it is cut back later.
        taken = fill(spool, spool.schemas.register(b"descriptor"))
        assert (small_disk / "spool.db-wal").stat().st_size > 8 * MIB
        assert not spool.space.has_room()
        spool.trim(taken)
        assert spool.space.has_room()


def status_of(spool):
    return SpoolWatch(spool, SpoolSection(), Telemetry(), time.monotonic).status()


def test_a_disk_may_be_full_while_the_reserve_is_there(small_disk):
    with contextlib.closing(
        Spool.open(small_disk / "spool.db", sync="off", reserve_bytes=4 * MIB)
    ) as spool:
        before = status_of(spool)
        assert (before["disk_is_full"], before["reserve_missing"]) == (False, False)
        fill(spool, spool.schemas.register(b"descriptor"))
        assert (small_disk / "spool.db.reserve").exists()
        after = status_of(spool)
        assert (after["disk_is_full"], after["reserve_missing"]) == (True, False)


def test_a_disk_without_room_for_the_reserve_counts_as_full(small_disk):
    with contextlib.closing(
        Spool.open(small_disk / "spool.db", sync="off", reserve_bytes=128 * MIB)
    ) as spool:
        found = status_of(spool)
        assert (found["disk_is_full"], found["reserve_missing"]) == (True, True)
