"""All shapes beside an honest fleet, with a kill in the middle and a restart at the end."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from typing import TYPE_CHECKING

import httpx
import pyarrow.parquet as pq
from deltalake import DeltaTable
from end_to_end.consumer_process import TABLE
from end_to_end.world import LandedTable
from faults.books import check_ledger
from faults.landed_order import table_path
from faults.plant import GROUP, HOST_ID
from faults.rig import Size, rig
from faults.verdict import examine

from attack.assailant import Pace, assail
from attack.gauge import bounded, most_lines, watching
from attack.judge import MOST_LINES, limits
from attack.shapes import SHAPES
from attack.strangers import DEEDS, Target
from consumer.spool.balance import balance_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from faults.rig import Rig
    from faults.verdict import Verdict

    from attack.gauge import Bound, Watch

_PATIENCE = 120.0
"""Seconds that the consumer may be behind."""
_SLACK = 1.25
"""What the kernel's bound has above the budget: it counts pages of files, too."""


class Mix:
    """A rig that is attacked. The consumer is bounded and watched over all its runs."""

    def __init__(self, system: Rig, watch: Watch, bound: Bound | None) -> None:
        self.rig = system
        self.watch = watch
        self.problems: list[str] = []
        self._bound = bound

    def start(self) -> None:
        """Start the consumer once more, and wait until rows flow."""
        self._start()
        self._wait(lambda: self.rig.consumer.answers("/readyz"), "/readyz")

    def _start(self) -> None:
        self.rig.consumer.start()
        pid = self.rig.consumer.process.pid
        self.watch.look_at(pid)
        if self._bound is not None:
            self._bound.put(pid)

    def begin(self) -> None:
        """Start the consumer and the fleet."""
        self.rig.zerobus.wait_ready()
        self.start()
        self.rig.plant.start()
        self.rig.plant.wait_online()
        self.rig.plant.wait_heard_from_all()

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait, at most so long; a consumer that dies is started again, as a supervisor does."""
        until = time.monotonic() + _PATIENCE
        while not self._holds(condition):
            if time.monotonic() > until:
                self.problems.append(f"not within {_PATIENCE:.0f} s: {what}")
                return
            time.sleep(0.05)

    def _holds(self, condition: Callable[[], object]) -> bool:
        process = self.rig.consumer.process
        if process.poll() is not None:
            self.problems.append(f"the consumer ended with {process.returncode}")
            self.rig.say(self.problems[-1])
            self._start()
        return bool(condition())

    def go_on(self, seconds: float) -> None:
        """Let the attack go on for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._holds(lambda: True)
            time.sleep(0.1)

    def pause(self) -> None:
        """Let the fleet be silent, and wait until all that it said has landed."""
        self.rig.plant.pause()
        last = {
            ids[0] for sent in self.rig.plant.notebook.last_data().values() for ids in sent.values
        }
        begun = time.monotonic()
        self._wait(lambda: last <= self.rig.table.ids_of_values(), "the fleet's last values landed")
        self.rig.say(f"the fleet's last values: {time.monotonic() - begun:.1f} s")

    def stop(self) -> None:
        """Let the consumer send what it has, and end in order."""
        self._wait(self._is_delivered, "no rows spooled")
        code = self.rig.consumer.stop()
        if code:
            self.problems.append(f"the consumer ended with {code} when it was to stop")

    def _is_delivered(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return bool(self.rig.consumer.status()["spooled_rows"] == 0)
        return False

    def resume(self) -> None:
        """Let the fleet speak again, and wait until all of it did."""
        self.rig.plant.resume()
        self.rig.plant.wait_online()
        self.rig.plant.wait_heard_from_all()


_PACES = {"flood": Pace(messages=500, size=5e6), "dear": Pace(messages=1, size=5e6)}
"""Below what takes a processor for itself: a consumer that is given more falls behind, and may."""


@contextlib.contextmanager
def _attacked(system: Rig, names: Sequence[str], part: float) -> Iterator[None]:
    """Attackers are at work meanwhile: with floods, with what is dear, and at the sockets."""
    http_port = int(system.consumer.configuration["http"]["listen"].rpartition(":")[2])
    target = Target(system.server.port, http_port)
    kinds = {
        "flood": [name for name in names if name in SHAPES and SHAPES[name].flood],
        "dear": [name for name in names if name in SHAPES and not SHAPES[name].flood],
        "deeds": [name for name in names if name in DEEDS],
    }
    spawn = multiprocessing.get_context("spawn")
    attackers = [
        spawn.Process(
            target=assail,
            args=(target, those, part, system.size.seed, _PACES.get(kind)),
            daemon=True,
        )
        for kind, those in kinds.items()
        if those
    ]
    for each in attackers:
        each.start()
    try:
        yield
        assert all(each.is_alive() for each in attackers), "attackers have ended"
    finally:
        for each in attackers:
            each.terminate()
            each.join()


def mixed(
    directory: Path,
    size: Size,
    names: Sequence[str],
    budget: float,
    say: Callable[[str], None],
    *,
    part: float = 1.0,
) -> Verdict:
    """Attack a fleet under load for `size.seconds`, and account for everything.

    Args:
        directory: for all files.
        size: of the honest fleet, and how long it is attacked.
        names: of the shapes.
        budget: MiB that the consumer may have.
        say: gets progress.
        part: how much of the full size of each shape, of 1.
    """
    zerobus = {"commit_interval": 0.2, "compact_every": 1_000_000}
    with (
        rig(
            directory, size, say, zerobus=zerobus, host={"id": HOST_ID}, **limits(budget)
        ) as system,
        watching() as watch,
        bounded(budget * _SLACK) as bound,
    ):
        say(f"the kernel {'keeps' if bound else 'cannot keep'} the consumer's memory bounded")
        system.table = LandedTable(directory / "lake", group=GROUP)
        mix = Mix(system, watch, bound)
        mix.begin()
        with _attacked(system, names, part):
            mix.go_on(size.seconds / 2)
            # What an edge node says while nobody listens is gone: so they say nothing.
            mix.pause()
            system.consumer.kill()
            say("killed")
            mix.start()
            mix.resume()
            mix.go_on(size.seconds / 2)
        mix.pause()
        say("stopping")
        mix.stop()
        mix.start()
        mix.resume()
        mix.pause()
        mix.stop()
        verdict = _account(system)
        verdict.problems += mix.problems
        _judge(verdict, watch.peaks, most_lines(_logs(system)), budget)
        return verdict


def _logs(system: Rig) -> list[str]:
    files = (system.consumer.directory / f"log-{n + 1}" for n in range(system.consumer.runs))
    return [each.read_text(encoding="utf-8", errors="replace") for each in files]


def _judge(verdict: Verdict, peaks: list[float], lines: int, budget: float) -> None:
    verdict.notes.append(f"peaks: {', '.join(f'{each:.0f}' for each in peaks)} MiB")
    verdict.notes.append(f"lines of the log: {lines} in a second at most")
    verdict.require(max(peaks) <= budget, f"{max(peaks):.0f} MiB, and {budget:.0f} are allowed")
    verdict.require(lines <= MOST_LINES, f"{lines} lines of the log in a second")


def _account(system: Rig) -> Verdict:
    """What became of the fleet's values, and whether all rows are accounted for."""
    verdict = examine(system.plant.notebook.nodes(), system.table.read())
    verdict.scenario = "mix"
    verdict.require(not verdict.lost, f"{verdict.lost} values of the fleet were lost")
    verdict.require(verdict.published, "the fleet said nothing")
    lake = table_path(system.directory / "lake", TABLE)
    landed: set[int] = set()
    for file in DeltaTable(lake).file_uris():
        landed.update(pq.read_table(file, columns=["arrival_number"])["arrival_number"].to_pylist())
    dead = sum(each.rows for each in system.dead_letters())
    check_ledger(verdict, balance_of_file(system.spool).to_dict(), landed=len(landed), dead=dead)
    return verdict
