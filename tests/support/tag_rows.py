"""Rows of tag_events as Arrow, column by column, beside the bytes that the product makes."""

import pyarrow as pa

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from sparkplug import QUALITY_NAMES, ROW_TYPES


def as_record_batch(events):
    """The rows of TagEvents in the schema of the table."""
    observations = events.observations
    columns = dict(zip(events.variable.schema.names, events.variable.columns, strict=True))
    columns |= events.tags.columns(observations.tag)
    columns |= {
        "quality": pa.array(QUALITY_NAMES).take(pa.array(observations.quality)),
        "quality_code": pa.array(observations.quality_code),
        "message_type": pa.array(map(str, ROW_TYPES)).take(pa.array(observations.message_type)),
        "is_historical": pa.array(observations.historical),
    }
    return pa.record_batch(
        [columns[field.name].cast(field.type) for field in TAG_EVENTS_SCHEMA],
        schema=TAG_EVENTS_SCHEMA,
    )
