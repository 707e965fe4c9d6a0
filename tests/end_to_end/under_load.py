"""Simulated gateways that keep account, and the comparison of their ledger with the table."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from support.services import wait_until

from consumer.simulator import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from end_to_end.world import World


@contextlib.contextmanager
def fleet_for(system: World, rate: float = 2_000.0) -> Iterator[Fleet]:
    """Two gateways that wait for the consumer, and repeat what may have been lost on the way."""
    fleet = Fleet(
        system.server.url, 2, rate, primary_host_id="historian", rolling_history_ms=20_000
    )
    fleet.start()
    try:
        yield fleet
    finally:
        assert fleet.stop()


def wait_for_load(system: World, fleet: Fleet, values: int = 3_000) -> None:
    """Wait until so many more values were published, and as many rows acknowledged."""
    published = fleet.published
    acknowledged = system.consumer.status()["rows_acked"]
    system.consumer.wait_for(
        lambda: (
            fleet.published - published >= values
            and system.consumer.status()["rows_acked"] - acknowledged >= values
        ),
        f"{values} values on their way",
    )


def known_ids(fleet: Fleet) -> set[str]:
    """All event_ids that may have come of what was published."""
    return fleet.ledger.event_ids.union(*fleet.ledger.births)


def assert_nothing_lost(system: World, fleet: Fleet) -> None:
    """Everything published landed, nothing else did, and a row that landed twice is one row."""
    assert fleet.wait_online()
    wait_until(lambda: fleet.stored == 0, 20, "empty stores")
    fleet.pause()
    # A pause takes effect between two rounds of changes.
    counts: list[int] = []
    wait_until(lambda: counts.append(fleet.published) or counts[-20:-19] == counts[-1:], 20)
    ledger = fleet.ledger
    wait_until(lambda: not ledger.missing(system.table.ids_of_values()), 20, "everything landed")
    system.consumer.wait_delivered()

    assert fleet.dropped == 0
    assert system.table.ids_of_values() <= known_ids(fleet)
    rows = system.table.rows()
    by_number = {row["arrival_number"]: row for row in rows}
    # Rows of one number were sent again because no acknowledgement came: all are equal.
    assert all(by_number[row["arrival_number"]] == row for row in rows)
    # No number is missing: nothing that was received, and numbered, was lost afterwards.
    assert sorted(by_number) == list(range(1, len(by_number) + 1))
