"""A null in a NOT NULL column is refused before the encoder, which would not notice it."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from support.columnar import Columnar, message, tag

from consumer.errors import NullInRequiredColumnError
from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.tables import COLUMNS


@pytest.fixture
def events():
    """Two rows as the consumer makes them, ready to be encoded."""
    return Columnar().events(message("NBIRTH", tag("Level", 1), tag("Flow", 2)))


def with_null(batch, name):
    """The batch with a null in the second row of one column."""
    index = batch.schema.get_field_index(name)
    column = batch.column(index)
    damaged = pa.array([column[0].as_py(), None], column.type)
    return batch.set_column(index, name, damaged)


def test_what_the_consumer_makes_has_every_required_column(events):
    encoded = [TagEvent.FromString(each) for part in events.encode() for each in part.to_pylist()]
    assert [row.metric_name for row in encoded] == ["Level", "Flow"]
    assert all(row.IsInitialized() for row in encoded)


def test_a_null_in_any_column_that_is_encoded_row_by_row_is_refused(events):
    encoded_by_row = set(events.variable.schema.names)
    required = [c.name for c in COLUMNS if not c.nullable and c.name in encoded_by_row]
    assert {"event_id", "event_time"} <= set(required)
    for name in required:
        damaged = replace(events, variable=with_null(events.variable, name))
        with pytest.raises(NullInRequiredColumnError, match=name):
            damaged.encode()


def test_a_null_in_a_column_that_may_be_null_is_not(events):
    [part] = replace(events, variable=with_null(events.variable, "numeric_value")).encode()
    second = TagEvent.FromString(part.to_pylist()[1])
    assert not second.HasField("numeric_value")
