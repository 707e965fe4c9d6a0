"""`sparkplug-zerobus check`: connect everything, say what is wrong and how to mend it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from consumer import config
from consumer.check import DEFAULT_LISTEN, DEFAULT_TIMEOUT, Finding, Status, check_everything
from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.options import Number, config_option
from consumer.cli.output import echo, echo_json
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """\b
Examples:
  sparkplug-zerobus check --config consumer.yaml
  sparkplug-zerobus check --config consumer.yaml --listen 60
  sparkplug-zerobus check --config consumer.yaml --listen 0 --json
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, too.")
@click.option(
    "--timeout",
    type=Number(0.1, 300),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for each step.",
)
@click.option(
    "--listen",
    type=Number(0, 300),
    default=DEFAULT_LISTEN,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen on each MQTT server: for a first message, and how much comes.",
)
def command(config_path: Path, as_json: bool, timeout: float, listen: float) -> int:
    """Connect everything that the configuration names; say what is wrong and how to mend it.

    Publishes nothing on MQTT, sends no row to Zerobus, does not open the spool: it
    may run beside a consumer. Exit code 1 when a part fails, 2 when the
    configuration is wrong.
    """
    source = str(config_path)
    try:
        configuration = config.load(config_path, os.environ)
    except ConfigurationError as error:
        if as_json:
            _print([Finding(Status.FAIL, "configuration", str(error))])
        raise
    echo(f"checking {source} ...", err=True)
    findings = []
    for finding in check_everything(configuration, source=source, timeout=timeout, listen=listen):
        echo(finding.line(), err=True)
        findings.append(finding)
    if as_json:
        _print(findings)
    return 0 if _all_well(findings) else EXIT_FAILURE


def _all_well(findings: list[Finding]) -> bool:
    return all(finding.status is not Status.FAIL for finding in findings)


def _print(findings: list[Finding]) -> None:
    report = {"ok": _all_well(findings), "findings": [finding.as_json() for finding in findings]}
    echo_json(report, indent=2)
