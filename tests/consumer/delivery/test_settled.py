"""Batches that a stream has done with leave the spool together, and soon enough."""

import contextlib
import threading
import time

import pytest
from support.clock import Clock
from support.tag_events import TABLE

from consumer.delivery import DeliveryOptions, Origins
from consumer.delivery.partitions import TableBatches
from consumer.delivery.pause import Pause
from consumer.delivery.settled import SettledBatches
from consumer.delivery.shared import SharedOfTable
from consumer.errors import SpoolError
from consumer.rows.encoded import EncodedRows
from consumer.spool import Spool


def append(spool):
    rows = EncodedRows.from_messages([b"row"])
    return spool.append(TABLE, rows, schema_id=spool.schemas.register(b"descriptor")).batch_id


@pytest.fixture
def spool(tmp_path):
    with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
        yield spool


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shared(spool, clock):
    return SharedOfTable(
        table=TABLE,
        schema_id="",
        options=DeliveryOptions(trim_interval=10.0),
        streams=2,
        spool=spool,
        sink=None,
        batches=TableBatches(spool, TABLE, 2, newest_bytes=0, keep_bytes=0),
        recent=Origins(),
        ages=None,
        pause=Pause(TABLE, clock, time.time),
        changed=threading.Condition(),
        clock=clock,
        wall_clock=time.time,
        chance=lambda: 0.5,
    )


@pytest.fixture
def settled(shared, spool, clock):
    """A stream's, that has just trimmed; how much room there is was seen by an append."""
    settled = SettledBatches(shared)
    settled.note([append(spool)])
    assert settled.trim()
    clock.now += 1.0
    return settled


def test_with_nothing_settled_there_is_nothing_to_wait_for(settled, clock):
    clock.now += 1000.0
    assert settled.trim_at(idle=True) is None
    assert not settled.is_due(idle=True)
    assert not settled.trim()


def test_a_batch_waits_until_the_last_trim_is_long_ago(settled, clock):
    settled.note([2])
    assert not settled.is_due(idle=True)
    assert settled.trim_at(idle=True) == clock.now + 9.0
    clock.now += 9.0
    assert settled.is_due(idle=True)


@pytest.mark.parametrize(
    ("batches", "nbytes", "due"),
    [(63, 1, False), (64, 1, True), (2, (2 << 20) - 1, False), (2, 2 << 20, True)],
)
def test_many_or_large_batches_do_not_wait(settled, batches, nbytes, due):
    for number in range(batches):
        settled.note([2 + number], nbytes)
    assert settled.is_due(idle=False) is due


def test_bytes_that_were_trimmed_count_no_more(settled):
    settled.note([2], 4 << 20)
    assert settled.trim()
    settled.note([3], 1)
    assert not settled.is_due(idle=True)


def test_when_room_is_short_a_batch_waits_only_for_those_on_their_way(settled, spool, clock):
    spool.space.note_full()
    settled.note([2])
    assert settled.trim()
    settled.note([3])
    assert settled.is_due(idle=True)
    assert not settled.is_due(idle=False)
    clock.now += 0.2
    assert settled.is_due(idle=False)


def test_a_batch_leaves_the_spool_when_all_streams_have_settled_it(shared, spool):
    one, other = SettledBatches(shared), SettledBatches(shared)
    first, second = append(spool), append(spool)
    one.note([first, second])
    assert one.trim()
    assert spool.stats().rows == 2
    other.note([second])
    assert other.trim()
    assert [batch.batch_id for batch in spool.batches_after(0, 1 << 20, table=TABLE)] == [first]


def test_a_trim_that_failed_is_tried_again_though_nothing_more_is_settled(
    shared, spool, clock, monkeypatch
):
    one, other = SettledBatches(shared), SettledBatches(shared)
    batch_id = append(spool)
    for each in (one, other):
        each.note([batch_id])

    def fails(_):
        raise SpoolError("disk I/O error")

    assert one.trim()
    with monkeypatch.context() as patched:
        patched.setattr(spool, "trim", fails)
        with pytest.raises(SpoolError):
            other.trim()
    assert other.trim_at(idle=True) == clock.now + 10.0
    clock.now += 10.0
    assert other.is_due(idle=True)
    assert other.trim()
    assert spool.stats().rows == 0
    assert other.trim_at(idle=True) is None
