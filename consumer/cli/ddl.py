"""`sparkplug-zerobus ddl`: SQL for the landing table, on stdout."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from consumer import config, ddl
from consumer.cli.options import config_option
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """\b
Examples:
  sparkplug-zerobus ddl --config consumer.yaml > tag_events.sql
  sparkplug-zerobus ddl --config consumer.yaml --view-only
  sparkplug-zerobus ddl --config consumer.yaml \\
      --grants-principal 11111111-2222-3333-4444-555555555555
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; its secrets are not read.")
@click.option("--view-only", is_flag=True, help="Print only the view without duplicates.")
@click.option(
    "--grants-principal",
    metavar="UUID",
    help="Application id that gets the grants instead of zerobus.client_id.",
)
def command(config_path: Path, view_only: bool, grants_principal: str | None) -> None:
    """Print the SQL of the landing table: CREATE TABLE, grants, the view without duplicates.

    Run it in a Databricks SQL editor as somebody who may create tables in the
    schema. Catalog and schema must exist.
    """
    if view_only and grants_principal is not None:
        raise click.UsageError("--view-only prints no grants: leave --grants-principal out")
    zerobus = config.load(config_path, os.environ, secrets=False).zerobus
    parts = [ddl.deduplicated_view(zerobus.table)]
    if not view_only:
        principal = zerobus.client_id if grants_principal is None else grants_principal
        try:
            granted = ddl.grants(zerobus.table, principal)
        except ConfigurationError as error:
            where = "zerobus.client_id" if grants_principal is None else "--grants-principal"
            raise ConfigurationError(f"{where}: {error}") from None
        parts = [
            ddl.create_table(zerobus.table),
            granted,
            *parts,
            ddl.streaming(zerobus.table),
        ]
    click.echo("\n".join(parts), nl=False)
