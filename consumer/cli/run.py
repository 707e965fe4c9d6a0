"""`sparkplug-zerobus run`: the consumer, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

import click

from consumer.cli.commands import EXIT_FAILURE, EXIT_INTERRUPTED
from consumer.cli.options import config_option
from consumer.config import load
from consumer.errors import SpoolError
from consumer.http import HttpServer
from consumer.log_budget import LogBudget
from consumer.logs import configure_logging
from consumer.malloc import share_arenas
from consumer.monitor import status_of
from consumer.pipeline import make_consumer

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from consumer.pipeline import Consumer

_LOG = logging.getLogger(__name__)


@click.command(
    epilog="\b\nExamples:\n  sparkplug-zerobus run --config sparkplug-zerobus.yaml\n"
    "  DATABRICKS_CLIENT_SECRET=... sparkplug-zerobus run --config plant.yaml"
)
@config_option("Configuration file (YAML).")
@click.pass_context
def command(context: click.Context, config_path: Path) -> None:
    """Run the consumer until SIGTERM or Ctrl-C.

    Both commit everything received to the spool, wait shutdown_timeout for
    acknowledgements, and say how many rows remain spooled. Exit code 0 after
    SIGTERM, 130 after Ctrl-C, 1 after a failure, 2 for a wrong configuration.
    """
    share_arenas()
    configuration = load(config_path, os.environ)
    budget = LogBudget()
    configure_logging(configuration.log, budget)
    for warning in configuration.warnings:
        _LOG.warning("configuration: %s", warning)
    stopped = threading.Event()
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)

    consumer = make_consumer(configuration, budget)
    address = configuration.http.address
    http = HttpServer(consumer, address) if address is not None else None
    consumer.start()
    if http is not None:
        http.start()
        _LOG.info("health, metrics and status on %s", http.url)
    while not stopped.wait(0.5):
        if not consumer.alive:
            break
    _LOG.info("stopping")
    remaining = consumer.stop()
    if http is not None:
        http.stop(timeout=5.0)
    _report_ledger(consumer)
    _report(consumer, remaining)
    if consumer.failure is not None:
        context.exit(EXIT_FAILURE)
    context.exit(EXIT_INTERRUPTED if signal.SIGINT in received else 0)


def _report_ledger(consumer: Consumer) -> None:
    """Log the balances of messages and rows since the spool's file was made."""
    try:
        balance = consumer.balance()
    except SpoolError as error:
        _LOG.error("the ledger cannot be read: %s", error)
        return
    level = logging.INFO if balance.balanced else logging.ERROR
    messages, rows = balance.totals()
    _LOG.log(level, "messages since the spool was made: %s", messages)
    _LOG.log(level, "rows since the spool was made: %s", rows, extra={"ledger": balance.to_dict()})
    for line in [] if balance.balanced else balance.lines():
        _LOG.error("the ledger does not add up: %s", line)


def _report(consumer: Consumer, remaining: int) -> None:
    """Log at the end of a run what was done, and what is left for the next run."""
    totals = status_of(consumer)
    _LOG.info(
        "received %d messages, produced %d rows, %d acknowledged",
        totals["messages_received"],
        totals["rows_produced"],
        totals["rows_acked"],
        extra={"totals": totals},
    )
    gone = consumer.spool.health.gone
    if gone is not None and not gone.kept:
        _LOG.error("%d rows were committed and not acknowledged, and are lost: %s", remaining, gone)
    elif remaining:
        _LOG.warning("%d rows remain in the spool and are sent by the next run", remaining)
    else:
        _LOG.info("0 rows remain in the spool")
