"""`sparkplug-zerobus databricks setup`: from an empty workspace to tables that can be written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from consumer import config
from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.databricks.options import opened, tell, workspace_options
from consumer.cli.ddl import views_of
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_json, echo_text
from consumer.config import configured_layout, configured_tables
from consumer.setup import Preparation, Principals, Statements, StepState, Wanted, one_statement

if TYPE_CHECKING:
    from consumer.config import Zerobus
    from consumer.setup import Outcome

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus databricks setup --config consumer.yaml              # shows what is missing
  sparkplug-zerobus databricks setup --config consumer.yaml --yes
  sparkplug-zerobus databricks setup --config consumer.yaml --yes \\
      --profile plant --warehouse "Serverless Starter Warehouse" \\
      --secret-file /etc/sparkplug-zerobus/databricks
"""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_NAME: Final = re.compile(r"[\w .()-]{1,100}", re.ASCII)


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; of it, zerobus is used. Its secrets are not read.")
@click.option("--yes", is_flag=True, help="Do it. Without it nothing is changed.")
@workspace_options
@click.option(
    "--principal",
    default="sparkplug-zerobus",
    show_default=True,
    metavar="NAME",
    help="Display name of the service principal that is found or made, where zerobus.client_id "
    "is no UUID.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="New file for a secret of the service principal. Default: zerobus.client_secret_file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, too.")
def command(
    *,
    config_path: Path,
    yes: bool,
    profile: str | None,
    warehouse: str,
    timeout: float,
    principal: str,
    secret_file: Path | None,
    as_json: bool,
) -> int:
    """Make what the consumer writes to: catalog, schema, tables, views, service principal, grants.

    What is there is left as it is, so that this can be run again, also after it failed
    half-way. Each step is shown as the SQL that runs on the warehouse, or as the call of
    the Databricks SDK. The secret goes into a new file of mode 600 and is shown nowhere.
    Exit code 1 when a step fails.
    """
    if not _NAME.fullmatch(principal):
        raise click.UsageError("--principal: letters, digits, blanks and . ( ) - _ only")
    configuration = config.load(config_path, os.environ, secrets=False)
    zerobus, normalize = configuration.zerobus, configuration.normalize
    if secret_file is not None and zerobus.auth == "federated":
        raise click.UsageError("--secret-file: a consumer with auth: federated needs no secret")
    if secret_file is None and zerobus.client_secret_file:
        secret_file = Path(zerobus.client_secret_file)
    wanted = Wanted(
        tables=configured_tables(zerobus, normalize),
        views=[
            view
            for view in views_of(zerobus, configured_layout(normalize))
            if one_statement(view)  # else a comment: the columns do not allow it
        ],
        application_id=zerobus.client_id if _UUID.fullmatch(zerobus.client_id) else "",
        principal_name=principal,
        secret_file=secret_file,
    )
    workspace = opened(zerobus, profile, timeout)
    echo(f"{zerobus.workspace_url}, as {workspace.me().name}", err=True)
    chosen = workspace.warehouse(warehouse)
    how = "" if warehouse else "; --warehouse takes another one"
    echo(f"SQL runs on warehouse {chosen}{how}", err=True)
    outcomes: list[Outcome] = []
    statements = Statements(workspace.client, chosen, timeout=timeout, tell=tell)
    preparation = Preparation(workspace, Principals(workspace.client), statements, wanted)
    for outcome in preparation.run(apply=yes):
        outcomes.append(outcome)
        _show(outcome)
    _sum_up(outcomes, zerobus, preparation.application_id, secret_file)
    if as_json:
        steps = [each.as_json() for each in outcomes]
        echo_json({"ok": _is_well(outcomes), "applied": yes, "steps": steps}, indent=2)
    return 0 if _is_well(outcomes) else EXIT_FAILURE


def _show(outcome: Outcome) -> None:
    remark = f": {outcome.remark}" if outcome.remark else ""
    echo(f"{outcome.state:<6} {outcome.what}{remark}", err=True)
    if outcome.shown:
        echo_text("\n".join(f"         {line}" for line in outcome.shown.splitlines()), err=True)


def _is_well(outcomes: list[Outcome]) -> bool:
    return all(each.state is not StepState.FAILED for each in outcomes)


def _sum_up(
    outcomes: list[Outcome], zerobus: Zerobus, application_id: str, secret_file: Path | None
) -> None:
    """Say how far it came, and what is to be written into the configuration."""

    def count(state: StepState) -> int:
        return sum(each.state is state for each in outcomes)

    if count(StepState.FAILED):
        echo(
            f"{count(StepState.DONE)} done, {count(StepState.THERE)} were there, "
            f"{count(StepState.LEFT) + 1} not done: what was done stays; run this again afterwards",
            err=True,
        )
        return
    if count(StepState.WOULD):
        echo(f"{count(StepState.WOULD)} to do; nothing was changed: --yes does it", err=True)
        return
    if application_id and application_id != zerobus.client_id:
        echo(f"now write zerobus.client_id: {application_id}", err=True)
    if zerobus.auth == "federated":
        echo(
            "no secret is needed: give the service principal a federation policy for the tokens in "
            "zerobus.identity_token_file",
            err=True,
        )
    elif secret_file is None:
        echo("no secret was made: --secret-file FILE makes one, for client_secret_file", err=True)
    elif str(secret_file) != zerobus.client_secret_file:
        echo(f"now write zerobus.client_secret_file: {secret_file}", err=True)
    echo("then: sparkplug-zerobus databricks check, and sparkplug-zerobus check", err=True)
