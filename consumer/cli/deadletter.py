"""`sparkplug-zerobus deadletter`: what could not be delivered or read."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from consumer import config
from consumer.cli.options import config_option
from consumer.cli.output import echo, echo_json
from consumer.spool import dead_letter_shares, dead_letters_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from consumer.spool import DeadLetter, DeadLetters

EXAMPLES = """\b
Examples:
  sparkplug-zerobus deadletter list --config consumer.yaml
  sparkplug-zerobus deadletter list --config consumer.yaml --reason poison --json
  sparkplug-zerobus deadletter show row-7 --config consumer.yaml
  sparkplug-zerobus deadletter retry row-7 message-12 --config consumer.yaml
  sparkplug-zerobus deadletter drop --all --reason data_before_birth --config consumer.yaml
"""

_CONFIG = config_option("Configuration file; of it, spool.path is used. Secrets are not read.")


@click.group(epilog=EXAMPLES)
def command() -> None:
    """Rows that Zerobus refuses, and messages that could not be read or waited in vain.

    They are in the spool's file, which may be in use by a running consumer.
    """


def _opened(config_path: Path) -> AbstractContextManager[DeadLetters]:
    return dead_letters_of(_spool_section(config_path).path)


def _spool_section(config_path: Path) -> config.SpoolSection:
    return config.load(config_path, os.environ, secrets=False).spool


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(letter: DeadLetter) -> str:
    content = f"{letter.rows} rows" if letter.rows else f"{letter.size} bytes"
    mark = " (to be retried)" if letter.retry else ""
    text = f"  {letter.error}" if letter.error else ""
    return (
        f"{letter.name:<14} {_time(letter.at)}  {letter.reason:<26} {letter.where}  "
        f"{content}{mark}{text}"
    )


@command.command("list")
@_CONFIG
@click.option("--reason", help="Only those of this reason.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_letters(config_path: Path, reason: str | None, as_json: bool) -> None:
    """List dead letters, oldest first."""
    section = _spool_section(config_path)
    with dead_letters_of(section.path) as letters:
        found, kept = letters.list(reason), letters.kept()
    for letter in found:
        if as_json:
            echo_json(asdict(letter))
        else:
            echo(_line(letter))
    if not found:
        echo("no dead letters", err=True)
    most = dead_letter_shares(section.max_dead_letter_bytes, section.max_bytes)
    used = (f"{kind} {use.size} of {most[kind]} bytes" for kind, use in kept.items())
    echo(f"shares of spool.max_dead_letter_bytes: {', '.join(used)}", err=True)


@command.command()
@click.argument("name")
@_CONFIG
def show(config_path: Path, name: str) -> None:
    """Print one dead letter, with its content, as JSON."""
    with _opened(config_path) as letters:
        echo_json(letters.show(name), indent=2)


def _chosen(function: Any) -> Any:
    """Arguments that name letters, or --all, perhaps of one reason."""
    function = click.argument("names", nargs=-1)(function)
    function = click.option("--all", "everything", is_flag=True, help="All dead letters.")(function)
    return click.option("--reason", help="With --all: only those of this reason.")(function)


def _names(
    letters: DeadLetters,
    names: tuple[str, ...],
    reason: str | None,
    *,
    everything: bool,
    to_retry: bool = False,
) -> list[str]:
    """The letters that are named, or all of them; to retry, all for which that can help."""
    if bool(names) == everything:
        raise click.UsageError("name dead letters, or say --all")
    if names and reason is not None:
        raise click.UsageError("--reason goes with --all")
    if names:
        return list(names)
    found = letters.list(reason)
    return [letter.name for letter in found if letter.may_be_retried or not to_retry]


@command.command()
@_chosen
@_CONFIG
def retry(config_path: Path, names: tuple[str, ...], reason: str | None, everything: bool) -> None:
    """Try dead letters again: rows are sent as they are, messages wait for a birth once more.

    The consumer does it: the running one within seconds, else the next one at its start.
    Event ids stay the same. --all leaves out what cannot be read anyway.
    """
    with _opened(config_path) as letters:
        chosen = _names(letters, names, reason, everything=everything, to_retry=True)
        marked = letters.retry(chosen)
    echo(f"{marked} dead letters are tried again when the consumer runs", err=True)


@command.command()
@_chosen
@_CONFIG
def drop(config_path: Path, names: tuple[str, ...], reason: str | None, everything: bool) -> None:
    """Delete dead letters for good."""
    with _opened(config_path) as letters:
        dropped = letters.drop(_names(letters, names, reason, everything=everything))
    echo(f"{dropped} dead letters deleted", err=True)
