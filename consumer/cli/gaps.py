"""`sparkplug-zerobus gaps`: what edge nodes sent and did not arrive."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from consumer import config
from consumer.cli.options import config_option
from consumer.cli.output import console, echo_json
from consumer.config import parse_duration
from consumer.foreign import escaped
from consumer.spool import GapReport, GapRow, GapsOf, NodeAccount, read_gap_report
from sparkplug import sight_of

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

EXAMPLES = """\b
Examples:
  sparkplug-zerobus gaps --config consumer.yaml
  sparkplug-zerobus gaps --config consumer.yaml --since 7d
  sparkplug-zerobus gaps --config consumer.yaml --since 2026-11-20 --until 2026-11-21T06:00
  sparkplug-zerobus gaps --config consumer.yaml --node Plant/Edge-1 --json
"""

_PIPE_WIDTH: Final = 220
_SHOWN_GAPS: Final = 20
_NO_MOMENT: Final = "must be a duration like 90m, 24h or 7d, or a time like 2026-11-23T06:00"


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    """A time, in µs since 1970: so long ago, or ISO 8601; UTC unless it says otherwise."""
    if text is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        if "-" in text:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
            at_us = int(at.timestamp() * 1e6)
        else:
            # A plain number would be seconds: nobody means that here.
            at_us = time.time_ns() // 1_000 - int(parse_duration(text) * 1e6)
            at_us = at_us if text[-1:].isalpha() else -1
        if at_us >= 0:
            return at_us
    raise click.BadParameter(f"{text!r} {_NO_MOMENT}")


@click.command(epilog=EXAMPLES)
@config_option("Configuration file; of it, spool.path is used. Secrets are not read.")
@click.option(
    "--since",
    "since_us",
    callback=_moment,
    default="24h",
    show_default=True,
    help="From when on: so long ago (90m, 24h, 7d), or ISO 8601, UTC unless it says otherwise.",
)
@click.option(
    "--until", "until_us", callback=_moment, help="Until when, the same way; default: now."
)
@click.option("--node", metavar="GROUP/NODE", help="Only this edge node.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    config_path: Path, since_us: int, until_us: int | None, node: str | None, as_json: bool
) -> None:
    """How complete the messages of each edge node are: received, missing, and how gaps healed.

    Accounts are kept by the hour, and an hour that the period touches counts as a whole.
    Numbers of missing messages come from seq, which counts modulo 256: multiples of 256 more
    may be missing in each gap. The spool's file may be in use by a running consumer.
    """
    until_now = until_us is None
    until_us = time.time_ns() // 1_000 if until_us is None else until_us
    if since_us >= until_us:
        raise click.UsageError("--since must be before --until")
    of = GapsOf()
    if node is not None:
        group_id, slash, edge_node_id = node.partition("/")
        if not (group_id and slash and edge_node_id) or "/" in edge_node_id:
            raise click.UsageError(f"--node must be GROUP/NODE, not {node!r}")
        of = GapsOf(group_id=group_id, edge_node_id=edge_node_id)
    configuration = config.load(config_path, os.environ, secrets=False)
    topics = {server.name: server.topics for server in configuration.servers}

    def is_whole(server: str, group_id: str, edge_node_id: str) -> bool:
        return server not in topics or sight_of(topics[server], group_id, edge_node_id).whole

    report = read_gap_report(
        configuration.spool.path, since_us, until_us, of, until_now=until_now, is_whole=is_whole
    )
    if as_json:
        echo_json(report.as_dictionary(), indent=2)
    else:
        _show(report)


def _show(report: GapReport) -> None:
    # Piped into a file or another program there is no width to heed.
    out = console(width=_PIPE_WIDTH)
    out.print(f"{_time(report.since_us)} to {_time(report.until_us)} (whole hours, UTC)")
    if report.kept_from_us is None:
        out.print("nothing was received yet")
        return
    if report.kept_from_us > report.since_us:
        out.print(f"accounts are kept from {_time(report.kept_from_us)} on")
    out.print(_accounts(report))
    unheard = [key for key, each in report.nodes.items() if each.unheard_since_us is not None]
    if unheard:
        out.print(
            f"{len(unheard)} edge nodes were alive and are not heard of since the connection "
            f"was lost or the consumer started, for example {_names(*unheard[0])[1]}"
        )
    if report.seen_in_part:
        out.print(
            f"of {report.seen_in_part} edge nodes the filters of the server (topics) show a part "
            "only: what is missing of them is not known, and not in the sums"
        )
    if report.listed:
        out.print(_gaps(report.listed[:_SHOWN_GAPS]))
    if report.records > _SHOWN_GAPS:
        out.print(f"the newest {_SHOWN_GAPS} of {report.records} gaps; --json lists more")
    out.print("missing: at least; multiples of 256 more are possible in each gap")


def _accounts(report: GapReport) -> Table:
    from rich.table import Table  # noqa: PLC0415 - see console

    table = Table()
    for name in ("server", "edge node"):
        table.add_column(name, overflow="fold")
    for name in (
        "received",
        "missing",
        "complete",
        "gaps",
        "open",
        "late",
        "history",
        "birth",
        "not healed",
        "unknown size",
        "longest",
        "sessions missed",
    ):
        table.add_column(name, justify="right")
    table.add_column("last message")
    for (server, group_id, edge_node_id), account in report.nodes.items():
        table.add_row(*_names(server, group_id, edge_node_id), *_numbers(account), _heard(account))
    table.add_section()
    table.add_row("", f"{len(report.nodes)} in all", *_numbers(report.total), "")
    return table


def _numbers(account: NodeAccount) -> tuple[str, ...]:
    sums, percent = account.sums, account.percent
    # Not 100 % unless all came.
    shown = (
        "" if percent is None else f"{min(percent, 99.999) if account.missing else percent:.3f} %"
    )
    numbers = (
        sums.gaps,
        account.open,
        sums.late_arrival,
        sums.history_flush,
        sums.rebirth_snapshot,
        sums.not_at_all,
        sums.unknown,
        sums.longest,
        sums.sessions_missed,
    )
    missing = f"{account.missing:,}"
    if not account.whole:
        missing = shown = "not known"
    return (f"{sums.received:,}", missing, shown, *(f"{n:,}" for n in numbers))


def _heard(account: NodeAccount) -> str:
    if account.last_us is None:
        return ""
    return _time(account.last_us) + (" (not since)" if account.unheard_since_us else "")


def _gaps(rows: list[GapRow]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - see console

    table = Table(title="gaps, the newest first", title_justify="left")
    for name in ("found", "server", "edge node", "reason"):
        table.add_column(name, overflow="fold")
    for name in ("first seq", "missing", "late"):
        table.add_column(name, justify="right")
    for name in ("sent from", "to", "healed by"):
        table.add_column(name)
    for row in rows:
        healing = f"{row.healing}, {row.history_rows:,} rows" if row.history_rows else row.healing
        table.add_row(
            _time(row.found_us),
            *_names(row.server, row.group_id, row.edge_node_id),
            row.reason,
            "" if row.first_seq is None else str(row.first_seq),
            "unknown" if row.missing is None else str(row.missing),
            str(row.late),
            _time(row.from_us),
            _time(row.to_us),
            healing,
        )
    return table


def _names(server: str, group_id: str, edge_node_id: str) -> tuple[str, str]:
    """Server and node. Ids come from the network: a line end in one makes no line of a cell."""
    return server, escaped(f"{group_id}/{edge_node_id}")


def _time(at_us: int | None) -> str:
    if at_us is None:
        return ""
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"
