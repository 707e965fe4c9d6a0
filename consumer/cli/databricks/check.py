"""`sparkplug-zerobus databricks check`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Not made yet."""
