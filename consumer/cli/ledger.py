"""`sparkplug-zerobus ledger`: what became of every message and every row."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from consumer import config
from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_json
from consumer.spool import balance_of_file

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """\b
Examples:
  sparkplug-zerobus ledger --config consumer.yaml
  sparkplug-zerobus ledger --config consumer.yaml --json
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; of it, spool.path is used. Secrets are not read.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def command(context: click.Context, config_path: Path, as_json: bool) -> None:
    """Print the two balances of the spool's file, which a consumer may be using.

    A line for every server: messages received = decoded + held + quarantined + discarded. A
    line for every table: rows produced = acknowledged + spooled + dead-lettered + dropped +
    suppressed. All since the file was made, as of the last commit. Exit code 1 when they do not
    add up.
    """
    balance = balance_of_file(config.load(config_path, os.environ, secrets=False).spool.path)
    if as_json:
        echo_json(balance.to_dict())
    else:
        for line in balance.lines():
            echo(line)
        if not balance.lines():
            echo("nothing was received yet", err=True)
    if not balance.balanced:
        context.exit(EXIT_FAILURE)
