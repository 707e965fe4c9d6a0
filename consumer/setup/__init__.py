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
from consumer.setup.ignition.flush import Flush
from consumer.setup.ignition.gateway import Gateway
from consumer.setup.ignition.handler import Key
from consumer.setup.ignition.inspection import inspect_gateway
from consumer.setup.ignition.plan import write_step
from consumer.setup.ignition.resource_files import write_resource_files
from consumer.setup.ignition.resource_folder import ResourceFolder, resource_folder
from consumer.setup.ignition.script import transmission_script
from consumer.setup.ignition.tags import sample_tags
from consumer.setup.ignition.transmission import (
    TYPES,
    Plan,
    Wishes,
    flush_since_saved,
    plan_transmission,
    server_fields,
)

__all__ = [
    "KIND",
    "NAMES",
    "TIMINGS",
    "TYPES",
    "Calls",
    "Change",
    "EventStream",
    "Flush",
    "Gateway",
    "Key",
    "Plan",
    "ResourceFolder",
    "Timing",
    "Wishes",
    "change",
    "change_back",
    "create_table",
    "current_metadata",
    "deduplicated_name",
    "deduplicated_view",
    "events_view",
    "flush_since_saved",
    "grants",
    "ingest_url",
    "inspect_gateway",
    "latest_events",
    "latest_rows",
    "latest_view",
    "metadata_view",
    "plan_transmission",
    "read_tags",
    "resource_folder",
    "sample_tags",
    "server_fields",
    "streaming",
    "transmission_script",
    "unit_view",
    "write_resource_files",
    "write_step",
]
