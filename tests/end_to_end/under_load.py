"""Simulated gateways that keep account, and the comparison of their ledger with the table."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from support.arrival_numbers import counted
from support.services import PATIENCE, wait_until

from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget, Published

if TYPE_CHECKING:
    from collections.abc import Iterator

    from end_to_end.consumer_process import ConsumerProcess
    from end_to_end.world import World


@contextlib.contextmanager
def fleet_for(system: World, rate: float = 2_000.0) -> Iterator[Gateways]:
    """Two gateways that wait for the consumer, and repeat what may have been lost on the way."""
    fleet = Gateways(
        MqttTarget(system.server.url),
        2,
        rate,
        options=EdgeNodeOptions(primary_host_id="historian", rolling_history_ms=20_000),
        ledger=Published(),
    )
    fleet.start()
    try:
        yield fleet
    finally:
        assert fleet.stop(PATIENCE)


def wait_for_load(
    system: World, fleet: Gateways, values: int = 3_000, also: ConsumerProcess | None = None
) -> None:
    """Wait until so many more values were published, and as many rows acknowledged.

    To the consumer of the system, and to another one that is to land them, too.
    """
    processes = [each for each in (system.consumer, also) if each]
    goals = [each.status()["rows_acked"] + values for each in processes]
    published = fleet.published + values
    wait_until(lambda: fleet.published >= published, what=f"{values} values published")
    for process, goal in zip(processes, goals, strict=True):
        process.wait_for(
            lambda each=process, most=goal: each.status()["rows_acked"] >= most,
            f"{values} rows acknowledged",
        )


def wait_quiet(fleet: Gateways) -> None:
    """Let nothing change any more, and wait until all that did is with the server."""
    fleet.pause()
    wait_until(lambda: fleet.quiet and not fleet.stored, what="gateways that pause")


def known_ids(fleet: Gateways) -> set[str]:
    """All event_ids that may have come of what was published."""
    return fleet.ledger.event_ids | fleet.ledger.births


def assert_nothing_lost(system: World, fleet: Gateways) -> None:
    """Everything published landed, nothing else did, and a row that landed twice is one row."""
    assert fleet.wait_online(PATIENCE)
    wait_quiet(fleet)
    ledger = fleet.ledger
    wait_until(lambda: not ledger.missing(system.table.ids_of_values()), what="everything landed")
    system.consumer.wait_delivered()

    assert fleet.dropped == 0
    assert system.table.ids_of_values() <= known_ids(fleet)
    numbers = Counter(system.table.values("arrival_number"))
    # No number is missing: nothing that was received, and numbered, was lost afterwards.
    spool = Path(system.consumer.configuration["spool"]["path"])
    assert counted(numbers, spool) == list(range(1, len(numbers) + 1))
    # Rows of one number were sent again because no acknowledgement came: all are equal.
    again = system.table.rows(arrival_number=[each for each in numbers if numbers[each] > 1])
    by_number = {row["arrival_number"]: row for row in again}
    assert all(by_number[row["arrival_number"]] == row for row in again)
