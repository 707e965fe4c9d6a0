"""`sparkplug-zerobus ignition`: prepares Ignition gateways."""

from __future__ import annotations

import click

from consumer.cli.commands import LazyGroup

COMMANDS = {
    "event-stream": (
        "consumer.cli.ignition.event_stream",
        "Write an Event Stream that posts tag changes to a consumer.",
    ),
    "tags": ("consumer.cli.ignition.tags", "Print sample tags, to be imported."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Prepare Ignition gateways. None of it was ever tried on a live gateway."""
