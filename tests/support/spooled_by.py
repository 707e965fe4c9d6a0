"""What a consumer has put into its spool, and when it does."""

from __future__ import annotations

import contextlib

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.spool.balance import read_balance
from support.read_spool import read_from

MAIN = "main.ot.tag_events"


@contextlib.contextmanager
def after_each_commit(consumer, act):
    """Calls `act` with the number of each commit of rows, after it."""
    append, count = consumer.spool.commit, 0

    def counting(*args, **options):
        nonlocal count
        done = append(*args, **options)
        count += 1
        act(count)
        return done

    consumer.spool.commit = counting
    try:
        yield
    finally:
        consumer.spool.commit = append


def rows_of(consumer):
    return [
        TagEvent.FromString(row)
        for batch in consumer.spool.batches_after(0, 1 << 30, table=MAIN)
        for row in batch.rows.slice(0, len(batch.rows))
    ]


def numbered(rows):
    """Whether the rows have consecutive arrival numbers."""
    return [row.arrival_number - rows[0].arrival_number for row in rows] == list(range(len(rows)))


def balance(consumer):
    """Of the file alone, as after a kill."""
    return read_from(consumer.spool, read_balance)
