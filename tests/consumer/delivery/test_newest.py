"""Between pipeline and delivery each batch passes once, in order, by memory or by disk."""

import contextlib
import threading

import pytest
from support.services import PATIENCE
from support.tag_events import TABLE

from consumer.delivery.newest import NewestBatches
from consumer.rows.encoded import EncodedRows
from consumer.spool import Spool


class Crossing:
    """A real spool whose reader is interrupted: `during_read` runs before it returns."""

    def __init__(self, spool):
        self.spool = spool
        self.reads = 0
        self.during_read = lambda: None

    def read(self, batch_id, limit_bytes):
        self.reads += 1
        found = self.spool.batches_after(batch_id, limit_bytes, table=TABLE)
        act, self.during_read = self.during_read, lambda: None
        act()
        return found

    def append(self, size=10):
        schema_id = self.spool.schemas.register(b"descriptor")
        rows = EncodedRows.from_messages([bytes(size)])
        return self.spool.append(TABLE, rows, schema_id=schema_id)


class Reader:
    """Takes each batch once."""

    def __init__(self, newest):
        self.newest = newest
        self.last = 0

    def take(self, limit_bytes=1 << 20):
        found = self.newest.batches_after(self.last, limit_bytes)
        if found:
            self.last = found[-1].batch_id
        return found


@pytest.fixture
def crossing(tmp_path):
    with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
        yield Crossing(spool)


@pytest.fixture
def newest(crossing):
    return NewestBatches(TABLE, 1 << 20, crossing.read)


def ids(batches):
    return [batch.batch_id for batch in batches]


def test_who_keeps_up_gets_the_batches_that_were_appended_and_reads_nothing(crossing, newest):
    reader = Reader(newest)
    assert reader.take() == []
    assert newest.reach(reader.last)
    for _ in range(3):
        batch = crossing.append()
        newest.offer(batch)
        [taken] = reader.take()
        assert taken is batch
    assert crossing.reads == 1


def test_what_an_earlier_run_left_comes_before_what_is_in_memory(crossing, newest):
    reader = Reader(newest)
    left = [crossing.append().batch_id for _ in range(2)]
    batch = crossing.append()
    newest.offer(batch)
    assert not newest.reach(reader.last)
    assert ids(reader.take(limit_bytes=20)) == left
    assert newest.reach(reader.last)
    assert reader.take() == [batch]
    assert crossing.reads == 1


def test_a_batch_offered_while_the_spool_is_read_is_not_forgotten(crossing, newest):
    reader = Reader(newest)
    crossing.during_read = lambda: newest.offer(crossing.append())
    assert reader.take() == []
    assert ids(reader.take()) == [1]


def test_a_wake_up_while_the_spool_is_read_is_not_forgotten(crossing, newest):
    reader = Reader(newest)

    def append_unoffered():
        crossing.append()
        newest.look_again()

    crossing.during_read = append_unoffered
    assert reader.take() == []
    assert ids(reader.take()) == [1]


def test_a_batch_read_from_the_spool_before_it_is_offered_passes_once(crossing, newest):
    reader = Reader(newest)
    reader.take()
    newest.look_again()
    first = crossing.append()
    assert ids(reader.take()) == [first.batch_id]
    assert reader.take() == []
    newest.offer(first)  # committed before the read, offered after it
    second = crossing.append()
    newest.offer(second)
    assert ids(reader.take()) == [second.batch_id]


def test_what_was_appended_and_not_offered_comes_between_those_that_were(crossing, newest):
    reader = Reader(newest)
    reader.take()
    newest.offer(crossing.append())
    crossing.append()
    newest.look_again()
    newest.offer(crossing.append())
    taken = []
    while batches := reader.take():
        taken += ids(batches)
    assert taken == [1, 2, 3]


def test_what_memory_has_no_room_for_is_read_and_the_newest_are_not(crossing):
    newest = NewestBatches(TABLE, 5000, crossing.read)
    reader = Reader(newest)
    reader.take()
    appended = [crossing.append(size=1000) for _ in range(10)]
    for batch in appended:
        newest.offer(batch)
        assert newest.nbytes <= 5000
    assert not newest.reach(reader.last)
    taken = []
    while batches := reader.take(limit_bytes=2000):
        taken += batches
    assert ids(taken) == list(range(1, 11))
    assert taken[-2:] == appended[-2:]
    assert taken[-1] is appended[-1]
    assert newest.reach(reader.last)


def test_what_nobody_asks_for_any_more_takes_no_memory(crossing, newest):
    reader = Reader(newest)
    reader.take()
    for _ in range(3):
        newest.offer(crossing.append())
    reader.take(limit_bytes=20)
    newest.forget(reader.last)
    assert newest.nbytes < 1200
    assert ids(reader.take()) == [3]
    newest.forget(reader.last)
    assert newest.nbytes == 0
    assert newest.reach(reader.last)


def test_of_two_readers_each_gets_all(crossing, newest):
    fast, slow = Reader(newest), Reader(newest)
    fast.take()
    for _ in range(5):
        newest.offer(crossing.append())
        fast.take()
    newest.forget(slow.last)
    assert fast.last == 5
    assert ids(slow.take()) == [1, 2, 3, 4, 5]
    assert crossing.reads == 1


def test_batches_pass_once_and_in_order_while_both_sides_hurry(crossing):
    newest = NewestBatches(TABLE, 20_000, crossing.read)
    reader = Reader(newest)
    total, taken = 1000, []

    def take_all():
        while len(taken) < total:
            taken.extend(ids(reader.take()))
            newest.forget(reader.last)

    thread = threading.Thread(target=take_all)
    thread.start()
    for number in range(total):
        newest.offer(crossing.append(size=100 * (number % 50)))
    thread.join(PATIENCE)
    assert taken == list(range(1, total + 1))
