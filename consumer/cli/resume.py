"""`sparkplug-zerobus resume`: lets the running consumer send to Zerobus again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from consumer.cli.options import config_option
from consumer.cli.output import echo
from consumer.cli.over_http import ask, over_http

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = "Configuration file of the running consumer; of it, http is used."


@click.command(epilog="\b\nExamples:\n  sparkplug-zerobus resume --config plant.yaml")
@config_option(_CONFIG)
@click.option("--table", help="Only this table; default: all.")
@over_http
def command(config_path: Path, table: str | None, key_file: Path | None, as_json: bool) -> None:
    """End a pause: the running consumer sends to Zerobus again."""
    told = ask(config_path, key_file, "resume", {"table": table}, as_json=as_json)
    left = ", ".join(each["table"] for each in told["pauses"])
    echo(f"still paused: {left}" if left else "nothing is paused", err=True)
