"""Imports `sparkplug-zerobus`, then forks for each start that `program.py` asks for.

Argument: the number of a socket. On it come orders, each with four files: standard input,
output and error of the new process, and one that is told its process id and, later, the status
that it ended with. When the socket is closed, this process ends, the others go on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS = ("run", "check", "ddl", "deadletter", "gaps", "ledger", "simulate", "tail")
IMPORTED_LATER = (
    "anyio._backends._asyncio",
    "consumer.config.loading",
    "consumer.pipeline.composition",
    "consumer.sinks.zerobus",
    "pydantic.v1",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
    "zerobus",
)
"""What is not imported with the commands, but always when they run."""
_MOST_BYTES = 1 << 20


def import_program() -> None:
    import click  # noqa: PLC0415

    from consumer.cli.commands import cli  # noqa: PLC0415

    for name in COMMANDS:
        assert cli.get_command(click.Context(cli), name)
    os.environ.setdefault("RUST_LOG", "off")  # as the program does before it imports the SDK
    for name in IMPORTED_LATER:
        importlib.import_module(name)
    gc.freeze()


def serve(control: socket.socket) -> None:
    """Fork for each order; returns in each child, which is then to be the program."""
    with contextlib.ExitStack() as ours:
        woken, waking = map(ours.enter_context, socket.socketpair())
        selector = ours.enter_context(selectors.DefaultSelector())
        for each in (ours.enter_context(control), woken):
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ)
        waking.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waking.fileno())
        telling: dict[int, int] = {}
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if control in ready:
                content, files, _, _ = socket.recv_fds(control, _MOST_BYTES, 4)
                if not content:
                    sys.exit()
                child = os.fork()
                if not child:
                    break
                for number in files[:3]:
                    os.close(number)
                telling[child] = files[3]
                tell(files[3], child)
            if woken in ready:
                woken.recv(_MOST_BYTES)
                tell_of_the_ended(telling)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (*telling.values(), files[3]):
        os.close(number)
    become(json.loads(content), files[:3])


def tell_of_the_ended(telling: dict[int, int]) -> None:
    while telling:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        number = telling.pop(child)
        tell(number, status)
        os.close(number)


def tell(file: int, number: int) -> None:
    # Nobody may be there any more to read it.
    with contextlib.suppress(BrokenPipeError):
        os.write(file, b"%d\n" % number)


def become(order: Mapping[str, Any], files: Sequence[int]) -> None:
    """Give this process everything that one from scratch would have got."""
    for target, number in enumerate(files):
        os.dup2(number, target)
        os.close(number)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    sys.argv[:] = ["sparkplug-zerobus", *order["arguments"]]


import_program()
serve(socket.socket(fileno=int(sys.argv[1])))

from consumer.cli import main  # noqa: E402

main()
