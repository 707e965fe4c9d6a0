"""Options of commands that ask an Ignition gateway, and the gateway that they name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from consumer.cli.options import Number
from consumer.cli.output import echo
from consumer.config import read_secret
from consumer.errors import ConfigurationError
from consumer.setup import Calls, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_VARIABLE: Final = "IGNITION_API_TOKEN"
"""Environment variable with the API key, where no file has it."""


def gateway_options(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--gateway`, `--key-file`, `--ca-file` and `--timeout`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        file = click.Path(path_type=Path, dir_okay=False)
        options = (
            click.option(
                "--gateway",
                required=required,
                metavar="URL",
                help="The gateway's address, such as https://gateway:8043.",
            ),
            click.option(
                "--key-file",
                type=file,
                help=f"File with an API key of the gateway. Default: the variable {KEY_VARIABLE}.",
            ),
            click.option(
                "--ca-file",
                type=file,
                help="PEM file of the authority that signed the gateway's certificate.",
            ),
            click.option(
                "--timeout",
                type=Number(0.1, 300),
                default=10.0,
                show_default=True,
                metavar="SECONDS",
                help="Longest time for one answer of the gateway.",
            ),
        )
        for option in reversed(options):
            function = option(function)
        return function

    return add


def reached(gateway: str, key_file: Path | None, ca_file: Path | None, timeout: float) -> Gateway:
    """The gateway that the options name; nothing is sent yet.

    Raises:
        ConfigurationError: the address, or one of the files, cannot be used.
    """
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE, "")
    else:
        try:
            key = read_secret(key_file)
        except ValueError as error:
            raise ConfigurationError(f"--key-file: names a file that {error}") from None
    calls = Calls(gateway, key, str(ca_file or ""), timeout)
    if key and not calls.is_secure and not calls.is_loopback:
        echo("note: with http:// the API key can be read on the way; https:// hides it", err=True)
    return Gateway(calls)
