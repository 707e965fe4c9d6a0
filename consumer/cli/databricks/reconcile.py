"""`sparkplug-zerobus databricks reconcile`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Not made yet."""
