"""`sparkplug-zerobus ignition`: prepares Ignition gateways."""

from __future__ import annotations

import click

from consumer.cli.commands import LazyGroup

COMMANDS = {
    "transmission": (
        "consumer.cli.ignition.transmission",
        "Set up MQTT Transmission for this consumer, armed to keep data.",
    ),
    "event-stream": (
        "consumer.cli.ignition.event_stream",
        "Write an Event Stream that posts tag changes to a consumer.",
    ),
    "tags": ("consumer.cli.ignition.tags", "Print sample tags, to be imported."),
    "check": (
        "consumer.cli.ignition.check",
        "Read a gateway; say what would lose data, and how to mend it.",
    ),
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Prepare Ignition gateways. None of it was ever tried on a live gateway."""
