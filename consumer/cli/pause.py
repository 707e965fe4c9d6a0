"""`sparkplug-zerobus pause`: lets the running consumer send nothing to Zerobus for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from consumer.cli.options import config_option
from consumer.cli.output import echo
from consumer.cli.over_http import ask, over_http
from consumer.config import parse_duration

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = "Configuration file of the running consumer; of it, http is used."


@click.command(
    epilog="\b\nExamples:\n  sparkplug-zerobus pause --for 10m --why migration --config plant.yaml"
)
@config_option(_CONFIG)
@click.option("--for", "duration", required=True, help="For how long: 90s, 10m, 2h; at most 24h.")
@click.option("--table", help="Only this table; default: all.")
@click.option("--why", default="", help="Why, for others who look.")
@over_http
def command(  # noqa: PLR0917 - one for each option
    config_path: Path,
    duration: str,
    table: str | None,
    why: str,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Let the running consumer send nothing to Zerobus for a while.

    Rows wait in the spool. The pause ends by itself, or with `resume`.
    """
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(f"{duration!r} {error}") from None
    body = {"table": table, "seconds": seconds, "why": why}
    told = ask(config_path, key_file, "pause", body, as_json=as_json)
    for each in told["pauses"]:
        until = datetime.fromtimestamp(each["until_ms"] / 1000, UTC)
        echo(f"{each['table']}: paused until {until:%Y-%m-%d %H:%M:%S} UTC", err=True)
