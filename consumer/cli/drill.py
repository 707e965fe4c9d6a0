"""`sparkplug-zerobus drill`: which edge nodes keep their data while the host is offline."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import click

from consumer.cli.commands import EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_INTERRUPTED
from consumer.cli.options import Number, config_option
from consumer.cli.output import console, echo, echo_json
from consumer.cli.over_http import AskingError, NoAnswerError, RunningConsumer, over_http
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

EXIT_NOT_DONE: Final = 3
EXIT_NOT_KNOWN: Final = 4

EXAMPLES: Final = """\b
Examples:
  sparkplug-zerobus drill --config plant.yaml             # who may lose data; does nothing
  sparkplug-zerobus drill --config plant.yaml --yes       # the host is offline for 45 s
  sparkplug-zerobus drill --config plant.yaml --yes --seconds 120 --wait 300
  sparkplug-zerobus drill --config plant.yaml --yes --server plant-a --json
  sparkplug-zerobus drill --config plant.yaml --show      # what the last one showed
  sparkplug-zerobus drill --config plant.yaml --end       # online again, at once

\b
Exit codes:
  0  all edge nodes keep their data
  1  some lose it, or a part of it
  2  wrong usage or configuration, or --yes is missing: nothing was done
  3  there was no drill: nobody answers, it was refused, or did not come to its end
  4  none is known to lose data, but of some nothing is known
  130  interrupted: the drill was ended
