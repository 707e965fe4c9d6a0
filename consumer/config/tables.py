"""Which tables a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.rows import SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA

if TYPE_CHECKING:
    from consumer.config.databricks import Zerobus
    from consumer.rows import Table


def configured_tables(zerobus: Zerobus) -> dict[str, Table]:
    """Every table that rows go to, by its full name; `tag_events` is the first."""
    tables = {zerobus.table: TAG_EVENTS}
    if zerobus.events_table:
        tables[zerobus.events_table] = SPARKPLUG_EVENTS
    if zerobus.metadata_table:
        tables[zerobus.metadata_table] = TAG_METADATA
    return tables
