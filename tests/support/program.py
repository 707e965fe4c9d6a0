"""`sparkplug-zerobus`, started often and imported once.

A start takes half a second of a processor, nearly all of it for imports, and the tests start
the program hundreds of times. So one process imports it, and forks for each start: what runs
then is a process like any other, with arguments, directory, environment and files of its own.
FROM_SCRATCH is the program as users start it, for tests of the start itself, and where a fork
of a process that has imported libraries is not safe.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import functools
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FROM_SCRATCH = (sys.executable, "-c", "from consumer.cli import main; main()")

_COMMANDS = ("run", "check", "ddl", "deadletter", "gaps", "ledger", "simulate")
_CAN_FORK = sys.platform == "linux"
_NUMBER = "q"
_MOST_BYTES = 1 << 20


class Started:
    """A process that was forked; what is here is as in `subprocess.Popen`."""

    def __init__(self, told: int) -> None:
        self.returncode: int | None = None
        self._told = told
        """Where the process id is read, and then the status that it ended with."""
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
            os.close(self._told)
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
        content = os.read(self._told, array.array(_NUMBER).itemsize)
        assert content, "the process that forks has ended"
        return array.array(_NUMBER, content)[0]


class _Source:
    """The process that has imported the program, as seen by those who ask it to fork."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                # -P: what lies beside this file is for nobody to import.
                [sys.executable, "-P", __file__, str(number)],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )
        atexit.register(self._end)

    def start(self, order: Mapping[str, Any], files: Sequence[int]) -> Started:
        told, telling = os.pipe()
        try:
            content = json.dumps(order).encode()
            assert len(content) < _MOST_BYTES
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
            env={**os.environ, **(environ or {})},
        )
    order = {
        "arguments": list(arguments),
        "cwd": str(cwd or Path.cwd()),
        "environ": dict(os.environ),
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


# -- the process that forks


def _serve(control: socket.socket) -> None:
    """Import the program, then fork for each order; returns in the child, which becomes it."""
    import click  # noqa: PLC0415

    from consumer.cli.commands import cli  # noqa: PLC0415

    for name in _COMMANDS:
        assert cli.get_command(click.Context(cli), name)
    woken, waking = socket.socketpair()
    woken.setblocking(False)
    waking.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno())
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    telling: dict[int, int] = {}
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if control in ready:
            content, files, _, _ = socket.recv_fds(control, _MOST_BYTES, 4)
            if not content:
                sys.exit()
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                selector.close()
                for each in (control, woken, waking):
                    each.close()
                for number in (*telling.values(), files[3]):
                    os.close(number)
                _become(json.loads(content), files[:3])
                return
            for number in files[:3]:
                os.close(number)
            telling[child] = files[3]
            os.write(files[3], array.array(_NUMBER, [child]).tobytes())
        if woken in ready:
            woken.recv(_MOST_BYTES)
            _tell_of_the_ended(telling)


def _tell_of_the_ended(telling: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while telling:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            number = telling.pop(child)
            # Nobody may be there any more to read it.
            with contextlib.suppress(BrokenPipeError):
                os.write(number, array.array(_NUMBER, [status]).tobytes())
            os.close(number)


def _become(order: Mapping[str, Any], files: Sequence[int]) -> None:
    for target, number in enumerate(files):
        os.dup2(number, target)
        os.close(number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    sys.argv[:] = ["sparkplug-zerobus", *order["arguments"]]


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from consumer.cli import main

    main()
