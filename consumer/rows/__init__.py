"""What a row is: three tables and their columns, event ids, encoded bytes.

Columns of observations go in, `EncodedRows` come out: messages of the protobuf type of a
table, ready to be spooled and sent. Names are loaded when they are used: descriptors and
`SourceNames` need no Arrow, all else does.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from consumer.rows.conversion import Conversion
    from consumer.rows.descriptors import descriptor_bytes, message_class, schema_id_of
    from consumer.rows.encoded import EncodedRows
    from consumer.rows.event_id import event_id_of, identities_of, place
    from consumer.rows.event_streams import BodyError, ReadBody, TakesLong, read_body
    from consumer.rows.layouts import (
        DEFAULT_LAYOUT,
        TagLayout,
        has_our_numbers,
        layout_of_columns,
        layout_of_module,
        our_fields,
    )
    from consumer.rows.metadata_versions import VersionStore
    from consumer.rows.sparkplug_events import EventRows, quarantine_events
    from consumer.rows.stream_tags import StreamTags
    from consumer.rows.table import Table
    from consumer.rows.tables import COLUMNS, SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA
    from consumer.rows.tag_columns import TagColumns
    from consumer.rows.tag_events import TagEvents, normalize
    from consumer.rows.tag_metadata import MetadataRows
    from consumer.rows.templates import SourceNames
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "conversion": ["Conversion"],
            "descriptors": ["descriptor_bytes", "message_class", "schema_id_of"],
            "encoded": ["EncodedRows"],
            "event_id": ["event_id_of", "identities_of", "place"],
            "event_streams": ["BodyError", "ReadBody", "TakesLong", "read_body"],
            "layouts": [
                "DEFAULT_LAYOUT",
                "TagLayout",
                "has_our_numbers",
                "layout_of_columns",
                "layout_of_module",
                "our_fields",
            ],
            "metadata_versions": ["VersionStore"],
            "sparkplug_events": ["EventRows", "quarantine_events"],
            "stream_tags": ["StreamTags"],
            "table": ["Table"],
            "tables": ["COLUMNS", "SPARKPLUG_EVENTS", "TAG_EVENTS", "TAG_METADATA"],
            "tag_columns": ["TagColumns"],
            "tag_events": ["TagEvents", "normalize"],
            "tag_metadata": ["MetadataRows"],
            "templates": ["SourceNames"],
        },
    )

__all__ = [
    "COLUMNS",
    "DEFAULT_LAYOUT",
    "SPARKPLUG_EVENTS",
    "TAG_EVENTS",
    "TAG_METADATA",
    "BodyError",
    "Conversion",
    "EncodedRows",
    "EventRows",
    "MetadataRows",
    "ReadBody",
    "SourceNames",
    "StreamTags",
    "Table",
    "TagColumns",
    "TagEvents",
    "TagLayout",
    "TakesLong",
    "VersionStore",
    "descriptor_bytes",
    "event_id_of",
    "has_our_numbers",
    "identities_of",
    "layout_of_columns",
    "layout_of_module",
    "message_class",
    "normalize",
    "our_fields",
    "place",
    "quarantine_events",
    "read_body",
    "schema_id_of",
]
