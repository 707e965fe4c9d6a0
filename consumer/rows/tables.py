"""The tables `tag_events`, `sparkplug_events` and `tag_metadata`, each defined once.

The protobuf descriptors that Zerobus gets, the Arrow schemas, proto/*.proto, CREATE TABLE and
the tables in the documentation are derived from these, or checked against them by the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.pb import sparkplug_event_pb2, tag_event_pb2, tag_metadata_pb2
from consumer.rows.table import Column, Table

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: Final[tuple[Column, ...]] = (
    Column("event_id", "STRING", False, "names one observation; equal ids are duplicates"),
    Column("event_time", "TIMESTAMP", False, "metric timestamp, else payload's, else arrival"),
    Column("tag_path", "STRING", False, "path of the tag, by the configured template", True),
    Column("tag_provider", "STRING", True, "part of tag_path between the brackets", True),
    Column("numeric_value", "DOUBLE", True, "any number, as double"),
    Column("integer_value", "BIGINT", True, "exact value of integers that fit"),
    Column("string_value", "STRING", True, "text; what no other column can hold, as text"),
    Column("boolean_value", "BOOLEAN", True, "booleans"),
    Column("quality", "STRING", False, "GOOD, UNCERTAIN, BAD or STALE"),
    Column("quality_code", "INT", True, "raw quality code; 192 when none was sent"),
    Column("data_type", "STRING", False, "Sparkplug name of the datatype", True),
    Column("source_system_id", "STRING", False, "configured per server", True),
    Column("group_id", "STRING", True, "group id of the topic", True),
    Column("edge_node_id", "STRING", True, "edge node id of the topic", True),
    Column("device_id", "STRING", True, "device id of the topic; null at node level", True),
    Column("metric_name", "STRING", False, "name declared in the birth", True),
    Column(
        "message_type",
        "STRING",
        False,
        "verb of the topic; HOST for rows of the consumer itself; HTTP",
    ),
    Column("is_historical", "BOOLEAN", False, "flushed from an edge's history store, or overtaken"),
    Column("seq", "INT", True, "sequence number of the payload"),
    Column("payload_timestamp", "TIMESTAMP", True, "timestamp of the payload"),
    Column("ingestion_timestamp", "TIMESTAMP", False, "time of arrival at the consumer"),
    Column("arrival_number", "BIGINT", False, "grows by one per row in the order of reading"),
)

TAG_EVENTS: Final = Table(
    "tag_events",
    "One row per observation of a Sparkplug B metric; at least once, see event_id",
    COLUMNS,
    tag_event_pb2.TagEvent.DESCRIPTOR,
)

TAG_EVENTS_SCHEMA: Final[pa.Schema] = TAG_EVENTS.arrow_schema
"""Arrow schema of the default profile, in the order of the table."""

SPARKPLUG_EVENTS: Final = Table(
    "sparkplug_events",
    "What happened to edge nodes and devices; the latest row of an event_id counts",
    (
        Column("event_id", "STRING", False, "names one event; its later rows replace earlier ones"),
        Column("event_time", "TIMESTAMP", False, "when it happened, by the clock of the consumer"),
        Column("event_type", "STRING", False, "what happened"),
        Column("source_system_id", "STRING", True, "configured per server"),
        Column("server", "STRING", False, "name of the MQTT server"),
        Column("group_id", "STRING", True, "group id; null where no edge node is concerned"),
        Column("edge_node_id", "STRING", True, "edge node id"),
        Column("device_id", "STRING", True, "device id; null where it concerns the node"),
        Column("reason", "STRING", True, "why, in the words of the remarks"),
        Column("bd_seq", "BIGINT", True, "bdSeq of the birth or death"),
        Column("seq", "INT", True, "seq of the message; of a gap the first missing one"),
        Column("missing_messages", "BIGINT", True, "messages that are missing in a gap"),
        Column("missing_is_modulo_256", "BOOLEAN", False, "a multiple of 256 more may be missing"),
        Column("healing", "STRING", True, "how a gap was made up for; open while it is not"),
        Column("detail", "STRING", True, "what else is known, for people"),
        Column("ingestion_timestamp", "TIMESTAMP", False, "when this row was made; it grows"),
    ),
    sparkplug_event_pb2.SparkplugEvent.DESCRIPTOR,
)

TAG_METADATA: Final = Table(
    "tag_metadata",
    "What births say of tags, one version per metadata_id, of which the latest row counts",
    (
        Column("metadata_id", "STRING", False, "names one version; a later row has its end"),
        Column("tag_path", "STRING", False, "as in tag_events", True),
        Column("tag_provider", "STRING", True, "as in tag_events", True),
        Column("source_system_id", "STRING", False, "as in tag_events", True),
        Column("group_id", "STRING", True, "group id of the topic", True),
        Column("edge_node_id", "STRING", True, "edge node id of the topic", True),
        Column("device_id", "STRING", True, "device id of the topic; null at node level", True),
        Column("metric_name", "STRING", False, "name declared in the birth", True),
        Column("data_type", "STRING", False, "Sparkplug name of the datatype", True),
        Column("unit", "STRING", True, "engineering unit"),
        Column("low", "DOUBLE", True, "lower end of the range"),
        Column("high", "DOUBLE", True, "upper end of the range"),
        Column("documentation", "STRING", True, "documentation"),
        Column("tooltip", "STRING", True, "tooltip"),
        Column("read_only", "BOOLEAN", True, "whether writes are refused"),
        Column("template", "STRING", True, "template that the tag is a member of"),
        Column("properties", "STRING", True, "all properties, as a JSON object"),
        Column("first_seen", "TIMESTAMP", False, "first birth with the tag, whatever it said"),
        Column("last_seen", "TIMESTAMP", False, "until when the version is known to have held"),
        Column("valid_from", "TIMESTAMP", False, "the birth that said it first"),
        Column("valid_to", "TIMESTAMP", True, "the birth that said otherwise; null while it holds"),
        Column("ingestion_timestamp", "TIMESTAMP", False, "when this row was made; it grows"),
    ),
    tag_metadata_pb2.TagMetadata.DESCRIPTOR,
)
