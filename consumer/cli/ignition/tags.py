"""`sparkplug-zerobus ignition tags`: sample tags, to be imported into a gateway."""

from __future__ import annotations

from typing import Final

import click

from consumer.cli.output import echo, echo_json
from consumer.setup import sample_tags

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus ignition tags > tags.json
  sparkplug-zerobus ignition tags --group Plant --node Line-1 --device Press --device Oven > t.json
"""


@click.command(epilog=EXAMPLES)
@click.option("--group", default="Plant", show_default=True, help="Group id.")
@click.option("--node", default="Line-1", show_default=True, help="Edge node id.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("Press",),
    show_default=True,
    help="Device id; may be given more than once.",
)
@click.option(
    "--opc-device",
    default="",
    metavar="NAME",
    help="Simulator among the device connections, of which Ramp and Sine are read.",
)
def command(group: str, node: str, devices: tuple[str, ...], opc_device: str) -> None:
    """Print sample tags as JSON, in the form in which Ignition 8.1 and 8.3 import tags.

    Ramps, sines, values as of machines, and tags that can be written, below
    Edge Nodes/GROUP/NODE/DEVICE, where MQTT Transmission publishes them by default. They need no
    device.

    Never tried on a live gateway: see docs/event-streams.md.
    """
    echo_json(sample_tags(group, node, devices, opc_device), indent=2)
    echo(
        "import it in the Designer's Tag Browser, into the provider itself and not into a folder",
        err=True,
    )
