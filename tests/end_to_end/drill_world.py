"""A running system with edge nodes that keep their data while the host is offline, or do not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.program import FROM_SCRATCH, run
from support.services import PATIENCE, wait_until
from support.trust import trusting_nobody

from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget
from end_to_end.world import World, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "historian"
ARMED, UNARMED, OTHERS, SMALL = (f"Plant {number}/Line A" for number in (1, 2, 3, 4))
_RATE = 100.0
_ON_A_TERMINAL = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes standard input the terminal that Ctrl-C comes from."""
_CONTROLS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """The command, on a terminal of its own."""

    process: subprocess.Popen[bytes]
    master: int
    written: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        """What the command wrote so far, without what moves the cursor."""
        return _CONTROLS.sub(b"", bytes(self.written)).decode().replace("\r\n", "\n")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self.master, b"\x03")

    def wait_for(self, text: str) -> None:
        """Wait until the command wrote this."""
        wait_until(lambda: text in self.text or self.process.poll() is not None, what=text)
        assert text in self.text, self.text

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE)

    def read(self) -> None:
        """Take what the command writes, to the end."""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while part := os.read(self.master, 65_536):
                self.written += part


@contextlib.contextmanager
def on_a_terminal(*arguments: str) -> Iterator[Terminal]:
    """`sparkplug-zerobus` with these arguments, started as people start it."""
    master, slave = os.openpty()
    os.set_blocking(master, True)
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL, *FROM_SCRATCH, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**trusting_nobody(), "COLUMNS": "250", "LINES": "50", "TERM": "xterm"},
    )
    os.close(slave)
    terminal = Terminal(process, master)
    reader = threading.Thread(target=terminal.read, daemon=True)
    reader.start()
    try:
        yield terminal
    finally:
        process.kill()
        process.wait(PATIENCE)
        reader.join(PATIENCE)
        os.close(master)


@dataclass
class DrillWorld:
    """The system, and what its consumer tells of drills."""

    system: World

    def drill(self, *arguments: str) -> list[str]:
        """The arguments of the command for this consumer."""
        return ["drill", "--config", str(self.system.consumer.config_file), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return run(*self.drill(*arguments), timeout=PATIENCE)

    def told(self) -> dict[str, Any]:
        """What the consumer says of its drill."""
        found: dict[str, Any] = self.system.consumer.get("/api/drill").json()
        return found

    def wait_for_state(self, *states: str) -> dict[str, Any]:
        """Wait until the drill is so far, and return what the consumer says of it."""
        self.system.consumer.wait_for(
            lambda: self.told()["state"] in states, f"a drill that is {states}"
        )
        return self.told()

    def results(self) -> dict[str, dict[str, Any]]:
        """The last result of each edge node, by its name."""
        page = self.system.consumer.get("/api/drill/results").json()
        return {f"{each['group']}/{each['node']}": each for each in page["items"]}


@contextlib.contextmanager
def drill_world(directory: Path, *, fleets: bool = True) -> Iterator[DrillWorld]:
    """A consumer, and edge nodes: armed, unarmed, waiting for nobody, with a store for a second.

    Without `fleets` it has no edge nodes.
    """
    with world(directory) as system:
        options = {
            ARMED: EdgeNodeOptions(primary_host_id=HOST),
            UNARMED: EdgeNodeOptions(primary_host_id=HOST, store_capacity=0),
            OTHERS: EdgeNodeOptions(),
            SMALL: EdgeNodeOptions(primary_host_id=HOST, store_capacity=int(_RATE)),
        }
        target = MqttTarget(system.server.url)
        started = [
            Gateways(target, 4, _RATE, options=each, gateway_index=index)
            for index, each in enumerate(options.values(), 1)
            if fleets
        ]
        try:
            system.consumer.start_ready()
            for each in started:
                each.start()
            for each in started:
                assert each.wait_online(PATIENCE)
            yield DrillWorld(system)
        finally:
            for each in started:
                each.stop(PATIENCE)


def json_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a command printed as JSON."""
    found: dict[str, Any] = json.loads(done.stdout)
    return found
