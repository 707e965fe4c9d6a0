"""`sparkplug-zerobus databricks setup`."""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """Not made yet."""
