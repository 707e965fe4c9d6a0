"""Rows for the spool that are no rows of any table, and what of them is in it."""

import random

from consumer.rows.encoded import EncodedRows

TABLE = "main.plant.tag_events"


def rows_of(*texts):
    return EncodedRows.from_messages([text.encode() for text in texts])


def random_rows(count, size, seed=0):
    source = random.Random(seed)
    return EncodedRows.from_messages([source.randbytes(size) for _ in range(count)])


def texts_in(spool, after=0):
    return [
        message.decode()
        for batch in spool.batches_after(after, 1 << 30, table=TABLE)
        for message in batch.rows.slice(0, len(batch.rows))
    ]
