"""A forward proxy as companies have one, a process of its own on loopback."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.services import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class ForwardProxy:
    """A running proxy: where it listens, and the file with what it has connected."""

    port: int
    log: Path

    def address(self, credentials: str = "") -> str:
        """What the environment names; `credentials` is `user:password@`, percent-encoded."""
        return f"http://{credentials}127.0.0.1:{self.port}"

    def went_through(self, address: str) -> bool:
        """Whether a connection to `host:port` went through it."""
        wanted = f"Connected to upstream {address}"
        return wanted in self.log.read_text()


@contextlib.contextmanager
def forward_proxy(directory: Path, credentials: str = "") -> Iterator[ForwardProxy]:
    """Run a proxy that wants `user:password` if given, else lets everybody through."""
    directory.mkdir()
    log, port = directory / "log", directory / "port"
    options = ["--basic-auth", credentials] if credentials else []
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"),
            *("--port-file", port, "--num-acceptors", "1", "--threaded"),
            *("--data-dir", directory / "data", "--log-file", log, "--log-level", "DEBUG"),
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: port.exists() and port.read_text().strip(), PATIENCE)
        yield ForwardProxy(int(port.read_text()), log)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)
