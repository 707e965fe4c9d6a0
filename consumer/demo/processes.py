"""Processes of the demo: started with a log of their own, watched, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import consumer
from consumer.errors import SparkplugZerobusError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROOT: Final = Path(consumer.__file__).parents[1]
# The directory of the package comes last on the path: it serves a checkout that is not
# installed, and changes nothing otherwise. -P keeps the working directory off it.
_BOOTSTRAP: Final = "import sys; sys.path.append(sys.argv.pop(1)); "
_POLL: Final = 0.05
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 16_384


class DemoError(SparkplugZerobusError):
    """The demo cannot start or go on. The text says what to do."""


class Interrupted(Exception):  # noqa: N818 - what happened, not what is wrong
    """Ctrl-C, SIGTERM or SIGHUP."""


class ProcessEnded(DemoError):  # noqa: N818 - see Interrupted
    """A process of the demo ended although nobody told it to."""


class Interrupt:
    """Turns signals into an end in order: every wait of the demo goes through here.

    From the first signal on `wait` raises; with a second one `impatient` is True and
    processes are killed instead of asked.
    """

    _SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._received = 0
        self._event = threading.Event()
        self._before = {
            number: signal.signal(number, self._on_signal)
            for number in self._SIGNALS
            # Under nohup the end of the terminal is not to be the end of the demo.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }

    def restore(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def happened(self) -> bool:
        """Whether a signal to stop was received."""
        return self._received > 0

    @property
    def impatient(self) -> bool:
        """Whether more than one signal to stop was received: the user will not wait."""
        return self._received > 1

    def wait(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            Interrupted: a signal came, now or before.
        """
        if self._event.wait(max(0.0, seconds)):
            raise Interrupted

    def wait_for_it(self, seconds: float) -> bool:
        """Wait so long for the first signal to stop, and take it: the next one counts as the first.

        Returns:
            Whether it came.
        """
        if not self._event.wait(seconds):
            return False
        self._received -= 1
        if not self._received:
            self._event.clear()
        return True

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._received += 1
        self._event.set()


def command_line(*arguments: str) -> list[str]:
    """How to call `sparkplug-zerobus` with the running interpreter, however it is installed."""
    code = _BOOTSTRAP + "from consumer.cli import main; main()"
    return [sys.executable, "-P", "-c", code, str(_ROOT), *arguments]


def module_line(module: str, *arguments: str) -> list[str]:
    """How to run a module of this package with the running interpreter."""
    code = _BOOTSTRAP + f"from {module} import main; main()"
    return [sys.executable, "-P", "-c", code, str(_ROOT), *arguments]


def free_ports(count: int) -> list[int]:
    """Different TCP ports of 127.0.0.1 that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def listening(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


class DemoProcess:
    """One process, its log file, and its end.

    It gets a session of its own: Ctrl-C in the terminal reaches the demo alone, which
    then ends its processes in order.
    """

    def __init__(self, name: str, arguments: Sequence[str], log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._told_to_end = False
        with log_file.open("ab") as log:
            self._start_of_log = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Do nothing while the process runs.

        Raises:
            ProcessEnded: it ended by itself; with the last lines of its log.
        """
        code = self._process.poll()
        if code is None or self._told_to_end:
            return
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        raise ProcessEnded(
            f"{self.name} ended by itself ({how}); the end of its log {self.log_file}:\n"
            f"{self.tail() or '  (nothing was logged)'}"
        )

    def wait_until(self, ready: Callable[[], bool], timeout: float, interrupt: Interrupt) -> None:
        """Wait until `ready()`, while the process runs.

        Raises:
            DemoError: not within `timeout` seconds.
            ProcessEnded: the process ended first.
            Interrupted: a signal came first.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{self.name} was not ready within {timeout:g} s; "
                    f"the end of its log {self.log_file}:\n{self.tail()}"
                )
            interrupt.wait(_POLL)

    def stop(self, timeout: float, interrupt: Interrupt) -> bool:
        """End it with SIGTERM; after `timeout` seconds, or a second Ctrl-C, kill it.

        Returns:
            Whether it ended by itself with exit code 0.
        """
        self._told_to_end = True
        if self.running:
            self._process.terminate()
        deadline = time.monotonic() + timeout
        while self.running:
            if interrupt.impatient or time.monotonic() >= deadline:
                self._process.kill()
                break
            time.sleep(_POLL)
        return self._process.wait() == 0

    def tail(self) -> str:
        """The last lines of what this process logged, indented."""
        with self.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._start_of_log, end - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-_TAIL_LINES:])

    def logged(self, text: str) -> bool:
        """Whether the last lines of the log hold this text."""
        return text in self.tail()
