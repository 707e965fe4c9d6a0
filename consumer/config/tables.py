"""Which tables a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.config.columns import pairs
from consumer.rows import (
    DEFAULT_LAYOUT,
    SPARKPLUG_EVENTS,
    TAG_METADATA,
    layout_of_columns,
    layout_of_module,
)

if TYPE_CHECKING:
    from consumer.config.databricks import Zerobus
    from consumer.config.model import Normalize
    from consumer.rows import Table, TagLayout


def configured_layout(normalize: Normalize) -> TagLayout:
    """The columns that rows of tag_events have in their table."""
    if normalize.columns:
        return layout_of_columns(pairs(normalize.columns))
    if normalize.profile == "ignition-module":
        form = normalize.ignition_module
        return layout_of_module(int(form.columns), form.source_column, form.event_time)
    return DEFAULT_LAYOUT


def configured_tables(zerobus: Zerobus, normalize: Normalize) -> dict[str, Table]:
    """Every table that rows go to, by its full name; `tag_events` is the first."""
    tables = {zerobus.table: configured_layout(normalize).table}
    if zerobus.events_table:
        tables[zerobus.events_table] = SPARKPLUG_EVENTS
    if zerobus.metadata_table:
        tables[zerobus.metadata_table] = TAG_METADATA
    return tables
