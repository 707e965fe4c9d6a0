"""The spool on a disk on which somebody takes every byte that is free or becomes free."""

import contextlib
import sqlite3

import pytest
from support.services import wait_until
from support.small_disk import small_disk
from support.spooled_rows import TABLE, random_rows

from consumer.errors import SpoolDiskFull
from consumer.spool import Spool

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path, 64) as made:
        yield made


@pytest.fixture
def path(disk):
    return disk.path / "spool.db"


def opened(path, reserve_bytes=0):
    return contextlib.closing(Spool.open(path, sync="off", reserve_bytes=reserve_bytes))


def append(spool, schema_id, *, most=1000):
    """Append batches of half a megabyte until there is no room; returns their ids."""
    taken = []
    with contextlib.suppress(SpoolDiskFull):
        while len(taken) < most:
            taken.append(spool.append(TABLE, random_rows(500, 1000), schema_id=schema_id).batch_id)
    return taken


def test_what_is_acknowledged_is_deleted_and_makes_room_for_more(disk, path):
    with opened(path) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        taken = append(spool, schema_id, most=40)
        with disk.filled():
            for _ in range(3):
                taken += append(spool, schema_id)
                assert len(taken) > 10
                assert spool.stats().disk_is_full
                for batch_id in taken:
                    spool.trim([batch_id])
                assert not any(spool.pending().values())
                taken = []
        log = path.with_name("spool.db-wal").stat().st_size
    # Who would take the room of a log that is deleted?
    assert path.with_name("spool.db-wal").stat().st_size == log
    with disk.filled(), opened(path) as spool:
        assert append(spool, schema_id, most=10)


def test_a_log_that_is_short_and_full_is_written_over(disk, path):
    with opened(path) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        taken = append(spool, schema_id, most=3)
        with disk.filled():
            taken += append(spool, schema_id)
            spool.trim(taken)
            assert not any(spool.pending().values())
            assert disk.free_bytes < MIB


def test_a_start_writes_nothing_that_cannot_wait(disk, path):
    with opened(path) as spool:
        append(spool, spool.schemas.register(b"descriptor"), most=3)
    assert not path.with_name("spool.db-shm").exists()
    with disk.filled() as filler:
        for _ in range(2):  # the second run finds what the first one could not delete
            with opened(path) as spool:
                new = spool.schemas.register(b"another")
                assert spool.schemas.descriptor(new) == b"another"
                spool.write_soon(
                    lambda db: db.execute("INSERT INTO state VALUES ('first', 1)"), {"second": 2}
                )
                found = [each.batch_id for each in spool.batches_after(0, MIB << 10, table=TABLE)]
                assert len(found) == 3
                spool.trim(found[:2])
                spool.trim(found[2:])
                assert spool.pending_rows(TABLE) == 0
                assert spool.pending() == {TABLE: 1500}
                assert spool.stats().batches == 0
                assert not append(spool, new, most=1)
                assert not spool.space.has_room()
        with opened(path) as spool:
            spool.write_soon(lambda _: None, {"second": 2})
            spool.trim(found)
            filler.free()

            def is_deleted():
                spool.catch_up()
                return not any(spool.pending().values())

            wait_until(is_deleted, what="acknowledged batches deleted")
            assert spool.state.get("second") == 2
            assert spool.pending_rows(TABLE) == 0
    with opened(path) as spool:
        assert spool.stats().batches == 0
        assert spool.state.get("first") is None  # of runs that ended before


def test_the_room_of_a_reserve_that_was_given_up_is_not_for_ordinary_batches(disk, path):
    with opened(path, reserve_bytes=8 * MIB) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        taken = append(spool, schema_id, most=10)
        with contextlib.closing(sqlite3.connect(path)) as reader, disk.filled() as filler:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM batches").fetchone()  # the log must stay
            append(spool, schema_id)
            filler.stop()
            while not spool._quota.reserve.given_up:
                spool.trim([taken.pop(0)])
            spool.trim([taken.pop(0)])
            assert disk.free_bytes > MIB
            with pytest.raises(SpoolDiskFull, match="its reserve is there for what is acknowl"):
                spool.append(TABLE, random_rows(1, 10), schema_id=schema_id)
            assert not spool.space.has_room()
            assert spool.commit([], state={"birth": 1}, spare=True) == []
            reader.close()
            waiting = [each.batch_id for each in spool.batches_after(0, MIB << 10, table=TABLE)]
            spool.trim(waiting)
            assert append(spool, schema_id, most=1)  # nothing waited that is to be deleted
            filler.free()
        assert spool.space.has_room()
        assert append(spool, schema_id, most=1)
        spool.catch_up()
        assert not spool.stats().disk_is_full


def test_a_new_spool_says_that_there_is_no_room(disk, path):
    with disk.filled(), pytest.raises(SpoolDiskFull, match=r"no room on the disk .*: free some"):
        Spool.open(path)


def test_an_empty_spool_waits_for_its_disk_to_have_room_again(disk, path):
    with opened(path) as spool:
        schema_id = spool.schemas.register(b"descriptor")
        with disk.filled() as filler:
            assert not append(spool, schema_id, most=1)
            assert not spool.space.has_room()  # or every batch would be tried, and none fit
            filler.free()
        assert spool.space.has_room()
        assert append(spool, schema_id, most=1)
