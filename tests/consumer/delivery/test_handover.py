"""Between pipeline and delivery each batch passes once, in order, by memory or by disk."""

import contextlib
import threading

import pytest
from support.services import PATIENCE
from support.tag_events import TABLE

from consumer.delivery.handover import Handover
from consumer.rows.encoded import EncodedRows
from consumer.spool import Spool


class Crossing:
    """A real spool whose reader is interrupted: `during_read` runs before it returns."""

    def __init__(self, spool):
        self.spool = spool
        self.during_read = lambda: None

    def batches_after(self, batch_id, limit_bytes, *, table):
        found = self.spool.batches_after(batch_id, limit_bytes, table=table)
        act, self.during_read = self.during_read, lambda: None
        act()
        return found


@pytest.fixture
def crossing(tmp_path):
    with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
        yield Crossing(spool)


def handover_for(crossing, max_bytes=1 << 20):
    return Handover(crossing, TABLE, max_bytes=max_bytes, read_bytes=1 << 20)


def append(crossing, size=10):
    schema_id = crossing.spool.schemas.register(b"descriptor")
    rows = EncodedRows.from_messages([bytes(size)])
    return crossing.spool.append(TABLE, rows, schema_id=schema_id)


def ids(batches):
    return [batch.batch_id for batch in batches]


def test_a_caught_up_reader_takes_batches_from_memory(crossing):
    handover = handover_for(crossing)
    assert handover.take() == []
    assert not handover.lagging
    batch = append(crossing)
    handover.offer(batch)
    [taken] = handover.take()
    assert taken is batch


def test_a_batch_offered_while_the_spool_is_read_is_not_forgotten(crossing):
    handover = handover_for(crossing)
    crossing.during_read = lambda: handover.offer(append(crossing))
    assert handover.take() == []
    assert ids(handover.take()) == [1]


def test_a_wake_up_while_the_spool_is_read_is_not_forgotten(crossing):
    handover = handover_for(crossing)

    def append_unoffered():
        append(crossing)
        handover.look_again()

    crossing.during_read = append_unoffered
    assert handover.take() == []
    assert ids(handover.take()) == [1]


def test_a_batch_read_from_the_spool_before_it_is_offered_passes_once(crossing):
    handover = handover_for(crossing)
    handover.take()
    handover.look_again()
    first = append(crossing)
    assert ids(handover.take()) == [first.batch_id]
    assert handover.take() == []
    handover.offer(first)  # committed before the read, offered after it
    second = append(crossing)
    handover.offer(second)
    assert ids(handover.take()) == [second.batch_id]


def test_what_was_in_memory_before_it_overflowed_comes_first(crossing):
    handover = handover_for(crossing, max_bytes=5000)
    handover.take()
    for _ in range(10):
        handover.offer(append(crossing, size=1000))
    taken = []
    while batches := handover.take():
        taken += ids(batches)
    assert taken == list(range(1, 11))


def test_batches_pass_once_and_in_order_while_both_sides_hurry(crossing):
    handover = handover_for(crossing, max_bytes=20_000)
    total, taken = 1000, []

    def take_all():
        while len(taken) < total:
            taken.extend(ids(handover.take()))

    reader = threading.Thread(target=take_all)
    reader.start()
    for number in range(total):
        handover.offer(append(crossing, size=100 * (number % 50)))
    reader.join(PATIENCE)
    assert taken == list(range(1, total + 1))
