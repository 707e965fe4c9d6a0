"""`sparkplug-zerobus tail`: what comes over the wire, decoded, as it comes."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import TYPE_CHECKING, Any, Final

import click

from consumer import config
from consumer.cli.commands import EXIT_INTERRUPTED
from consumer.cli.options import Number, config_option
from consumer.cli.output import LinePrinter, echo, echo_text, forget_stdout, progress
from consumer.cli.troubles import Troubles
from consumer.foreign import json_text
from consumer.tap import (
    Filters,
    Mode,
    Places,
    Tail,
    TailOptions,
    json_of,
    listen,
    pieces_of,
)
from sparkplug import QUALITY_NAMES, MessageType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from consumer.tap import Item, Listening

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus tail --config plant.yaml
  sparkplug-zerobus tail --config plant.yaml 'Plant 1/*/Motor*'
  sparkplug-zerobus tail --config plant.yaml --quality BAD --quality STALE
  sparkplug-zerobus tail --config plant.yaml --messages --type NBIRTH --type NDEATH
  sparkplug-zerobus tail --config plant.yaml --json --seconds 60 > minute.jsonl
  sparkplug-zerobus tail --config plant.yaml --raw 'Plant 1/Line A' --count 1
"""

_TYPES: Final = [*map(str, MessageType), "STATE"]
_AT_ONCE: Final = 200
"""Lines that are printed at a time."""
_QUIET_SECONDS: Final = 10.0
_MOST_DEFECT: Final = 200


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@click.command(epilog=EXAMPLES)
@config_option(
    "Configuration file; of it, servers, limits, normalize and host are used, and of the "
    "secrets those of servers."
)
@click.argument("globs", metavar="[GLOB]...", nargs=-1)
@click.option("--messages", is_flag=True, help="One line per message.")
@click.option("--rows", is_flag=True, help="Rows of tag_events, as JSON.")
@click.option("--raw", is_flag=True, help="Messages with their payloads in hex.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(_TYPES, case_sensitive=False),
    help="Only this type of message. May be repeated.",
)
@click.option(
    "--quality",
    "qualities",
    multiple=True,
    type=click.Choice(QUALITY_NAMES, case_sensitive=False),
    help="Only values of this quality. May be repeated.",
)
@click.option("--server", "servers", multiple=True, metavar="NAME", help="Only this MQTT server.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many lines.")
@click.option(
    "--seconds",
    type=Number(0, min_open=True),
    help="Stop after so many seconds.",
)
def command(config_path: Path, servers: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Show what comes over the wire: every change of a metric, a line each.

    A GLOB is group/node/metric or group/node/device/metric, as in `include` of the
    configuration: * stands for any text, slashes too. One that ends earlier shows all below.

    Publishes nothing, and asks nobody for births: it may run beside a consumer. Aliases are
    resolved by the births that come while it runs; before, a metric is shown by its alias.

    Ends with Ctrl-C (exit code 130), SIGTERM, --count, --seconds (0), and quietly when nobody
    reads any more (0). 1 if no server can be connected, 2 for what is wrong in the command line
    or the configuration.
    """
    chosen = _options(**options)
    configuration = config.load(config_path, os.environ, secrets="servers")
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with listen(configuration, servers) as heard:
            _tell_begin(heard)
            tail = Tail(heard, configuration, chosen)
            try:
                _show(tail, heard, mode=chosen.mode, as_json=as_json)
            except KeyboardInterrupt as error:
                _tell_end(tail, heard)
                return 0 if isinstance(error, _Terminated) else EXIT_INTERRUPTED
            _tell_end(tail, heard)
    except BrokenPipeError:
        forget_stdout()
    except _Terminated:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _options(
    *,
    globs: tuple[str, ...],
    messages: bool,
    rows: bool,
    raw: bool,
    types: tuple[str, ...],
    qualities: tuple[str, ...],
    count: int | None,
    seconds: float | None,
) -> TailOptions:
    modes = {Mode.MESSAGES: messages, Mode.ROWS: rows, Mode.RAW: raw}
    asked = [mode for mode, is_asked in modes.items() if is_asked]
    if len(asked) > 1:
        raise click.UsageError("--messages, --rows and --raw: choose one of them")
    chosen = asked[0] if asked else Mode.CHANGES
    whole = chosen in (Mode.MESSAGES, Mode.RAW)
    if qualities and whole:
        raise click.UsageError(f"--quality is of values: --{chosen.value} shows whole messages")
    if not whole and "STATE" in types:
        raise click.UsageError("--type STATE has no values: add --messages or --raw")
    return TailOptions(
        chosen,
        Filters(Places(globs), frozenset(types), frozenset(map(QUALITY_NAMES.index, qualities))),
        count,
        seconds,
    )


def _show(tail: Tail, heard: Listening, *, mode: Mode, as_json: bool) -> None:
    """Print until it is over.

    Raises:
        BrokenPipeError: whoever read it has gone.
    """
    out = LinePrinter()
    raw, as_json = mode is Mode.RAW, as_json or mode is Mode.ROWS
    several = len(heard.servers) > 1
    troubles, is_told = Troubles(heard), False
    quiet_at: float | None = time.monotonic() + _QUIET_SECONDS
    with progress() as tell:
        for items in tail.turns():
            for lines in _in_parts(items):
                if as_json:
                    echo_text("\n".join(json_text(json_of(each, raw=raw)) for each in lines))
                else:
                    width = out.width
                    out.show(
                        [
                            pieces_of(each, with_server=several, raw=raw, width=width)
                            for each in lines
                        ]
                    )
            if not out.has_reader():
                raise BrokenPipeError
            troubles.tell()
            if tail.defects and not is_told:
                is_told = True
                echo(
                    f"Error: not all could be read ({tail.defect[:_MOST_DEFECT]}): this is a "
                    "defect, to be reported with a capture; births heard until now are forgotten",
                    err=True,
                )
            tell(_account(tail, heard))
            if tail.seen.total():
                quiet_at = None
            elif quiet_at is not None and time.monotonic() >= quiet_at:
                quiet_at = None
                echo(
                    f"nothing heard in {_QUIET_SECONDS:.0f} s: fine while no value changes; "
                    "`sparkplug-zerobus check` says whether the connection is right",
                    err=True,
                )


def _in_parts(items: Iterator[Item]) -> Iterator[list[Item]]:
    while part := list(itertools.islice(items, _AT_ONCE)):
        yield part


def _tell_begin(heard: Listening) -> None:
    names = ", ".join(f"{each.name} ({each.url})" for each in heard.servers)
    echo(f"listening to {names}; Ctrl-C ends it", err=True)


def _tell_end(tail: Tail, heard: Listening) -> None:
    echo(_account(tail, heard), err=True)
    reasons = {
        "lines that no birth explains yet": tail.unresolved,
        "messages that give no rows before their birth": tail.waiting,
        "metrics hidden because no birth says their names yet": tail.unnamed,
    }
    found = [f"{what}: {count:,}" for what, count in reasons.items() if count]
    if found:
        mend = "`sparkplug-zerobus rebirth` lets the running consumer ask for a birth"
        echo(f"{', '.join(found)}; {mend}", err=True)


def _account(tail: Tail, heard: Listening) -> str:
    parts = [
        f"messages seen: {tail.seen.total():,}",
        f"lines shown: {tail.shown:,}",
        f"messages let go: {heard.lost.total():,}",
    ]
    if heard.lost.total():
        parts[-1] += " (they came faster than they were shown)"
    if tail.defects:
        parts.append(f"batches not read, for a defect: {tail.defects.total():,}")
    if heard.bad_topics.total():
        parts.append(f"on topics that MQTT does not allow: {heard.bad_topics.total():,}")
    return ", ".join(parts)
