"""The one door through which the command line prints.

What others wrote (topics, ids, texts of services) is escaped here, at the latest: no command
prints by other ways, and `tests/house` looks for such ways.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, TextIO

import click

from consumer.foreign import escaped, escaped_lines, json_text
from consumer.logs import indented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

UNHANDLED = "Error: an unexpected error; this is a defect:"


def echo(line: str, *, err: bool = False) -> None:
    """Print one line; a line end within it is escaped."""
    _write(escaped(line) + "\n", err=err)


def echo_text(text: str, *, err: bool = False) -> None:
    """Print a text of several lines that we have laid out, with a line end behind it."""
    _write(escaped_lines(text.removesuffix("\n")) + "\n", err=err)


def echo_json(value: Any, *, indent: int | None = None) -> None:
    """Print JSON, exact and in ASCII, on stdout."""
    _write(json_text(value, indent=indent) + "\n", err=False)


def confirm(question: str) -> bool:
    """Ask on stderr whether to go on; no is the answer where nobody is there to be asked."""
    if not sys.stdin.isatty():
        return False
    return click.confirm(escaped(question), err=True)


def _write(text: str, *, err: bool) -> None:
    """Print what is fit to be printed; where the encoding lacks a letter it is escaped too."""
    encoding = (sys.stderr if err else sys.stdout).encoding or "utf-8"
    try:
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False, err=err)
    except BrokenPipeError:
        raise
    except OSError as error:
        if err:
            raise
        forget_stdout()  # what is left in its buffer would be complained about once more at the end
        raise click.ClickException(f"stdout cannot be written: {error.strerror}") from None


class _Uncut(io.StringIO):
    """Takes a text for a terminal, of which click cuts nothing out: it is escaped instead."""

    def isatty(self) -> bool:
        return True


def show_refusal(error: click.ClickException) -> None:
    """Print what click says of a command line, which it quotes."""
    text = _Uncut()
    error.show(text)
    echo_text(text.getvalue(), err=True)


def show_defects() -> None:
    """Let tracebacks of errors that nobody expected be printed through this door."""

    def show(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, SystemExit):  # of a thread: no error
            return
        lines = "".join(traceback.format_exception(kind, error, trace))
        echo_text(f"{UNHANDLED}\n{indented(lines.removesuffix(chr(10)))}", err=True)

    sys.excepthook = show
    threading.excepthook = lambda of: show(of.exc_type, of.exc_value, of.exc_traceback)


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console for tables. Plain text: tag paths begin with brackets, which are no markup.

    Args:
        stderr: print there instead of on stdout.
        width: columns where the output is no terminal.
    """
    # Here, not at the top: a fifth of a second that --json and --help save.
    from rich.console import Console  # noqa: PLC0415
    from rich.segment import Segment  # noqa: PLC0415

    class Escaping(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            """Escape a text before it is laid out: widths are those of what is shown."""
            return super().render_str(escaped_lines(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            """Escape all text that goes out: not all of it comes by `render_str`."""
            for segment in super().render(renderable, options):
                if segment.control:
                    yield segment
                else:
                    yield Segment(escaped_lines(segment.text), segment.style)

    made = Escaping(stderr=stderr, markup=False, highlight=False, emoji=False)
    if width is not None and not made.file.isatty():
        made.width = width
    return made


def may_show_progress(*, rows_on_stdout: bool) -> bool:
    """Whether somebody looks at stderr who is not disturbed there.

    Not where stderr is no terminal; and if rows go to stdout, not where that is one, or a pipe:
    whoever reads that may print on the same terminal.
    """
    return sys.stderr.isatty() and (_is_file(sys.stdout) or not rows_on_stdout)


class LinePrinter:
    """Prints lines on stdout as they come: to the width and with colours on a terminal only.

    Attributes:
        is_terminal: whether stdout is one.
    """

    def __init__(self) -> None:
        self._console = console()
        self._encoding = self._console.encoding
        self.is_terminal = self._console.file.isatty()

    @property
    def width(self) -> int | None:
        """Cells that a line may take, as the terminal is now; None where there is no width."""
        return self._console.width if self.is_terminal else None

    def show(self, lines: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Print lines; each is made of texts with their styles, and has been escaped.

        Raises:
            BrokenPipeError: whoever read them has gone.
        """
        if not lines:
            return
        if not self.is_terminal:
            echo_text("\n".join("".join(text for text, _ in line) for line in lines))
            return
        from rich.text import Text  # noqa: PLC0415 - see console

        shown = [
            Text.assemble(*((self._fit(text), style) for text, style in each)) for each in lines
        ]
        self._console.print(Text("\n").join(shown), no_wrap=True, overflow="crop", crop=True)

    def has_reader(self) -> bool:
        """Whether somebody may still read what is printed: False at the other end of `| head`."""
        watched = select.poll()
        with contextlib.suppress(OSError, ValueError):
            watched.register(sys.stdout.fileno(), 0)
            return not any(event & select.POLLERR for _, event in watched.poll(0))
        return True

    def _fit(self, text: str) -> str:
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)


def forget_stdout() -> None:
    """Print nothing on stdout any more: whoever read it has gone, and needs not be told."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on stderr that is written anew, for whoever looks while stdout goes into a file.

    There is none where it would disturb.
    """
    if not may_show_progress(rows_on_stdout=True):
        yield lambda _text: None
        return
    from rich.live import Live  # noqa: PLC0415 - see console
    from rich.text import Text  # noqa: PLC0415

    with Live(
        console=console(stderr=True), transient=True, refresh_per_second=4, redirect_stdout=False
    ) as line:
        yield lambda text: line.update(Text(escaped(text), no_wrap=True, overflow="ellipsis"))


def _is_file(stream: TextIO) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    return False
