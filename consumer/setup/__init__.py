"""SQL that prepares a Databricks workspace: tables, grants, views.

Texts for a person, or for a test that runs them; nothing here connects to anything.
"""

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
    "create_table",
    "current_metadata",
    "deduplicated_name",
    "deduplicated_view",
    "events_view",
    "grants",
    "latest_events",
    "latest_rows",
    "latest_view",
    "metadata_view",
    "streaming",
    "unit_view",
]
