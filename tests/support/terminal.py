"""`sparkplug-zerobus` as somebody starts it in a terminal: a pty, keys, and what is shown."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

from support.program import FROM_SCRATCH
from support.services import PATIENCE
from support.trust import trusting_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CTRL_C = "\x03"


class Terminal:
    """A program in a terminal of 100 columns. stdout goes there, or into a file.

    Attributes:
        shown: what came to the terminal so far, control sequences included.
    """

    def __init__(self, arguments: list[str], *, cwd: Path | None, stdout: Path | None) -> None:
        self._terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        with contextlib.ExitStack() as files:
            out: Any = theirs if stdout is None else files.enter_context(stdout.open("wb"))
            self.process = subprocess.Popen(
                [*FROM_SCRATCH, *arguments],
                stdin=theirs,
                stdout=out,
                stderr=theirs,
                cwd=cwd,
                env={**trusting_nobody(), "TERM": "xterm"},
                start_new_session=True,
                # It makes one system call, and takes no lock.
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until the terminal has shown `text`."""
        deadline = time.monotonic() + timeout
        while text not in self.shown:
            left = deadline - time.monotonic()
            assert left > 0, f"not shown within {timeout} s: {text!r}; shown:\n{self.shown}"
            assert self._read(left), f"ended without showing {text!r}; shown:\n{self.shown}"

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self._terminal, keys.encode())

    def wait_end(self, timeout: float = PATIENCE) -> int:
        """The exit code, when the program has ended and all that it showed was read."""
        deadline = time.monotonic() + timeout
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"does not end; shown:\n{self.shown}"
        return self.process.wait(PATIENCE)

    def _read(self, timeout: float) -> bool:
        """Read what comes; False at the end."""
        if not select.select([self._terminal], [], [], timeout)[0]:
            return True
        try:
            read = os.read(self._terminal, 65536)
        except OSError:  # Linux says the end so
            return False
        self.shown += read.decode(errors="replace")
        return bool(read)

    def close(self) -> None:
        """End the program, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._terminal)


@contextlib.contextmanager
def in_terminal(
    *arguments: str, cwd: Path | None = None, stdout: Path | None = None
) -> Iterator[Terminal]:
    """The program with these arguments in a terminal of its own."""
    terminal = Terminal(list(arguments), cwd=cwd, stdout=stdout)
    try:
        yield terminal
    finally:
        terminal.close()
