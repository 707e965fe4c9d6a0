"""All scenarios, each in two sizes: bounded for the test suite, longer for `make soak`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from faults import kills, machine, posts, records, service
from faults.rig import Size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.verdict import Verdict


class Run(Protocol):
    """A scenario: does its damage in a directory of its own, and accounts for everything."""

    def __call__(self, directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
        """Raises AssertionError when the system does not even come so far."""
        ...


class Soak(NamedTuple):
    """How a scenario grows with the seconds it is given."""

    seconds_each: float
    """About what one strike of the fault takes, recovery included."""
    least_times: int = 1
    seconds: float = 2.0
    """`Size.seconds`: how long one strike lasts."""


@dataclass(frozen=True)
class Scenario:
    """A scenario and its sizes."""

    run: Run
    bounded: Size
    soak: Soak

    def sized_for(self, seconds: float, seed: int) -> Size:
        """The size for a run of about so many seconds."""
        times = max(self.soak.least_times, round(seconds / self.soak.seconds_each))
        return replace(self.bounded, times=times, seconds=self.soak.seconds, seed=seed)


SCENARIOS = {
    "killed_consumer": Scenario(
        kills.killed_consumer, Size(times=3), Soak(seconds_each=1.5, least_times=20)
    ),
    # In the soak 20 kills in each: a burst of births, births that leave, births read back.
    "killed_among_births": Scenario(
        kills.killed_among_births, Size(times=1), Soak(seconds_each=4.0, least_times=40)
    ),
    "killed_between_pieces": Scenario(
        kills.killed_between_pieces, Size(times=2), Soak(seconds_each=4.0, least_times=20)
    ),
    "killed_between_post_and_answer": Scenario(
        posts.killed_between_post_and_answer, Size(times=4), Soak(seconds_each=2.5, least_times=20)
    ),
    "killed_zerobus": Scenario(
        kills.killed_zerobus, Size(times=3), Soak(seconds_each=1.5, least_times=20)
    ),
    "killed_broker": Scenario(
        kills.killed_broker, Size(times=2), Soak(seconds_each=2.5, least_times=20)
    ),
    "killed_primary_host": Scenario(
        machine.killed_primary_host, Size(times=1), Soak(seconds_each=2.5, least_times=10)
    ),
    "endpoint_down": Scenario(
        service.endpoint_down, Size(times=1, seconds=1.0), Soak(seconds_each=40.0, seconds=20.0)
    ),
    "silent_service": Scenario(
        service.silent_service, Size(times=1, seconds=1.0), Soak(seconds_each=65.0, seconds=60.0)
    ),
    "refused_tokens": Scenario(
        service.refused_tokens, Size(times=3), Soak(seconds_each=9.0, least_times=5)
    ),
    # Each code in mid-stream and at creation, and one of each class before them.
    "status_codes": Scenario(
        service.status_codes,
        Size(times=4, seconds=0.2),
        Soak(seconds_each=6.0, seconds=2.0, least_times=36),
    ),
    "untrusted_certificate": Scenario(
        service.untrusted_certificate,
        Size(times=1, seconds=0.8),
        Soak(seconds_each=20.0, seconds=10.0),
    ),
    "full_disk": Scenario(
        machine.full_disk,
        Size(times=1, seconds=0.5, rate=3_000),
        Soak(seconds_each=15.0, seconds=10.0),
    ),
    "damaged_batch": Scenario(
        machine.damaged_batch, Size(times=1, seconds=0.5), Soak(seconds_each=6.0, seconds=2.0)
    ),
    "damaged_page": Scenario(
        machine.damaged_page, Size(times=1, seconds=0.5), Soak(seconds_each=6.0, seconds=2.0)
    ),
    "clock_stepped_back": Scenario(
        machine.clock_stepped_back, Size(times=1), Soak(seconds_each=4.0)
    ),
    "flapping_connection": Scenario(
        machine.flapping_connection,
        Size(times=2, seconds=0.5),
        Soak(seconds_each=6.0, seconds=5.0),
    ),
    "malformed_messages": Scenario(
        records.malformed_messages,
        Size(times=9, rate=3_000, nodes=12),
        Soak(seconds_each=0.3, least_times=50),
    ),
    "poison_records": Scenario(
        records.poison_records, Size(times=6, nodes=2), Soak(seconds_each=0.7, least_times=20)
    ),
    "dropped_column": Scenario(
        records.dropped_column,
        Size(times=1, seconds=0.5),
        Soak(seconds_each=25.0, seconds=10.0),
    ),
}


def play(name: str, directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Run one scenario."""
    started = time.monotonic()
    verdict = SCENARIOS[name].run(directory, size, say)
    verdict.scenario = name
    verdict.seconds = time.monotonic() - started
    return verdict
