"""What a process takes, by what Linux says of it: CPU, memory, lines of its log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 1024 * 1024
GUARD = 9 * 1024
"""MiB that a consumer may have before it is killed, so that the machine stays alive."""

_TICKS = os.sysconf("SC_CLK_TCK")
_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\S+Z ")


class Gauge:
    """One process. CPU in seconds since it began, memory in MiB."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        """Of all its threads, also those that ended."""
        fields = (self._proc / "stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def by_thread(self) -> dict[str, float]:
        """Of each of its threads."""
        found = {}
        for task in (self._proc / "task").iterdir():
            with contextlib.suppress(OSError):  # one that ended
                nanoseconds = (task / "schedstat").read_text("utf-8").split()[0]
                found[task.name] = int(nanoseconds) / 1e9
        return found

    def works(self) -> bool:
        """Whether any of its threads runs, would if there were a processor, or waits for a disk."""
        for task in (self._proc / "task").iterdir():
            with contextlib.suppress(OSError):
                stat = (task / "stat").read_text("utf-8")
                if stat.rpartition(")")[2].split()[0] in "RD":
                    return True
        return False

    def resident(self) -> float:
        return self._memory("VmRSS")

    def peak(self) -> float:
        """The most since it began, or since `forget_peak`."""
        return self._memory("VmHWM")

    def forget_peak(self) -> None:
        (self._proc / "clear_refs").write_text("5", "utf-8")

    def _memory(self, name: str) -> float:
        status = (self._proc / "status").read_text("utf-8")
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0  # one that has ended has no memory


class Watch(threading.Thread):
    """Notes the peak of each process that it is given, to its end; kills what goes beyond GUARD."""

    def __init__(self) -> None:
        super().__init__(name="watch", daemon=True)
        self.peaks: list[float] = []
        """MiB, one for each process so far."""
        self.killed: list[int] = []
        self._pid = 0
        self._over = threading.Event()

    def look_at(self, pid: int) -> None:
        self.peaks.append(0.0)
        self._pid = pid

    def run(self) -> None:
        while not self._over.wait(0.01):
            with contextlib.suppress(OSError):
                if self._pid:
                    gauge = Gauge(self._pid)
                    self.peaks[-1] = max(self.peaks[-1], gauge.peak())
                    if gauge.resident() > GUARD and self._pid not in self.killed:
                        self.killed.append(self._pid)
                        os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    watch = Watch()
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@contextlib.contextmanager
def bounded(budget: float) -> Iterator[Bound | None]:
    """A bound of so many MiB that the kernel keeps, where this user may set one; else None."""
    for home, limit in (
        (Path("/sys/fs/cgroup"), "memory.max"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ):
        bound = Bound(home / f"attack-{os.getpid()}", limit)
        if bound.set(budget):
            try:
                yield bound
            finally:
                bound.remove()
            return
    yield None


class Bound:
    """A control group with a limit of memory: what exceeds it is killed."""

    def __init__(self, group: Path, limit: str) -> None:
        self._group = group
        self._limit = limit

    def set(self, budget: float) -> bool:
        try:
            self._group.mkdir()
        except OSError:
            return False
        try:
            # None of its files can be made: it is there if this kind of group has it.
            with (self._group / self._limit).open("r+", encoding="utf-8") as file:
                file.write(str(int(budget * MIB)))
        except OSError:
            self.remove()
            return False
        return True

    def put(self, pid: int) -> None:
        (self._group / "cgroup.procs").write_text(str(pid), "utf-8")

    def remove(self) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._group.rmdir()
                return
            time.sleep(0.05)  # a process in it has not quite ended


def most_lines(logs: Iterable[str], seconds: float = 1.0) -> int:
    """The most lines that any stretch of so many seconds has, of logs that follow each other.

    A line without a time, as a traceback has, is of the time of the one before it.
    """
    most, times, now = 0, deque[float](), 0.0
    for log in logs:
        for line in log.splitlines():
            if _SECOND.match(line):
                now = datetime.fromisoformat(line.split(" ", 1)[0]).timestamp()
            times.append(now)
            while times[0] <= now - seconds:
                times.popleft()
            most = max(most, len(times))
    return most
