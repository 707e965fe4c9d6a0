"""`sparkplug-zerobus ddl`: SQL for the landing tables, on stdout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from consumer import config
from consumer.cli.options import config_option
from consumer.cli.output import echo_text
from consumer.config import configured_layout, configured_tables
from consumer.errors import ConfigurationError
from consumer.setup import (
    create_table,
    deduplicated_name,
    deduplicated_view,
    events_view,
    grants,
    latest_view,
    metadata_view,
    streaming,
    unit_view,
)

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.config import Zerobus
    from consumer.rows import TagLayout

EXAMPLES = """\b
Examples:
  sparkplug-zerobus ddl --config consumer.yaml > tag_events.sql
  sparkplug-zerobus ddl --config consumer.yaml --view-only
  sparkplug-zerobus ddl --config consumer.yaml \\
      --grants-principal 11111111-2222-3333-4444-555555555555
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; its secrets are not read.")
@click.option("--view-only", is_flag=True, help="Print only the views.")
@click.option(
    "--grants-principal",
    metavar="UUID",
    help="Application id that gets the grants instead of zerobus.client_id.",
)
def command(config_path: Path, view_only: bool, grants_principal: str | None) -> None:
    """Print the SQL of the configured tables: CREATE TABLE, grants, views.

    Run it in a Databricks SQL editor as somebody who may create tables in the
    schema. Catalog and schema must exist.
    """
    if view_only and grants_principal is not None:
        raise click.UsageError("--view-only prints no grants: leave --grants-principal out")
    configuration = config.load(config_path, os.environ, secrets=False)
    zerobus, normalize = configuration.zerobus, configuration.normalize
    layout = configured_layout(normalize)
    views = views_of(zerobus, layout)
    if view_only:
        echo_text("\n".join(views))
        return
    principal = zerobus.client_id if grants_principal is None else grants_principal
    parts = []
    for table, definition in configured_tables(zerobus, normalize).items():
        try:
            granted = grants(table, principal)
        except ConfigurationError as error:
            where = "zerobus.client_id" if grants_principal is None else "--grants-principal"
            raise ConfigurationError(f"{where}: {error}") from None
        parts += [create_table(table, definition), granted]
    echo_text("\n".join([*parts, *views, streaming(zerobus.table, layout)]))


def views_of(zerobus: Zerobus, layout: TagLayout) -> list[str]:
    """CREATE OR REPLACE VIEW for every view of the configured tables.

    Where a layout lacks the columns of a view there is a comment that says so, and no statement.
    """
    views = [deduplicated_view(zerobus.table, layout), latest_view(zerobus.table, layout)]
    if zerobus.events_table:
        views.append(events_view(zerobus.events_table))
    if zerobus.metadata_table:
        views.append(metadata_view(zerobus.metadata_table))
        rows = deduplicated_name(zerobus.table)
        views.append(unit_view(zerobus.table, rows, zerobus.metadata_table, layout))
    return views
