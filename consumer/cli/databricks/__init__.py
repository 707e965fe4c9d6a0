"""`sparkplug-zerobus databricks`: what is done in a Databricks workspace, by its own API.

All of it is shown before it is done: without `--yes` nothing in the workspace is changed.
"""

from __future__ import annotations

import click

from consumer.cli.commands import LazyGroup

COMMANDS = {
    "setup": (
        "consumer.cli.databricks.setup",
        "Make catalog, schema, tables, views, service principal, grants.",
    ),
    "check": (
        "consumer.cli.databricks.check",
        "Say whether tables, grants and warehouse fit what the consumer does.",
    ),
    "reconcile": (
        "consumer.cli.databricks.reconcile",
        "Compare acknowledged rows with the platform's own count, by hour.",
    ),
    "models": ("consumer.cli.databricks.models", "Make tables and views for analysis of the rows."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog="Try: sparkplug-zerobus databricks setup --config consumer.yaml",
)
def command() -> None:
    """Prepare a Databricks workspace, check it, and compare what arrived in it.

    Needs the Databricks SDK: pip install 'sparkplug-zerobus[databricks]'. It finds the
    workspace and the credentials of the person who runs this by its own rules
    (DATABRICKS_HOST and others, --profile of ~/.databrickscfg). Nothing is changed
    without --yes: what would be done is shown, as SQL or as calls.
    """
