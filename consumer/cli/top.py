"""`sparkplug-zerobus top`: servers and edge nodes of a running consumer, worst first."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

import click

from consumer.cli.commands import EXIT_INTERRUPTED
from consumer.cli.options import config_option
from consumer.cli.output import console, echo_json, echo_text, forget_stdout
from consumer.cli.over_http import AskingError, NoAnswerError, RunningConsumer, key_option
from consumer.errors import ConfigurationError
from consumer.tap import SORTS, Picture, Wanted, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import FrameType

    from rich.console import Console

EXAMPLES = """\b
Examples:
  sparkplug-zerobus top --config plant.yaml
  sparkplug-zerobus top --config plant.yaml --sort rate
  sparkplug-zerobus top --config plant.yaml --node 'Plant/*' --key-file reader.key
  sparkplug-zerobus top --config plant.yaml --once --json
"""

_CONFIG: Final = "Configuration file of the running consumer; of it, http is used."
_PIPE_WIDTH: Final = 220
_EVERY_SECONDS: Final = 1.0
_SHARE: Final = 6
"""Where a look takes long, no more than this part of the time is looked: there is more to do."""
_REFUSED_SECONDS: Final = 10.0
"""After a second refusal it is not asked more often: ten wrong keys within a minute shut us out."""
_ANSWER_SECONDS: Final = 5.0
_SUSPENDED: Final = -1
"""No exit code: Ctrl-Z."""
_ENDS: Final = frozenset(b"qQ")


def _sort(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    if text.removeprefix("-") not in SORTS:
        raise click.BadParameter(f"{text!r} is none of {', '.join(SORTS)}")
    return text


def _glob(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    if text and not set(text) & set("/*?["):
        raise click.BadParameter(f"{text!r} can match no GROUP/NODE; write '*/{text}'")
    return text


@click.command(epilog=EXAMPLES)
@config_option(_CONFIG)
@click.option(
    "--sort",
    callback=_sort,
    default="state",
    show_default=True,
    metavar="BY",
    help=f"Order of edge nodes: {', '.join(SORTS)}; with - before it the other way round.",
)
@click.option(
    "--node",
    "glob",
    callback=_glob,
    default="",
    metavar="GLOB",
    help="Only edge nodes whose GROUP/NODE is like this: 'Plant/*', '*/Edge-1'.",
)
@click.option("--once", is_flag=True, help="Print all edge nodes once, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; implies --once.")
@key_option("a reader")
@click.pass_context
def command(  # noqa: PLR0917 - one for each option
    context: click.Context,
    config_path: Path,
    sort: str,
    glob: str,
    once: bool,
    as_json: bool,
    key_file: Path | None,
) -> None:
    """Show the servers and edge nodes of the running consumer, worst first, each second anew.

    Keys: q ends it. Where there is no terminal it prints all once, as with --once. A reader's key
    will do.

    Ends with q or SIGTERM (exit code 0) and Ctrl-C (130). 1 if nobody answers, or refuses, at the
    start; 2 for what is wrong in the command line or the configuration.
    """
    wanted = Wanted(sort, glob)

    def find() -> RunningConsumer:
        return RunningConsumer(config_path, key_file, "reader")

    out = None if as_json else console(width=_PIPE_WIDTH)
    if out is None or once or not out.is_terminal or out.is_dumb_terminal:
        picture = _look(find(), wanted)
        try:
            if out is None:
                echo_json(picture.as_dictionary())
            else:
                _print(out, picture)
        except BrokenPipeError:
            forget_stdout()
        return
    watch = _Watch(find, wanted, most=lambda: out.height)
    watch.first()
    context.exit(_show(out, watch))


def _look(consumer: RunningConsumer, wanted: Wanted) -> Picture:
    try:
        return look(
            lambda route, parameters: consumer.get(route, parameters, _ANSWER_SECONDS), wanted
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        raise NoAnswerError(
            f"what answers at {consumer.address} is no consumer of this release"
        ) from None


def _print(out: Console, picture: Picture) -> None:
    from consumer.tap import screen  # noqa: PLC0415 - see console

    lines = screen(picture, out.width, None)
    if out.is_terminal:
        for line in lines:
            out.print(line, no_wrap=True, crop=False)
    else:
        echo_text("\n".join(line.plain for line in lines))


class _Watch:
    """Looks at the consumer each second, in a thread of its own; keeps the newest picture.

    Args:
        find: reads the configuration, and the key, anew.
        wanted: which nodes.
        most: how many of them can be shown now.

    Attributes:
        picture: the newest one.
        old: why there is none newer, and since when; empty while there is.
    """

    def __init__(
        self, find: Callable[[], RunningConsumer], wanted: Wanted, most: Callable[[], int]
    ) -> None:
        self._find = find
        self._wanted = wanted
        self._most = most
        self._lost_at = ""
        self.picture: Picture
        self.old = ""

    def first(self) -> None:
        """Look for the first time.

        Raises:
            AskingError: it cannot be asked, or refuses.
        """
        self._consumer = self._find()
        self._look()

    def go_on(self, tell: Callable[[], None]) -> None:
        """Look again and again, and tell after each look. Never ends."""
        refusals = 0
        while True:
            begun = time.monotonic()
            pause = _EVERY_SECONDS
            try:
                self._look()
                self.old = self._lost_at = ""
                refusals = 0
                pause = max(pause, _SHARE * (time.monotonic() - begun))
            except NoAnswerError as error:
                self._lost(error)
            except AskingError as error:
                self._lost(error)
                refusals += 1
                pause = _REFUSED_SECONDS if refusals > 1 else _EVERY_SECONDS
                # It may be another key by now.
                with suppress(ConfigurationError):
                    self._consumer = self._find()
            tell()
            time.sleep(max(begun + pause - time.monotonic(), 0.0))

    def _look(self) -> None:
        self.picture = _look(self._consumer, self._wanted._replace(most=self._most()))

    def _lost(self, error: Exception) -> None:
        self._lost_at = self._lost_at or time.strftime("%H:%M:%S", time.gmtime())
        self.old = f"old since {self._lost_at} UTC: {error}"


def _show(out: Console, watch: _Watch) -> int:
    """Show what is seen until somebody wants it no more; returns the exit code."""
    from rich.console import ConsoleDimensions, Group  # noqa: PLC0415 - see console
    from rich.live import Live  # noqa: PLC0415

    from consumer.tap import screen  # noqa: PLC0415

    with (
        _events() as (tell, wait, suspend),
        Live(
            console=out,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live,
    ):
        threading.Thread(target=watch.go_on, args=[tell], daemon=True).start()
        while True:
            # Not what COLUMNS and LINES say: the terminal may have another size by now.
            out.size = ConsoleDimensions(*os.get_terminal_size(out.file.fileno()))
            lines = screen(watch.picture, *out.size, old=watch.old, hint="q ends")
            live.update(Group(*lines), refresh=True)
            if (code := wait()) == _SUSPENDED:
                live.stop()
                suspend()
                live.start()
            elif code is not None:
                return code


@contextmanager
def _events() -> Iterator[tuple[Callable[[], None], Callable[[], int | None], Callable[[], None]]]:
    """Functions: tell of something new; wait for that, a key or a new size; suspend the program.

    The second returns the exit code when a key or a signal wants an end, _SUSPENDED when it is to
    be suspended, else None. While it is suspended, and on leaving, the terminal is what it was.
    """
    hears, speaks = os.pipe()
    wanted: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        wanted.append(EXIT_INTERRUPTED if number == signal.SIGINT else 0)

    os.set_blocking(speaks, False)
    before = signal.set_wakeup_fd(speaks, warn_on_full_buffer=False)
    handlers = {
        number: signal.signal(number, end)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)

    def tell() -> None:
        with suppress(OSError):
            os.write(speaks, b"-")

    try:
        with _keys() as (keyboard, lend), _suspensions() as (asked, stop):
            sources = [hears, *keyboard]

            def wait() -> int | None:
                ready, _, _ = select.select(sources, [], [])
                if hears in ready:
                    os.read(hears, 4096)
                for each in set(ready) - {hears}:
                    if not (keys := _pressed(each)):
                        sources.remove(each)
                    if _ENDS & set(keys):
                        wanted.append(0)
                return [*wanted, *asked, None][0]

            def suspend() -> None:
                with lend():
                    stop()

            yield tell, wait, suspend
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        # The thread that looks may still tell: its end stays open until the program ends.
        os.close(hears)


@contextmanager
def _suspensions() -> Iterator[tuple[list[int], Callable[[], None]]]:
    """A list with _SUSPENDED in it once Ctrl-Z was pressed, and a function that heeds it."""
    asked: list[int] = []

    def note(_number: int, _frame: FrameType | None) -> None:
        asked.append(_SUSPENDED)

    def stop() -> None:
        asked.clear()
        # By default, and not SIGSTOP: where no shell waits, nobody would let us go on.
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, note)

    before = signal.signal(signal.SIGTSTP, note)
    try:
        yield asked, stop
    finally:
        signal.signal(signal.SIGTSTP, before)


def _pressed(keyboard: int) -> bytes:
    """The keys that were pressed; empty when nobody can press any more."""
    with suppress(OSError):
        return os.read(keyboard, 4096)
    return b""


@contextmanager
def _keys() -> Iterator[tuple[list[int], Callable[[], AbstractContextManager[None]]]]:
    """The keyboard, of which each key is known at once; none where there is no keyboard.

    Also a context in which it is what it was.
    """
    if not sys.stdin.isatty():
        yield [], nullcontext
        return
    keyboard = sys.stdin.fileno()
    settings = termios.tcgetattr(keyboard)

    def give_back() -> None:
        with suppress(termios.error):  # the terminal itself may be gone
            termios.tcsetattr(keyboard, termios.TCSADRAIN, settings)

    @contextmanager
    def lend() -> Iterator[None]:
        give_back()
        yield
        with suppress(termios.error):
            tty.setcbreak(keyboard)

    tty.setcbreak(keyboard)
    try:
        yield [keyboard], lend
    finally:
        give_back()
