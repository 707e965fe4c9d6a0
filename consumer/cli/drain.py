"""`sparkplug-zerobus drain`: lets the running consumer send all that waits, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.options import Number, config_option
from consumer.cli.output import echo
from consumer.cli.over_http import ask, over_http

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = "Configuration file of the running consumer; of it, http is used."


@click.command(epilog="\b\nExamples:\n  sparkplug-zerobus drain --seconds 20 --config plant.yaml")
@config_option(_CONFIG)
@click.option("--table", help="Only this table; default: all.")
@click.option(
    "--seconds",
    type=Number(0, 20),
    default=10.0,
    show_default=True,
    help="Most that is waited.",
)
@over_http
@click.pass_context
def command(  # noqa: PLR0917 - one for each option
    context: click.Context,
    config_path: Path,
    table: str | None,
    seconds: float,
    key_file: Path | None,
    as_json: bool,
) -> None:
    """Let the running consumer send what waits without waiting for fuller calls.

    Exit code 1 when rows still wait at the end.
    """
    body = {"table": table, "seconds": seconds}
    told = ask(config_path, key_file, "drain", body, as_json=as_json)
    rows = told["rows_waiting"]
    echo("1 row waits" if rows == 1 else f"{rows:,} rows wait", err=True)
    if not told["drained"]:
        context.exit(EXIT_FAILURE)
