"""`sparkplug-zerobus databricks check`: whether a workspace fits what the consumer does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from consumer import config
from consumer.check import Finding, Status, check_workspace
from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.databricks.options import opened, tell, workspace_options
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_json
from consumer.setup import Statements

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus databricks check --config consumer.yaml
  sparkplug-zerobus databricks check --config consumer.yaml --profile plant --json
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; of it, zerobus is used. Its secrets are not read.")
@workspace_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, too.")
def command(
    *, config_path: Path, profile: str | None, warehouse: str, timeout: float, as_json: bool
) -> int:
    """Say whether tables, grants, warehouse and endpoint fit what the consumer does.

    Changes nothing; the warehouse is asked SELECT 1, which starts it. Rules of Zerobus
    Ingest that differ by cloud and month are warnings. Exit code 1 when a part fails.
    """
    configuration = config.load(config_path, os.environ, secrets=False)
    zerobus = configuration.zerobus
    workspace = opened(zerobus, profile, timeout)

    def statements() -> Statements:
        chosen = workspace.warehouse(warehouse)
        return Statements(workspace.client, chosen, timeout=timeout, tell=tell)

    findings: list[Finding] = []
    for finding in check_workspace(workspace, zerobus, configuration.normalize, statements):
        echo(finding.line(), err=True)
        findings.append(finding)
    ok = all(each.status is not Status.FAIL for each in findings)
    if as_json:
        echo_json({"ok": ok, "findings": [each.as_json() for each in findings]}, indent=2)
    return 0 if ok else EXIT_FAILURE
