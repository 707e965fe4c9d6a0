"""How old rows are when they are acknowledged: real SDK, real server, times of the rows."""

import contextlib

import pytest
from support.services import PATIENCE
from support.tag_events import (
    CLIENT_ID,
    DESCRIPTOR,
    SECRET,
    START_US,
    TABLE,
    events,
    landed,
    sink_for,
)

from consumer.delivery import Deliveries, Origins, TableOptions
from consumer.delivery.options import DeliveryOptions
from consumer.delivery.table import TableDelivery
from consumer.rows.encoded import EncodedRows
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.spool import NewBatch, Spool
from zerobus_local import LocalZerobus

pytestmark = pytest.mark.usefixtures("few_authorities")

SIDE = "main.plant.side"
ROWS = 100


@pytest.fixture
def server(tmp_path):
    server = LocalZerobus(
        tmp_path / "tables", credentials={CLIENT_ID: SECRET}, commit_interval=0.02
    )
    for table in (TABLE, SIDE):
        server.create_table(table, TAG_EVENTS_SCHEMA)
    with server:
        yield server


@pytest.fixture
def spool(tmp_path):
    with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
        spool.schemas.register(DESCRIPTOR)
        yield spool


@contextlib.contextmanager
def delivering(spool, server, ages, *, seconds_later, streams=1):
    """A running delivery at a time so many seconds after row 0 has arrived."""
    delivery = TableDelivery(
        spool,
        sink_for(server),
        TABLE,
        spool.schemas.register(DESCRIPTOR),
        DeliveryOptions(lone_refusal=0.2),
        streams=streams,
        observe_age=ages.append,
        wall_clock=lambda: START_US / 1e6 + seconds_later,
    )
    delivery.start()
    try:
        yield delivery
    finally:
        assert delivery.stop(PATIENCE)


def append(spool, rows):
    return spool.append(TABLE, rows, schema_id=spool.schemas.register(DESCRIPTOR))


def test_each_batch_is_as_old_as_its_first_row(spool, server):
    ages = []
    with delivering(spool, server, ages, seconds_later=2) as delivery:
        for number in range(3):  # a row arrives each microsecond
            delivery.submit(append(spool, events(number * ROWS, (number + 1) * ROWS)))
        assert delivery.drain(PATIENCE) == 0
    assert ages == pytest.approx([2.0, 2.0 - 100e-6, 2.0 - 200e-6], abs=1e-6)


def test_what_an_earlier_run_left_counts_with_all_the_time_that_it_waited(spool, server):
    append(spool, events(0, ROWS))
    ages = []
    with delivering(spool, server, ages, seconds_later=7200) as delivery:
        assert delivery.drain(PATIENCE) == 0
    assert ages == pytest.approx([7200.0])


def test_rows_that_know_when_they_arrived_are_not_asked(spool, server):
    ages = []
    with delivering(spool, server, ages, seconds_later=2) as delivery:
        rows = EncodedRows(events(0, ROWS).array, arrived_us=START_US - 3_000_000)
        delivery.submit(append(spool, rows))
        assert delivery.drain(PATIENCE) == 0
    assert ages == pytest.approx([5.0])


def test_a_batch_that_is_not_acknowledged_has_no_age(spool, server):
    server.faults.acks.drop()
    ages = []
    with delivering(spool, server, ages, seconds_later=2) as delivery:
        delivery.submit(append(spool, events(0, ROWS)))
        assert delivery.drain(0.5) == ROWS
        assert ages == []
        server.faults.clear()
        delivery.submit(append(spool, events(ROWS, 2 * ROWS)))  # its acknowledgement covers both
        assert delivery.drain(PATIENCE) == 0
    assert len(ages) == 2


def test_no_age_is_below_zero_where_the_clock_was_set_back(spool, server):
    ages = []
    with delivering(spool, server, ages, seconds_later=-60) as delivery:
        delivery.submit(append(spool, events(0, ROWS)))
        assert delivery.drain(PATIENCE) == 0
    assert ages == [0.0]


def test_each_stream_counts_its_part_of_a_batch(spool, server):
    ages = []
    with delivering(spool, server, ages, seconds_later=2, streams=2) as delivery:
        delivery.submit(append(spool, events(0, ROWS)))  # of one edge node: one stream has none
        assert delivery.drain(PATIENCE) == 0
    assert ages == pytest.approx([2.0])


def test_a_batch_whose_first_record_is_no_row_is_delivered_all_the_same(spool, server, tmp_path):
    ages = []
    good = events(0, ROWS)
    with delivering(spool, server, ages, seconds_later=2) as delivery:
        bad = EncodedRows.from_messages([b"\xff\xff", *good.slice(0, ROWS)])
        delivery.submit(append(spool, bad))
        assert delivery.drain(PATIENCE) == 0
    assert delivery.stats().failures == 0  # a refused record is none
    assert landed(tmp_path / "tables") == list(range(ROWS))
    assert ages == []


def test_side_tables_are_not_among_them(spool, server):
    ages = []
    schema_id = spool.schemas.register(DESCRIPTOR)
    tables = {each: TableOptions(schema_id, DeliveryOptions()) for each in (TABLE, SIDE)}
    deliveries = Deliveries(spool, sink_for(server), tables, Origins(), ages.append)
    deliveries.start()
    rows = events(0, ROWS)
    deliveries.submit(
        spool.commit([NewBatch(TABLE, schema_id, rows), NewBatch(SIDE, schema_id, rows)])
    )
    assert deliveries.stop(PATIENCE) == 0
    assert len(ages) == 1
