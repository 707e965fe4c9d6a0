"""Options that the commands for a workspace share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from consumer.cli.options import Number
from consumer.cli.output import echo
from consumer.setup import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.config import Zerobus
    from consumer.setup import Workspace

DEFAULT_TIMEOUT = 300.0
_REQUEST_SECONDS = 30.0


def workspace_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--profile`, `--warehouse`, `--timeout`."""
    options = (
        click.option("--profile", metavar="NAME", help="Profile of ~/.databrickscfg."),
        click.option(
            "--warehouse",
            default="",
            metavar="ID",
            help="SQL warehouse, by id or name. Default: one that runs, else a serverless one.",
        ),
        click.option(
            "--timeout",
            type=Number(1, 3600),
            default=DEFAULT_TIMEOUT,
            show_default=True,
            metavar="SECONDS",
            help="Longest wait for a statement, the start of the warehouse included.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def opened(zerobus: Zerobus, profile: str | None, timeout: float) -> Workspace:
    """The workspace of the configuration.

    Raises:
        ConfigurationError: the SDK is not installed, finds no credentials, or another workspace.
    """
    seconds = min(timeout, _REQUEST_SECONDS)
    return open_workspace(zerobus.workspace_url, profile=profile, timeout=seconds)


def tell(text: str) -> None:
    """Say that a statement is not done yet."""
    echo(f"       {text}", err=True)
