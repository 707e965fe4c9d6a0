"""The program in a terminal without a screen: what one would see, and keys that are pressed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pyte

from support.services import PATIENCE, wait_until
from support.trust import trusting_nobody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Makes the terminal the one that Ctrl-C comes from; not between fork and exec, where threads of the
# tests may hold locks.
_PROGRAM = (
    sys.executable,
    "-c",
    """
import fcntl, termios
from consumer.cli import main

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
main()
""",
)


class Terminal:
    """One program and its terminal. What it has written is read when somebody looks.

    Attributes:
        written: all that the program wrote, control sequences included.
    """

    def __init__(
        self, arguments: Sequence[str], size: tuple[int, int], environ: Mapping[str, str] = {}
    ) -> None:
        """`size` is columns, lines."""
        self._master, slave = pty.openpty()
        self.written = b""
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.settings = termios.tcgetattr(slave)
        self._slave = slave
        self.resize(*size)
        others = {
            name: each
            for name, each in trusting_nobody().items()
            if name not in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
        }
        self.process = subprocess.Popen(
            [*_PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**others, "TERM": "xterm-256color", **environ},
            start_new_session=True,
        )

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as a person who drags its corner."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def press(self, keys: str) -> None:
        """Press keys; \\x03 is Ctrl-C."""
        os.write(self._master, keys.encode())

    def lines(self) -> list[str]:
        """What one sees now, without the blanks at the ends of lines."""
        self._read()
        return [each.rstrip() for each in self._screen.display]

    def shown(self) -> str:
        """What one sees now, as one text."""
        return "\n".join(self.lines())

    def colours(self, text: str) -> set[str]:
        """The colours of the characters of a text that one sees."""
        for row, line in enumerate(self.lines()):
            if (column := line.find(text)) >= 0:
                cells = self._screen.buffer[row]
                return {cells[each].fg for each in range(column, column + len(text))}
        raise AssertionError(f"no {text!r} in\n{self.shown()}")

    def wait_for(self, condition: str | Callable[[], object], timeout: float = PATIENCE) -> None:
        """Wait until a text is seen, or something else is true."""
        done = (lambda: condition in self.shown()) if isinstance(condition, str) else condition
        try:
            wait_until(done, timeout, repr(condition))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.shown()}") from error

    def wait_end(self, timeout: float = PATIENCE) -> int:
        """The exit code, once the program has ended."""
        # It may wait for somebody who reads.
        wait_until(lambda: (self._read(), self.process.poll() is not None)[1], timeout, "the end")
        self._read()
        return self.process.returncode

    def is_as_before(self) -> bool:
        """Whether the settings of the terminal are those of the beginning."""
        return termios.tcgetattr(self._slave) == self.settings

    def _read(self) -> None:
        while select.select([self._master], [], [], 0)[0]:
            content = os.read(self._master, 65_536)
            self.written += content
            self._stream.feed(content)

    def close(self) -> None:
        """End the program, if it has not ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        os.close(self._slave)
        os.close(self._master)


@contextlib.contextmanager
def terminal(
    *arguments: str, size: tuple[int, int] = (120, 40), environ: Mapping[str, str] = {}
) -> Iterator[Terminal]:
    """The program in a terminal of so many columns and lines; ended on leaving."""
    made = Terminal(arguments, size, environ)
    try:
        yield made
    finally:
        made.close()
