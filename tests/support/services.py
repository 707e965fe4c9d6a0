"""Real services for tests: each starts on a free port in tmp_path and is stopped by handle."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE: Final = 60.0
"""Seconds that a test waits for what must happen.

Long enough for a busy machine, where a process that takes a second to start takes twenty.
Only a test that fails waits so long, so nobody gains by less.
"""
PROMPT: Final = 30.0
"""Seconds for what must not wait for something else, on a busy machine, too.

Where a test says so, that something else takes longer, or never comes.
"""

_SBIN = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/opt/local/sbin")
_FIRST_PORT, _PORTS = 10_000, 22_000


def wait_until(
    condition: Callable[[], object], timeout: float = PATIENCE, what: str = "condition"
) -> None:
    """Poll until `condition()` is truthy; AssertionError after `timeout` seconds."""
    begun = time.monotonic()
    while not condition():
        waited = time.monotonic() - begun
        assert waited < timeout, f"not within {timeout} s: {what}"
        # Most conditions keep another process from what is waited for.
        time.sleep(min(0.01 + waited / 20, 0.05))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that no other test gets.

    Not one of those that the system gives to outgoing connections: of the many connections of
    tests that run in parallel one would take it before the server listens, or while a server
    that is to come back on it is away. For the same reason it stays with this process.
    """
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if _is_ours(port):
                return port


def _is_ours(port: int) -> bool:
    """Take a port for this process, until it ends; False if a process has it, or had it here."""
    given = _given_ports()
    if port in given:
        return False
    try:
        fcntl.lockf(_port_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    given.add(port)
    return True


@functools.cache
def _given_ports() -> set[int]:
    return set()


@functools.cache
def _port_locks() -> IO[bytes]:
    """A file of which each process of tests locks the bytes that have its ports' numbers."""
    return (Path(tempfile.gettempdir()) / f"sparkplug-test-ports-{os.getuid()}").open("wb")


def mosquitto_binary() -> str:
    """Path of the mosquitto server; it often lives outside an ordinary user's PATH."""
    for path in (None, *_SBIN):
        found = shutil.which("mosquitto", path=path)
        if found:
            return found
    raise AssertionError("no mosquitto server found: run `make broker`")


def password_line(username: str, password: str) -> str:
    """A line of a mosquitto password file: PBKDF2-SHA512, as mosquitto_passwd writes it."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    parts = (base64.b64encode(each).decode() for each in (salt, digest))
    return f"{username}:$7$101${'$'.join(parts)}\n"


@dataclass
class MosquittoServer:
    """One mosquitto process. The port stays the same over `stop`/`kill` and `restart`."""

    port: int
    config_file: Path
    log_file: Path
    process: subprocess.Popen[bytes] = field(init=False)
    _log: IO[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """URL for clients of this server."""
        return f"mqtt://127.0.0.1:{self.port}"

    def log(self) -> str:
        """What mosquitto wrote so far."""
        return self.log_file.read_text(errors="replace")

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        self._log = self.log_file.open("ab")
        self.process = subprocess.Popen(
            [mosquitto_binary(), "-c", str(self.config_file)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"mosquitto ended at once:\n{self.log()}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=0.5).close()
                return
            assert time.monotonic() < deadline, f"mosquitto does not listen:\n{self.log()}"
            time.sleep(0.01)

    def stop(self) -> None:
        """End the process in order (SIGTERM; saves retained messages if configured)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the process if it runs and start it again on the same port."""
        self.stop()
        self.start()

    def _end(self, signal_number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE)
        if self._log is not None:
            self._log.close()
            self._log = None


@contextlib.contextmanager
def mosquitto(tmp_path: Path, config: str = "") -> Iterator[MosquittoServer]:
    """A running mosquitto on a free port of 127.0.0.1, ended on leaving.

    `config` is added to the configuration. Unless it holds a `listener` line of its
    own, the server listens in clear text; unless it speaks of `allow_anonymous`,
    anybody may connect. `{port}` and `{dir}` in it are replaced.
    """
    # Another process may take a probed port before mosquitto binds it: probe again then.
    for attempt in range(5):
        port = free_port()
        directory = tmp_path / f"mosquitto-{port}"
        directory.mkdir(parents=True, exist_ok=True)
        text = config.replace("{port}", str(port)).replace("{dir}", str(directory))
        lines = []
        if "listener" not in text:
            lines.append(f"listener {port} 127.0.0.1")
        if "allow_anonymous" not in text:
            lines.append("allow_anonymous true")
        if "set_tcp_nodelay" not in text:
            lines.append("set_tcp_nodelay true")
        if "max_queued_messages" not in text:
            # No silent drops under load. Without a bound in bytes some 2.0 releases drop all.
            lines += ["max_queued_messages 0", "max_queued_bytes 268435456"]
        # Mosquitto started by root gives up its rights, which tmp_path would not bear.
        if "user " not in text:
            lines.append("user root")
        config_file = directory / "mosquitto.conf"
        config_file.write_text("\n".join([*lines, text, ""]))
        server = MosquittoServer(port, config_file, directory / "mosquitto.log")
        try:
            server.start()
        except AssertionError:
            if "Address already in use" in server.log() and attempt < 4:
                continue
            raise
        break
    try:
        yield server
    finally:
        server.stop()
