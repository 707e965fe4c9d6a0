"""Each shape alone: what it takes of a consumer that has nothing else to do."""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from end_to_end.consumer_process import configuration, consumer
from faults.plant import HOST_ID
from faults.zerobus_process import zerobus_process
from support.services import mosquitto

from attack.assailant import assailant
from attack.gauge import GUARD, Gauge, most_lines, watching
from attack.judge import Cost, differences, limits
from attack.shapes import SHAPES
from attack.strangers import DEEDS, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from end_to_end.consumer_process import ConsumerProcess
    from support.services import MosquittoServer

    from attack.assailant import Assailant
    from attack.gauge import Watch

_QUIET_SECONDS = 0.15
_LOOKS = 6
_QUIET_SHARE = 0.25
"""Of a processor: a consumer that takes less has nothing to do."""
_GONE = (AssertionError, OSError, httpx.TransportError)
"""What is raised when a consumer ends, or does not come so far."""
_DIGESTION = 300.0
"""Seconds that a consumer may take before it is given up."""


class Calm:
    """Mosquitto, Zerobus and a consumer without any edge nodes but the attackers'."""

    def __init__(
        self,
        server: MosquittoServer,
        process: ConsumerProcess,
        somebody: Assailant,
        watch: Watch,
    ) -> None:
        self._server = server
        self._consumer = process
        self._assailant = somebody
        self._watch = watch
        self._gauge = Gauge(0)  # until it is started

    def start(self) -> None:
        """Start the consumer, and wait until rows could flow."""
        self._consumer.start()
        self._watch.look_at(self._consumer.process.pid)
        self._consumer.wait_for(lambda: self._consumer.answers("/readyz"), "/readyz")
        self._gauge = Gauge(self._consumer.process.pid)

    def play(self, name: str, part: float, seed: int = 1, *, delivered: bool = True) -> Cost:
        """Let the running consumer have one shape, message by message.

        Unless told else, wait at the end until its rows are `delivered`.
        """
        chance = random.Random(seed)
        shape = SHAPES.get(name)
        flood = shape is None or shape.flood
        cost = Cost(name, flood=flood)
        with contextlib.suppress(OSError):
            self._gauge.forget_peak()
        written = len(self._consumer.log())
        try:
            if shape is None:
                self._let(cost, lambda: DEEDS[name](self._target(), part, chance))
            else:
                blows = shape.blows(part, chance)
                while group := list(itertools.islice(blows, None if flood else 1)):
                    found = self._let(cost, lambda group=group: self._assailant.hurl(group))
                    cost.messages += found[0]
                    cost.largest = max(cost.largest, found[1])
            if shape is not None and shape.lasts > _QUIET_SECONDS:
                self._let(cost, lambda: time.sleep(shape.lasts))
            self.digest(delivered=delivered)
            cost.peak = self._gauge.peak()
        except _GONE as error:
            cost.peak = self._watch.peaks[-1]
            beyond = self._consumer.process.pid in self._watch.killed
            cost.problems.append(
                f"killed beyond {GUARD} MiB" if beyond else f"the consumer: {error!s:.200}"
            )
        cost.lines = most_lines([self._consumer.log()[written:]])
        return cost

    def restart(self, cost: Cost) -> None:
        """Kill the consumer, start it again, and let it end in order."""
        if self._consumer.process.poll() is None:
            self._consumer.kill()
        try:
            self.start()
            self.digest()
            cost.restart = self._gauge.peak()
            code = self._consumer.stop()
            cost.require(code == 0, f"the consumer ended with {code}")
        except _GONE as error:
            cost.restart = self._watch.peaks[-1]
            cost.problems.append(f"the restart: {error!s:.200}")
            self._consumer.kill()
        cost.problems += differences(self._spool())

    def _spool(self) -> Path:
        return Path(self._consumer.configuration["spool"]["path"])

    def stop(self, cost: Cost) -> None:
        """End the consumer in order, and look at its ledger."""
        code = self._consumer.stop()
        cost.require(code == 0, f"the consumer ended with {code}")
        cost.problems += differences(self._spool())

    def _target(self) -> Target:
        port = int(self._consumer.base_url.rpartition(":")[2])
        return Target(self._server.port, port)

    def _let(self, cost: Cost, act: Callable[[], object]) -> tuple[int, int, int]:
        """Act, wait until it is digested, and note what that took."""
        before, threads = self._gauge.cpu(), self._gauge.by_thread()
        found = act()
        self.digest(delivered=False)  # what is acknowledged leaves the spool once a second
        cpu, after = self._gauge.cpu() - before, self._gauge.by_thread()
        busiest = max(seconds - threads.get(tid, 0.0) for tid, seconds in after.items())
        if cost.flood:
            cost.cpu, cost.decode = cost.cpu + cpu, cost.decode + busiest
        else:
            cost.cpu, cost.decode = max(cost.cpu, cpu), max(cost.decode, busiest)
        return found if isinstance(found, tuple) else (0, 0, 0)

    def digest(self, *, delivered: bool = True) -> None:
        """Wait until the consumer has nothing to do, and nothing in its spool if that is asked."""
        deadline = time.monotonic() + _DIGESTION
        while True:
            before = sum(self._gauge.by_thread().values())
            works = 0
            for _ in range(_LOOKS):
                time.sleep(_QUIET_SECONDS / _LOOKS)
                works += self._gauge.works()
            spent = sum(self._gauge.by_thread().values()) - before
            # A thread that ended takes its share along. One that gets no processor is at work.
            idle = abs(spent) < _QUIET_SECONDS * _QUIET_SHARE and works < _LOOKS // 2
            if idle and not (delivered and self._consumer.status()["spooled_rows"]):
                return
            assert time.monotonic() < deadline, f"not digested within {_DIGESTION:.0f} s"


@contextlib.contextmanager
def calm(directory: Path, budget: float) -> Iterator[Calm]:
    """Everything but the start of the consumer."""
    directory.mkdir(parents=True, exist_ok=True)
    zerobus = {"compact_every": 1_000_000}
    settings = {"host": {"id": HOST_ID}, **limits(budget)}
    with (
        zerobus_process(directory / "lake", **zerobus) as service,
        mosquitto(directory) as server,
        consumer(directory, configuration(directory, server.url, service, **settings)) as process,
        assailant(server.port) as somebody,
        watching() as watch,
    ):
        service.wait_ready()
        yield Calm(server, process, somebody, watch)


def each_alone(
    directory: Path,
    names: Sequence[str],
    budget: float,
    say: Callable[[str], None],
    *,
    part: float = 1.0,
    seed: int = 1,
) -> list[Cost]:
    """Every shape on a consumer with a spool of its own, which is killed and started after it.

    `part` is how much of the full size of each shape is played, of 1. Files are not kept.
    """
    costs = []
    for name in names:
        with calm(directory / name, budget) as system:
            system.start()
            cost = system.play(name, part, seed)
            system.restart(cost)
        shutil.rmtree(directory / name)
        cost.judge(budget)
        say(cost.line())
        costs.append(cost)
    return costs
