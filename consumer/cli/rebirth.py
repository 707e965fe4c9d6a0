"""`sparkplug-zerobus rebirth`: asks an edge node for its births, by the running consumer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from consumer import config
from consumer.cli.options import config_option
from consumer.cli.output import echo
from consumer.cli.over_http import ask, over_http

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = "Configuration file of the running consumer; of it, http is used."


@click.command(
    epilog="\b\nExamples:\n  sparkplug-zerobus rebirth Plant/Edge-1 --config plant.yaml\n"
    "  sparkplug-zerobus rebirth Plant/Edge-1 --config plant.yaml --key-file key"
)
@config_option(_CONFIG)
@click.argument("node", metavar="GROUP/NODE")
@click.option("--server", help="Name of the MQTT server; not needed if there is one only.")
@over_http
def command(
    config_path: Path, node: str, server: str | None, key_file: Path | None, as_json: bool
) -> None:
    """Let the running consumer ask an edge node for its births.

    It is asked within a second, at most every host.rebirth.per_node.
    """
    group_id, slash, edge_node_id = node.partition("/")
    if not (group_id and slash and edge_node_id) or "/" in edge_node_id:
        raise click.UsageError(f"name GROUP/NODE, not {node!r}")
    if server is None:
        names = [each.name for each in config.load(config_path, os.environ, secrets=False).servers]
        if len(names) > 1:
            raise click.UsageError(f"name one of the servers with --server: {', '.join(names)}")
        [server] = names
    body = {"server": server, "group": group_id, "node": edge_node_id}
    told = ask(config_path, key_file, "rebirth", body, as_json=as_json)
    echo(told["text"], err=True)
