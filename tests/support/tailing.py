"""`sparkplug-zerobus tail` as a process: in a pipe, or in a terminal of a given width."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import tempfile
import termios
import threading
from typing import TYPE_CHECKING, Any

from support.program import start
from support.services import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Tailing:
    """A process that tails; what it prints is read all the time."""

    def __init__(self, process: Any, reading: int, errors: Path) -> None:
        self.process = process
        self._reading = reading
        self._errors = errors
        self._out = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # of a terminal that nobody has open any more
            while data := os.read(self._reading, 1 << 16):
                self._out += data

    @property
    def out(self) -> str:
        """What it printed so far."""
        return bytes(self._out).decode()

    @property
    def lines(self) -> list[str]:
        """Lines that it has printed to their end."""
        return self.out.replace("\r\n", "\n").split("\n")[:-1]

    @property
    def err(self) -> str:
        """What it printed on stderr so far."""
        return self._errors.read_text(encoding="utf-8")

    def wait_for(self, condition: Any, what: str) -> None:
        """Poll until `condition()`; a process that ended meanwhile is shown."""

        def done() -> object:
            return condition() or self.process.poll() is not None

        wait_until(done, what=f"{what}: {self.lines[-20:]} {self.err}")
        wait_until(condition, 1.0, f"{what}: {self.lines[-20:]} {self.err}")

    def wait_lines(self, count: int) -> list[str]:
        """Wait for so many lines."""
        self.wait_for(lambda: len(self.lines) >= count, f"{count} lines")
        return self.lines

    def wait_for_text(self, text: str) -> None:
        """Wait until it has printed a text."""
        self.wait_for(lambda: text in self.out, repr(text))

    def wait_for_error(self, text: str) -> None:
        """Wait until it has printed a text on stderr."""
        self.wait_for(lambda: text in self.err, repr(text))

    def end(self, number: int = 0) -> int:
        """The exit code, after a signal if one is named; all that it printed is read then."""
        if number:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop_reading(self) -> None:
        """Close the pipe at this end, as `head` does when it has enough."""
        os.close(self._reading)


def configure(directory: Path, *urls: str, **server: Any) -> Path:
    """A configuration with these servers, plant-a, plant-b and so on."""
    content = {
        "servers": [
            {"name": f"plant-{chr(ord('a') + number)}", "url": url, **server}
            for number, url in enumerate(urls)
        ],
        "zerobus": {
            "endpoint": "http://127.0.0.1:9",
            "workspace_url": "http://127.0.0.1:9",
            "table": "main.ot.tag_events",
            "client_id": "id",
            "client_secret": "secret",
        },
        "spool": {"path": str(directory / "spool.db")},
    }
    file = directory / "plant.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


@contextlib.contextmanager
def tailing(
    configuration: Path,
    *arguments: str,
    columns: int | None = None,
    environ: dict[str, str] | None = None,
) -> Iterator[Tailing]:
    """A process that has connected; in a terminal if that is to have so many columns."""
    if columns is None:
        reading, writing = os.pipe()
    else:
        reading, writing = pty.openpty()
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environ = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLUMNS": "", **(environ or {})}
    with tempfile.NamedTemporaryFile(dir=configuration.parent, delete=False) as errors:
        with os.fdopen(writing, "wb", buffering=0) as out:
            process = start(
                ["tail", "--config", str(configuration), *arguments],
                cwd=configuration.parent,
                environ=environ,
                stdout=out,
                stderr=errors,
            )
        made = Tailing(process, reading, configuration.parent / errors.name)
        try:
            made.wait_for_error("listening to ")
            yield made
        finally:
            made.process.send_signal(signal.SIGKILL)
            made.process.wait(PATIENCE)
            made._reader.join(PATIENCE)
            with contextlib.suppress(OSError):
                os.close(reading)
