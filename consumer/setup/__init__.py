"""What prepares others: SQL and calls for a Databricks workspace, files and calls for a gateway.

The SQL is for a person, or for a test that runs it; `open_workspace` connects to a workspace, with
the Databricks SDK for Python, and a `Preparation` makes in it what is missing. A `Gateway` is an
Ignition gateway, asked and written over its REST API.
"""

from consumer.setup.databricks.found import (
    FoundTable,
    lacking,
)
from consumer.setup.databricks.models import (
    MOST_MEMBERS,
    instances_name,
    instances_view,
    template_views,
    trend_name,
    trend_view,
)
from consumer.setup.databricks.models_columns import (
    MOST_TEMPLATES,
    TemplateModel,
    template_models,
)
from consumer.setup.databricks.models_source import (
    Known,
    known_locally,
    known_templates,
)
from consumer.setup.databricks.preparation import (
    CATALOG_PRIVILEGES,
    SCHEMA_PRIVILEGES,
    TABLE_PRIVILEGES,
    Outcome,
    Preparation,
    StepState,
    Wanted,
    one_statement,
    view_name,
)
from consumer.setup.databricks.principals import (
    Principals,
)
from consumer.setup.databricks.statements import (
    Row,
    Statements,
)
from consumer.setup.databricks.workspace import (
    Workspace,
    open_workspace,
)
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
from consumer.setup.ignition.calls import (
    Calls,
)
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
from consumer.setup.ignition.flush import (
    Flush,
)
from consumer.setup.ignition.gateway import (
    Gateway,
)
from consumer.setup.ignition.handler import (
    Key,
)
from consumer.setup.ignition.inspection import (
    inspect_gateway,
)
from consumer.setup.ignition.plan import (
    write_step,
)
from consumer.setup.ignition.resource_files import (
    write_resource_files,
)
from consumer.setup.ignition.resource_folder import (
    ResourceFolder,
    resource_folder,
)
from consumer.setup.ignition.script import (
    transmission_script,
)
from consumer.setup.ignition.tags import (
    sample_tags,
)
from consumer.setup.ignition.transmission import (
    TYPES,
    Plan,
    Wishes,
    flush_since_saved,
    plan_transmission,
    server_fields,
)

__all__ = [
    "CATALOG_PRIVILEGES",
    "KIND",
    "MOST_MEMBERS",
    "MOST_TEMPLATES",
    "NAMES",
    "SCHEMA_PRIVILEGES",
    "TABLE_PRIVILEGES",
    "TIMINGS",
    "TYPES",
    "Calls",
    "Change",
    "EventStream",
    "Flush",
    "FoundTable",
    "Gateway",
    "Key",
    "Known",
    "Outcome",
    "Plan",
    "Preparation",
    "Principals",
    "ResourceFolder",
    "Row",
    "Statements",
    "StepState",
    "TemplateModel",
    "Timing",
    "Wanted",
    "Wishes",
    "Workspace",
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
    "instances_name",
    "instances_view",
    "known_locally",
    "known_templates",
    "lacking",
    "latest_events",
    "latest_rows",
    "latest_view",
    "metadata_view",
    "one_statement",
    "open_workspace",
    "plan_transmission",
    "read_tags",
    "resource_folder",
    "sample_tags",
    "server_fields",
    "streaming",
    "template_models",
    "template_views",
    "transmission_script",
    "trend_name",
    "trend_view",
    "unit_view",
    "view_name",
    "write_resource_files",
    "write_step",
]