"""

_CONFIG: Final = "Configuration file of the running consumer; of it, http is used."
_POLL_SECONDS: Final = 0.5
_SPARE_SECONDS: Final = 150.0
_BACK_SECONDS: Final = 20.0
_PIPE_WIDTH: Final = 220
_PAGE: Final = 500
_MOST_NAMED: Final = 20
_OFF: Final = ("listening", "leaving", "offline", "returning")
_PHASES: Final = {
    "listening": "listening: who publishes, and how often",
    "leaving": "STATE is offline",
    "offline": "STATE is offline",
    "returning": "STATE goes online",
    "waiting": "STATE is online, waiting for history",
}


@click.command(epilog=EXAMPLES)
@config_option(_CONFIG)
@click.option("--yes", is_flag=True, help="Do it, though edge nodes that are named may lose data.")
@click.option(
    "--seconds",
    type=Number(1, 120),
    default=45.0,
    show_default=True,
    help="For how long the host is offline. It listens for as long before.",
)
@click.option(
    "--wait",
    type=Number(1, 600),
    default=60.0,
    show_default=True,
    help="Seconds for which it is waited for history afterwards, at most.",
)
@click.option("--server", help="Name of one MQTT server; default: all, at the same time.")
@click.option("--show", is_flag=True, help="Only show the last result of each edge node.")
@click.option("--end", is_flag=True, help="Only end the drill that is on.")
@over_http
@click.pass_context
def command(
    context: click.Context, /, config_path: Path, key_file: Path | None, **given: Any
) -> None:
    """Take the host offline on purpose, and see which edge nodes keep their data meanwhile.

    With host.gate_on_sink the host goes offline while rows cannot be stored, and edge nodes that
    name it as their primary host are to keep their data. Those that do not keep it lose what
    they publish in these seconds: they are named before, and --yes is needed. The running
    consumer does it, and is online again in time, whatever becomes of this command.
    """
    if given["show"] + given["end"] + given["yes"] > 1:
        raise click.UsageError("--yes, --show and --end do not go together")
    consumer = RunningConsumer(config_path, key_file, "operator")
    try:
        context.exit(_carry_out(consumer, given))
    except ConfigurationError:
        raise
    except AskingError as error:
        echo(f"Error: {error}", err=True)
        context.exit(EXIT_NOT_DONE)


def _carry_out(consumer: RunningConsumer, given: dict[str, Any]) -> int:
    """Do what is asked for; return the exit code."""
    server = {"server": given["server"]} if given["server"] else {}
    if given["end"]:
        ended = consumer.post("actions/drill/end", {})["ended"]
        echo("the drill is ended" if ended else "no drill is on", err=True)
        return 0
    if given["show"]:
        _print(_results(consumer, **server), given["as_json"])
        return 0
    plan = consumer.get("drill", server)
    if plan["refusal"]:
        raise AskingError(f"the consumer refuses: no drill now: {plan['refusal']}")
    echo(_cost(plan["may_lose"], given["seconds"]), err=True)
    if not given["yes"]:
        echo("nothing was done: --yes begins the drill", err=True)
        return EXIT_CONFIGURATION
    body = {"seconds": given["seconds"], "wait": given["wait"], "yes": True, **server}
    try:
        begun_ms = consumer.post("actions/drill", body)["begun_ms"]
        last = _follow(consumer, begun_ms, 2 * given["seconds"] + given["wait"])
    except KeyboardInterrupt:
        _end(consumer)
        return EXIT_INTERRUPTED
    if last["outcome"] != "judged":
        raise AskingError(last["text"])
    _print(_results(consumer, since_ms=begun_ms, **server), given["as_json"], last)
    echo(last["text"], err=True)
    return _exit_code(last["counts"])


def _exit_code(counts: dict[str, int]) -> int:
    if counts["lost"] or counts["partly"]:
        return EXIT_FAILURE
    return 0 if counts["kept"] and not counts["not_known"] else EXIT_NOT_KNOWN


def _cost(may_lose: dict[str, Any], seconds: float) -> str:
    """What a drill may cost, and whom."""
    names = [f"{each['group']}/{each['node']}" for each in may_lose["items"][:_MOST_NAMED]]
    if not names:
        return "of all edge nodes that are alive it is known that they keep their data"
    more = may_lose["total"] - len(names)
    others = f" and {more} others" if more else ""
    who = "1 edge node" if may_lose["total"] == 1 else f"{may_lose['total']} edge nodes"
    return (
        f"{who} may lose what is published in the {seconds:g} s in which the host is offline: "
        f"{', '.join(names)}{others}"
    )


def _follow(consumer: RunningConsumer, begun_ms: int, seconds: float) -> dict[str, Any]:
    """Follow a drill to its end, also over a restart of the consumer; return how it ended.

    Raises:
        AskingError: nobody answers for too long, or the consumer knows nothing of it any more.
    """
    patience = time.monotonic() + seconds + _SPARE_SECONDS
    with _Shown(console(stderr=True), seconds) as shown:
        while True:
            try:
                told = consumer.get("drill", {})
            except NoAnswerError as error:
                if time.monotonic() > patience:
                    raise
                shown.say(f"{error}", 0.0)
            else:
                if told["state"] == "idle" or told["begun_ms"] != begun_ms:
                    return _last(told, begun_ms)
                shown.show(told)
            time.sleep(_POLL_SECONDS)


def _last(told: dict[str, Any], begun_ms: int) -> dict[str, Any]:
    last: dict[str, Any] | None = told["last"]
    if last is None or last["begun_ms"] != begun_ms:
        raise AskingError(
            "the consumer knows nothing of this drill any more: it was restarted before the host "
            "went offline, or after all was judged; --show tells what is kept"
        )
    return last


def _end(consumer: RunningConsumer) -> None:
    """Ctrl-C: let the host be online again, and see that it is; a second one does not wait."""
    try:
        echo("interrupted: the drill is ended, STATE goes online again ...", err=True)
        consumer.post("actions/drill/end", {})
        patience = time.monotonic() + _BACK_SECONDS
        while consumer.get("drill", {})["state"] in _OFF:
            if time.monotonic() > patience:
                break
            time.sleep(_POLL_SECONDS / 2)
        else:
            echo("STATE is online. --show tells later what came nevertheless", err=True)
            return
    except (AskingError, KeyboardInterrupt) as error:
        if isinstance(error, AskingError):
            echo(f"Error: {error}", err=True)
    echo("not seen that STATE is online; the consumer sees to it by itself in time", err=True)


class _Shown:
    """Shows how a drill goes on: a bar on a terminal, elsewhere a line for each phase."""

    def __init__(self, out: Console, seconds: float) -> None:
        self._out = out
        self._seconds = seconds
        self._text = ""
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._out.is_interactive and self._out.file.isatty():
            from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - see console

            self._bar = Progress(
                BarColumn(20), TextColumn("{task.description}"), console=self._out, transient=True
            )
            self._task = self._bar.add_task("", total=self._seconds)
            self._bar.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, told: dict[str, Any]) -> None:
        """Show what the consumer told."""
        seconds, left = told["seconds"], told["left_seconds"]
        done = {
            "listening": seconds - left,
            "leaving": 2 * seconds - left,
            "offline": 2 * seconds - left,
            "returning": 2 * seconds,
            "waiting": 2 * seconds + told["wait_seconds"] - left,
        }[told["state"]]
        text = _PHASES[told["state"]]
        if self._bar is not None:
            text = f"{text}, {left:.0f} s left"
            found = [f"{number} {name}" for name, number in told["counts"].items() if number]
            text = f"{text}: {', '.join(found).replace('_', ' ')}" if found else text
        self.say(text, done)

    def say(self, text: str, done: float) -> None:
        """Show a text, and how much of the time is over."""
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=done)
        elif text != self._text:
            self._text = text
            echo(text, err=True)


def _results(consumer: RunningConsumer, **of: Any) -> list[dict[str, Any]]:
    """All results, page by page."""

    def pages() -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = consumer.get("drill/results", {"limit": _PAGE, "offset": offset, **of})
            yield from page["items"]
            offset += _PAGE
            if offset >= page["total"]:
                return

    return list(pages())


def _print(
    results: list[dict[str, Any]], as_json: bool, last: dict[str, Any] | None = None
) -> None:
    if as_json:
        echo_json({**(last or {}), "items": results}, indent=2)
    elif results:
        console(width=_PIPE_WIDTH).print(_table(results))
    else:
        echo("no edge node has a result: there was no drill yet", err=True)


def _table(results: list[dict[str, Any]]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - see console

    table = Table()
    for name in ("server", "edge node"):
        table.add_column(name, overflow="fold")
    table.add_column("keeps its data")
    for name in ("rows", "offline to it"):
        table.add_column(name, justify="right")
    for name in ("first to last, by its clock", "drill", "why"):
        table.add_column(name)
    words = {"kept": "yes", "partly": "a part", "lost": "no", "not_known": "not known"}
    for each in results:
        window = each["window_seconds"]
        table.add_row(
            each["server"],
            f"{each['group']}/{each['node']}",
            words.get(each["verdict"], each["verdict"]),
            f"{each['rows']:,}",
            "" if window is None else f"{window:.1f} s",
            _span(each["first_ms"], each["last_ms"]),
            _time(each["at_ms"], "%Y-%m-%d %H:%M"),
            each["text"],
        )
    return table


def _span(first_ms: int | None, last_ms: int | None) -> str:
    if first_ms is None or last_ms is None:
        return ""
    return f"{_time(first_ms, '%H:%M:%S')} to {_time(last_ms, '%H:%M:%S')}"


def _time(at_ms: int, form: str) -> str:
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(at_ms / 1e3, UTC).strftime(form)
    return "?"
