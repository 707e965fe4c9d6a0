"""SQL and calls that prepare a Databricks workspace: tables, grants, views.

The SQL is for a person, or for a test that runs it; `open_workspace` connects to a workspace,
with the Databricks SDK for Python, and a `Preparation` makes in it what is missing.
"""

from consumer.setup.databricks.found import (
    FoundTable,
    lacking,
)
from consumer.setup.databricks.preparation import (
    CATALOG_PRIVILEGES,
    SCHEMA_PRIVILEGES,
    TABLE_PRIVILEGES,
    Outcome,
    Preparation,
    StepState,
    Wanted,
)
from consumer.setup.databricks.principals import Principals
from consumer.setup.databricks.statements import Statements
from consumer.setup.databricks.workspace import Workspace, open_workspace
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

__all__ = [
    "CATALOG_PRIVILEGES",
    "SCHEMA_PRIVILEGES",
    "TABLE_PRIVILEGES",
    "FoundTable",
    "Outcome",
    "Preparation",
    "Principals",
    "Statements",
    "StepState",
    "Wanted",
    "Workspace",
    "create_table",
    "current_metadata",
    "deduplicated_name",
    "deduplicated_view",
    "events_view",
    "grants",
    "lacking",
    "latest_events",
    "latest_rows",
    "latest_view",
    "metadata_view",
    "open_workspace",
    "streaming",
    "unit_view",
]
