"""A spool, its delivery, and a local Zerobus server: for tests of the way between them."""

import contextlib

import pytest

from consumer.delivery.options import Backoff, DeliveryOptions
from consumer.delivery.table import TableDelivery
from consumer.rows.encoded import EncodedRows
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.sinks.zerobus import StreamOptions
from consumer.spool import Spool
from support.read_spool import read_from
from support.services import PATIENCE, wait_until
from support.tag_events import (
    CLIENT_ID,
    DESCRIPTOR,
    SECRET,
    TABLE,
    event,
    events,
    landed,
    sink_for,
)
from zerobus_local import LocalZerobus

QUICK_STREAM = StreamOptions(open_timeout=PATIENCE, ack_timeout=30.0, flush_timeout=0.3)
QUICK = DeliveryOptions(
    retry=Backoff(0.02, 0.2),
    blocked_retry=Backoff(0.1, 0.3),
    trim_interval=0.02,
    lone_refusal=0.2,
)


@pytest.fixture
def server(tmp_path):
    server = LocalZerobus(
        tmp_path / "tables", credentials={CLIENT_ID: SECRET}, commit_interval=0.02
    )
    server.create_table(TABLE, TAG_EVENTS_SCHEMA)
    with server:
        yield server


class Plant:
    """A spool and its delivery; `add` does what the pipeline does."""

    def __init__(self, tmp_path, server, options=QUICK, stream=QUICK_STREAM):
        self.data_dir = tmp_path / "tables"
        self.spool = Spool.open(tmp_path / "spool.db", sync="off")
        self.schema_id = self.spool.schemas.register(DESCRIPTOR)
        self.sink = sink_for(server, options=stream)
        self.delivery = TableDelivery(self.spool, self.sink, TABLE, self.schema_id, options)
        self.number = 0

    def add(self, rows=100, batches=1):
        """Append batches of `rows` rows and hand them over."""
        for _ in range(batches):
            encoded = events(self.number, self.number + rows)
            self.number += rows
            batch = self.spool.append(TABLE, encoded, schema_id=self.schema_id)
            self.delivery.submit(batch)

    def add_poison(self, rows, at, count=1):
        """Append a batch in which records, from row `at` on, are no events."""
        messages = [event(self.number + row) for row in range(rows)]
        messages[at : at + count] = [b"\xff\xff"] * count
        self.number += rows
        encoded = EncodedRows.from_messages(messages)
        self.delivery.submit(self.spool.append(TABLE, encoded, schema_id=self.schema_id))

    def dead_letters(self):
        """Batch id, row, reason and error of every record that was set aside."""
        query = "SELECT batch_id, first_row, reason, error FROM dead_letters ORDER BY 1, 2"
        return read_from(self.spool, lambda db: db.execute(query).fetchall())

    def stats(self):
        return self.delivery.stats()

    def wait_for(self, state):
        """Wait until it is in this state, and return how it is then."""
        seen = []
        wait_until(lambda: seen.append(self.stats()) or seen[-1].state is state, what=state)
        return seen[-1]

    def landed_once(self):
        """Everything is acknowledged and out of the spool, and landed exactly once."""
        assert self.delivery.drain(PATIENCE) == 0, self.stats()
        assert landed(self.data_dir) == list(range(self.number))

    def landed_at_least_once(self):
        """Everything is acknowledged and landed; returns how many rows landed again."""
        assert self.delivery.drain(PATIENCE) == 0, self.stats()
        numbers = landed(self.data_dir)
        assert sorted(set(numbers)) == list(range(self.number))
        return len(numbers) - self.number


@pytest.fixture
def plant_for(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(server, *, start=True, **options):
            plant = Plant(tmp_path, server, **options)
            stack.callback(plant.spool.close)
            stack.callback(plant.delivery.stop, PATIENCE)
            if start:
                plant.delivery.start()
            return plant

        yield make


@pytest.fixture
def plant(server, plant_for):
    return plant_for(server)
