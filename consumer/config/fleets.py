"""What a configuration says of reading the messages of a server: for all who read as a consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.config.narrowing import selection, sight
from consumer.rows import SourceNames
from sparkplug import FleetLimits, FleetOptions, HoldLimits

if TYPE_CHECKING:
    from consumer.config.host import Host
    from consumer.config.model import LimitsSection, Normalize
    from consumer.config.server import Server


def fleet_limits(limits: LimitsSection, servers: int) -> FleetLimits:
    """Bounds of what is read and remembered of one of so many servers.

    Raises:
        ConflictError: `limits.memory` does not suffice.
    """
    budget = limits.budget
    return FleetLimits(
        max_payload_bytes=limits.max_payload,
        max_nodes=limits.max_nodes,
        max_tags=budget.tags,
        max_name_characters=budget.name_characters,
        max_waiting_bytes=budget.waiting_bytes // servers,
        max_file_bytes=budget.file_bytes // servers,
        max_definition_members=budget.definition_members // servers,
        max_definition_bytes=budget.definition_bytes // servers,
    )


def fleet_options(
    server: Server, normalize: Normalize, host: Host, *, held_bytes: int, describe_tags: bool
) -> FleetOptions:
    """How the messages of a server are read.

    Args:
        server: what is read of it.
        normalize: how metrics become rows.
        host: for how long is waited, and whether anybody is asked.
        held_bytes: bound of what waits for births.
        describe_tags: whether what births say of tags is wanted.
    """
    return FleetOptions(
        wanted=selection(server.include, server.exclude),
        sight=sight(server.topics),
        emit_births=normalize.emit_births,
        emit_stale=normalize.emit_stale != "none",
        stale_when_lost=normalize.emit_stale == "all",
        emit_transient=normalize.emit_transient,
        describe_tags=describe_tags,
        hold_limits=HoldLimits(node_bytes=held_bytes // 2, total_bytes=held_bytes),
        reorder_timeout=host.reorder_timeout,
        unheard=host.unheard,
        silent_after=host.silent_after,
        passive=host.mode == "passive",
    )


def source_names(server: Server, normalize: Normalize) -> SourceNames:
    """How the rows of a server are named."""
    return SourceNames(
        server=server.name,
        site=server.site,
        tag_path=normalize.tag_path,
        source_system_id=server.source_system_id,
    )
