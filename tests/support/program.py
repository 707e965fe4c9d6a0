"""`sparkplug-zerobus`, started often and imported once.

A start takes half a second of a processor, nearly all of it for imports, and the tests start
the program hundreds of times. So one process imports it, `forking.py`, and forks for each
start: what runs then is a process like any other, with arguments, directory, environment and
files of its own. FROM_SCRATCH is the program as users start it, for tests of the start itself,
and where a process that has imported libraries cannot be forked safely.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from support.trust import trusting_nobody

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FROM_SCRATCH = (sys.executable, "-c", "from consumer.cli import main; main()")

_FORKING = Path(__file__).with_name("forking.py")
_CAN_FORK = sys.platform == "linux"


class Started:
    """A process that was forked; what is here is as in `subprocess.Popen`."""

    def __init__(self, told: int) -> None:
        self.returncode: int | None = None
        # Without a buffer, so that `wait` sees what has not been read yet.
        self._told = os.fdopen(told, "rb", buffering=0)
        """A line with the process id, and one with the status that it ended with."""
        self.pid = self._read()

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the process has ended."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired("sparkplug-zerobus", timeout)
            self.returncode = os.waitstatus_to_exitcode(self._read())
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            # It may have ended this moment, or not be told of yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _read(self) -> int:
        line = self._told.readline()
        assert line, "the process that forks has ended"
        return int(line)


class _Source:
    """The process that has imported the program."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                # -P: what lies beside that file is for nobody to import.
                [sys.executable, "-P", str(_FORKING), str(number)],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )
        atexit.register(self._end)

    def start(self, order: Mapping[str, Any], files: Sequence[int]) -> Started:
        told, telling = os.pipe()
        try:
            content = json.dumps(order).encode()
            socket.send_fds(self._control, [content], [*files, telling])
        finally:
            os.close(telling)
        return Started(told)

    def _end(self) -> None:
        self._control.close()
        self._process.wait()


_source = functools.cache(_Source)


def start(
    arguments: Sequence[str],
    *,
    program: Sequence[str] = (),
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdout: IO[Any],
    stderr: IO[Any],
) -> Started | subprocess.Popen[bytes]:
    """Start the program, or another `program`; `environ` is added to the environment.

    Libraries read some variables when they are imported: with any of its own the program is
    started from scratch.
    """
    if program or environ or not _CAN_FORK:
        return subprocess.Popen(
            [*(program or FROM_SCRATCH), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**trusting_nobody(), **(environ or {})},
        )
    order = {
        "arguments": list(arguments),
        "cwd": str(cwd or Path.cwd()),
        "environ": trusting_nobody(),
    }
    with Path(os.devnull).open("rb") as nothing:
        files = [nothing.fileno(), stdout.fileno(), stderr.fileno()]
        return _source().start(order, files)


def run(
    *arguments: str, cwd: Path | None = None, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(arguments, cwd=cwd, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(arguments, code, *texts)
