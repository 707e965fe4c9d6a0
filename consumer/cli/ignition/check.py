"""`sparkplug-zerobus ignition check`: what a gateway would lose data or surprise with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from consumer import config
from consumer.check import Finding, Status
from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.ignition.reaching import gateway_options, reached
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_json
from consumer.errors import ConfigurationError, GatewayError, OldGatewayError
from consumer.network import one_line
from consumer.setup import inspect_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST: Final = 1000
EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus ignition check --config consumer.yaml --gateway https://gateway:8043 \\
      --key-file ignition.key
  IGNITION_API_TOKEN=... sparkplug-zerobus ignition check --config consumer.yaml \\
      --gateway http://localhost:8088 --json
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file, for host.id; its secrets are not read.")
@gateway_options(required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, too.")
def command(config_path: Path, as_json: bool, **given: Any) -> int:
    """Read a gateway of Ignition 8.3 or later; say what would lose data, and how to mend it.

    Writes nothing. Exit code 1 when something would lose data, or the gateway cannot be read; 2
    when the configuration or an option is wrong.

    Never tried on a live gateway: see docs/ignition.md.
    """
    try:
        host = config.load(config_path, os.environ, secrets=False).host
        gateway = reached(**given)
    except ConfigurationError as error:
        if as_json:
            _print([Finding(Status.FAIL, "configuration", str(error))])
        raise
    findings = []
    for finding in _findings(gateway, host):
        echo(finding.line(), err=True)
        findings.append(finding)
    if as_json:
        _print(findings)
    return 0 if _all_well(findings) else EXIT_FAILURE


def _findings(gateway: Any, host: config.Host) -> Iterator[Finding]:
    if host.mode == "passive":
        mend = "set host.mode to active, or look at the host that publishes STATE"
        text = "host.mode is passive: this host never says that it is online"
        yield Finding(Status.WARN, "host", text, mend)
    try:
        for number, each in enumerate(inspect_gateway(gateway, host.id)):
            if number == _MOST:
                text = f"there are more than {_MOST} findings: the others are not shown"
                yield Finding(Status.FAIL, "gateway", text, "mend these, and look again")
                break
            status, part = Status(each.status), one_line(each.part)
            yield Finding(status, part, one_line(each.text), one_line(each.mend))
    except OldGatewayError as error:
        unread = (
            "cannot be read there: history stores, primary host id, UDT settings, pacing, whether "
            "it is armed"
        )
        yield Finding(Status.FAIL, "gateway", f"{error}; {unread}", "see docs/ignition.md for 8.1")
    except GatewayError as error:
        text, _, mend = str(error).partition("; ")
        yield Finding(Status.FAIL, "gateway", text, mend)


def _all_well(findings: list[Finding]) -> bool:
    return all(finding.status is not Status.FAIL for finding in findings)


def _print(findings: list[Finding]) -> None:
    report = {"ok": _all_well(findings), "findings": [finding.as_json() for finding in findings]}
    echo_json(report, indent=2)
