"""`sparkplug-zerobus capture`: what MQTT servers bring, into a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from consumer import config
from consumer.cli.options import Number, config_option
from consumer.cli.output import echo
from consumer.cli.progress import Bar
from consumer.cli.stopping import Stop
from consumer.cli.troubles import Troubles
from consumer.config import format_size, parse_size
from consumer.errors import CaptureError
from consumer.tap import LEAST_BYTES, CapturedServer, Capturing, check_free, listen

if TYPE_CHECKING:
    from consumer.tap import Listening

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus capture --config plant.yaml wire.spz
  sparkplug-zerobus capture --config plant.yaml --seconds 600 --redact for-support.spz
  sparkplug-zerobus capture --config plant.yaml --server plant-a wire.spz
  sparkplug-zerobus capture --config plant.yaml --max-bytes 100MiB --max-files 20 wire.spz
"""

_TURN: Final = 0.2
"""Seconds after which it is looked whether something is due."""


def _size(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int:
    if text is None:
        return 0
    try:
        size = parse_size(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if size < LEAST_BYTES:
        raise click.BadParameter(f"must be {format_size(LEAST_BYTES)} or more")
    return size


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@config_option("Configuration file; of it, servers are used, and of the secrets theirs.")
@click.option("--server", "servers", multiple=True, metavar="NAME", help="Only this MQTT server.")
@click.option("--seconds", type=Number(0, min_open=True), help="Stop after so many seconds.")
@click.option(
    "--max-bytes",
    callback=_size,
    metavar="SIZE",
    help="Size at which a file is ended and FILE.1, FILE.2 ... is begun, such as 100MiB.",
)
@click.option(
    "--max-files",
    type=click.IntRange(2),
    default=None,
    help="With --max-bytes: keep the newest files only, so many.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="Replace names and texts, for a file that leaves the plant. Numbers and times stay.",
)
def command(
    *,
    file: Path,
    config_path: Path,
    servers: tuple[str, ...],
    seconds: float | None,
    max_bytes: int,
    max_files: int | None,
    redact: bool,
) -> int:
    """Write raw messages with their times into FILE, until Ctrl-C.

    Publishes nothing, and asks nobody for births: it may run beside a consumer. Births that a
    server keeps for those who come later stand first. `replay` reads the file; it can be read
    at any time up to the last second, also after a crash. FILE must not exist.

    Ends with Ctrl-C (exit code 130), SIGTERM, --seconds (0). 1 if no server can be connected or
    the file cannot be written, 2 for what is wrong in the command line or the configuration.
    """
    if max_files and not max_bytes:
        raise click.UsageError("--max-files needs --max-bytes, at which a file is ended")
    configuration = config.load(config_path, os.environ, secrets="servers")
    try:
        check_free(file)
    except CaptureError as error:
        raise click.UsageError(str(error)) from None
    # Stop inside: nothing is to be ended in order while no server is connected.
    with listen(configuration, servers, purpose="capture") as heard, Stop() as stop:
        capturing = Capturing(
            file,
            [CapturedServer(each.name, each.site) for each in heard.servers],
            redact=redact,
            max_bytes=max_bytes,
            max_files=max_files or 0,
        )
        names = ", ".join(f"{each.name} ({each.url})" for each in heard.servers)
        echo(f"capturing {names} into {file}; Ctrl-C ends it", err=True)
        begun = time.monotonic()
        with capturing.writer:
            _capture(capturing, heard, stop, seconds)
            heard.stop()
            for batch in heard.batches():
                capturing.take(batch)
            capturing.note_lost(heard)
        _tell_end(capturing, time.monotonic() - begun)
    return stop.exit_code


def _capture(capturing: Capturing, heard: Listening, stop: Stop, seconds: float | None) -> None:
    """Write what comes until it is over."""
    begun = time.monotonic()
    troubles = Troubles(heard)
    with Bar(seconds) as bar:
        while not stop.wanted.is_set():
            passed = time.monotonic() - begun
            left = _TURN if seconds is None else min(_TURN, seconds - passed)
            if left <= 0:
                return
            for batch in heard.batches(left):
                capturing.take(batch)
                capturing.writer.flush_if_due()
            capturing.writer.flush_if_due()
            capturing.note_lost(heard)
            troubles.tell()
            bar.show(passed, _account(capturing))


def _account(capturing: Capturing) -> str:
    writer = capturing.writer
    text = f"{capturing.messages:,} messages, {writer.written_bytes / 1024:,.0f} KiB"
    return text + (f", {writer.left_out:,} left out" if writer.left_out else "")


def _tell_end(capturing: Capturing, seconds: float) -> None:
    paths = capturing.writer.paths
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}"
    echo(f"{_account(capturing)} in {seconds:,.1f} s: {where}", err=True)
    if capturing.unread:
        echo(
            f"{capturing.unread:,} payloads could not be read, and were replaced by random bytes",
            err=True,
        )
