"""What prepares others: SQL for a Databricks workspace, files for an Ignition gateway."""

from consumer.setup.ddl import (
    create_table,
    current_metadata,
    deduplicated_name,
    deduplicated_view,
    events_view,
    grants,
    latest_events,
    latest_rows,
    latest_view,
    metadata_view,
    streaming,
    unit_view,
)
from consumer.setup.ignition.calls import Calls
from consumer.setup.ignition.event_stream import (
    KIND,
    NAMES,
    TIMINGS,
    Change,
    EventStream,
    Timing,
    change,
    change_back,
    ingest_url,
    read_tags,
)
from consumer.setup.ignition.gateway import Gateway
from consumer.setup.ignition.handler import Key
from consumer.setup.ignition.resource_folder import ResourceFolder, resource_folder
from consumer.setup.ignition.tags import sample_tags

__all__ = [
    "KIND",
    "NAMES",
    "TIMINGS",
    "Calls",
    "Change",
    "EventStream",
    "Gateway",
    "Key",
    "ResourceFolder",
    "Timing",
    "change",
    "change_back",
    "create_table",
    "current_metadata",
    "deduplicated_name",
    "deduplicated_view",
    "events_view",
    "grants",
    "ingest_url",
    "latest_events",
    "latest_rows",
    "latest_view",
    "metadata_view",
    "read_tags",
    "resource_folder",
    "sample_tags",
    "streaming",
    "unit_view",
]
