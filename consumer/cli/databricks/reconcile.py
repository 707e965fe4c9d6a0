"""`sparkplug-zerobus databricks reconcile`: acknowledged rows and the platform's own count."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from consumer import config
from consumer.check import committed_sql, compare, meaning
from consumer.cli.commands import EXIT_FAILURE
from consumer.cli.databricks.options import opened, tell, workspace_options
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_json, echo_text
from consumer.config import configured_tables
from consumer.setup import Statements
from consumer.spool import KEPT_DAYS, acknowledged_by_hour

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus databricks reconcile --config consumer.yaml             # the last day
  sparkplug-zerobus databricks reconcile --config consumer.yaml --since 2026-11-30T06:00
  sparkplug-zerobus databricks reconcile --config consumer.yaml --sql       # only the query
"""


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; of it, zerobus and spool.path. Its secrets are not read.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]),
    help=f"Begin, in UTC. Default: a day ago. Hours are kept for {KEPT_DAYS} days.",
)
@click.option("--sql", "only_sql", is_flag=True, help="Print the query on stdout; ask nobody.")
@workspace_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, too.")
def command(
    *,
    config_path: Path,
    since: datetime | None,
    only_sql: bool,
    profile: str | None,
    warehouse: str,
    timeout: float,
    as_json: bool,
) -> int:
    """Compare acknowledged rows with the records that the platform committed, by table and hour.

    The first are from the ledger of this machine's spool, the second from
    system.lakeflow.zerobus_ingest, which needs USE and SELECT on the schema
    system.lakeflow. Exit code 1 when an hour differs for a reason other than its edge.
    """
    now = datetime.now(UTC)
    begin = since.replace(tzinfo=UTC) if since is not None else now - timedelta(days=1)
    configuration = config.load(config_path, os.environ, secrets=False)
    tables = list(configured_tables(configuration.zerobus, configuration.normalize))
    sql = committed_sql(tables, begin)
    if only_sql:
        echo_text(sql)
        return 0
    acknowledged = acknowledged_by_hour(configuration.spool.path, begin)
    workspace = opened(configuration.zerobus, profile, timeout)
    chosen = workspace.warehouse(warehouse)
    statements = Statements(workspace.client, chosen, timeout=timeout, tell=tell)
    right = "USE SCHEMA and SELECT on system.lakeflow"
    rows = statements.run(sql, "counting committed records", right=right)
    counts = compare({key: n for key, n in acknowledged.items() if key[0] in tables}, rows)
    meanings = [meaning(counts, each, now) for each in counts]
    for count, text in zip(counts, meanings, strict=True):
        echo(
            f"{count.hour:%Y-%m-%d %H}h  {count.table}  acknowledged {count.acknowledged}, "
            f"committed {count.committed} ({count.difference:+d}){f': {text}' if text else ''}",
            err=True,
        )
    if not counts:
        echo("neither the ledger nor the platform knows of rows since then", err=True)
    ok = all(not text or text.startswith(("the hour's edge", "too early")) for text in meanings)
    if as_json:
        hours = [
            each.as_json() | {"meaning": text} for each, text in zip(counts, meanings, strict=True)
        ]
        echo_json({"ok": ok, "since": begin.isoformat(), "hours": hours}, indent=2)
    return 0 if ok else EXIT_FAILURE
