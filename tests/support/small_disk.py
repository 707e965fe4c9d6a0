"""A small file system, and somebody who fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


class SmallDisk:
    """A file system of its own, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enlarge(self, mib: int) -> None:
        """Give it so many MiB in all."""
        subprocess.run(["mount", "-o", f"remount,size={mib}m", str(self.path)], check=True)

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    @contextlib.contextmanager
    def filled(self) -> Iterator[Filler]:
        """Take every byte that is free or becomes free, until the block is left or `stop`."""
        filler = Filler(self.path / "other")
        try:
            yield filler
        finally:
            filler.stop()


class Filler:
    """Takes what is free with one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stopped = threading.Event()
        self._full = threading.Event()
        self._thread = threading.Thread(target=self._fill)
        self._thread.start()
        assert self._full.wait(30)

    def _fill(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            size = MIB
            while not self._stopped.is_set():
                try:
                    size = min(2 * file.write(bytes(size)), MIB)
                except OSError:
                    if size > 1:
                        size //= 2
                    else:
                        self._full.set()
                        self._stopped.wait(0.001)

    def stop(self) -> None:
        """Take no more; what was taken stays."""
        self._stopped.set()
        self._thread.join()

    def free(self) -> None:
        """Give everything back."""
        self.stop()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(directory: Path, mib: int) -> Iterator[SmallDisk]:
    """A file system of so many MiB; skips where none may be mounted."""
    path = directory / "disk"
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
