"""`sparkplug-zerobus demo`: the whole system on this machine, verified to the last row."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from consumer.cli.commands import EXIT_FAILURE, EXIT_INTERRUPTED
from consumer.cli.options import Number
from consumer.cli.output import console, echo_json
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from consumer.demo import Choice

EPILOG: Final = """\b
Examples:
  sparkplug-zerobus demo
  sparkplug-zerobus demo --seconds 60 --gateways 10 --data-dir ./demo-data
  sparkplug-zerobus demo --stay
  sparkplug-zerobus demo --json | tail -1 | jq .rows_landed
"""

_PIPE_WIDTH: Final = 150


@click.command("demo", epilog=EPILOG)
@click.option(
    "--seconds",
    type=Number(min=0.5),
    default=20.0,
    show_default="20",
    help="How long the gateways publish.",
)
@click.option(
    "--gateways",
    type=click.IntRange(1, 500),
    default=3,
    show_default=True,
    help="Number of simulated gateways.",
)
@click.option(
    "--rate",
    type=Number(min=0.0, max=100_000.0),
    default=200.0,
    show_default="200",
    help="Changes per second and gateway.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for table, spool, configuration and logs; an existing one is used on. "
    "Default: a new temporary one, which is kept.",
)
@click.option(
    "--broker",
    type=click.Choice(["auto", "mosquitto", "amqtt"]),
    default="auto",
    show_default=True,
    help="MQTT server. auto: mosquitto, or amqtt where there is none.",
)
@click.option(
    "--stay",
    is_flag=True,
    help="Publish until Ctrl-C, not for --seconds; then verify. A second Ctrl-C ends at once.",
)
@click.option("--udts", is_flag=True, help="Gateways have one more device, of instances of UDTs.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(
    *,
    seconds: float,
    gateways: int,
    rate: float,
    data_dir: Path | None,
    broker: Choice,
    stay: bool,
    udts: bool,
    as_json: bool,
) -> int:
    """Run the whole system on this machine and verify what landed.

    Starts an MQTT server, simulated Ignition gateways, the consumer and the local
    Zerobus server, lets data flow, stops everything, and asks the Delta table with
    DuckDB for what arrived. The consumer's page can be looked at meanwhile: its address is
    printed. Every event that the gateways published is looked up in
    the table by its event_id.

    Exit code 0 when everything published has landed, 1 when not or when a process
    died, 130 when interrupted.
    """
    # Here, not at the top: `--help` needs neither DuckDB nor Delta.
    from consumer.demo import DemoOptions, Interrupted, run_demo, show  # noqa: PLC0415

    human, data = console(stderr=True, width=_PIPE_WIDTH), console(width=_PIPE_WIDTH)
    options = DemoOptions(seconds, gateways, rate, _directory(data_dir), broker, stay, udts)
    human.print(
        "Real Sparkplug B from simulated gateways into a Delta table on this machine.\n"
        f"Data, logs and configuration: {options.data_dir}",
        soft_wrap=True,
    )
    try:
        result = run_demo(options, human)
    except Interrupted:
        return EXIT_INTERRUPTED
    show(result, human if as_json else data, human)
    if as_json:
        echo_json(result.summary())
    return 0 if result.verified else EXIT_FAILURE


def _directory(data_dir: Path | None) -> Path:
    """The data directory, absolute and existing.

    Raises:
        ConfigurationError: it cannot be made, or not be written to.
    """
    if data_dir is None:
        return Path(tempfile.mkdtemp(prefix="sparkplug-zerobus-demo-"))
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--data-dir {data_dir}: {error.strerror}") from error
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--data-dir {data_dir}: you may not write there")
    return data_dir.resolve()
