"""Scenarios in which a process dies without a word, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.services import wait_until

from faults.rig import Size, rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.verdict import Verdict


def killed_consumer(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The consumer is killed at random moments: while it works, and while it starts."""
    with rig(directory, size, say) as system:
        # A slow service, and one call at a time: at each kill there are rows in the spool of
        # which nothing has been sent.
        system.configure(zerobus={"batch": {"max_delay": "50ms", "max_inflight": 1}})
        system.start()
        system.zerobus.fault("delay_commits", seconds=0.3)
        caught = 0
        for number in range(1, size.times + 1):
            if number % 2:
                system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready again")
                system.load_a_while(0.9)
            else:
                system.load(0.6)
                system.load_a_while(0.9)
            found = system.kill_consumer()
            caught += len(found.rows)
            say(f"kill {number} of {size.times}: {len(found.rows)} rows in the spool")
            system.consumer.start()
        system.zerobus.clear_faults()
        verdict = system.verdict()
        verdict.notes.append(f"{caught} rows were in the spool at the kills")
        verdict.require(
            not verdict.lost or system.plant.rebirths, "nobody was asked for what was lost"
        )
        return verdict


def killed_zerobus(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The Zerobus server is killed under load and comes back at once: nothing is lost."""
    with rig(directory, size, say) as system:
        system.start()
        for number in range(1, size.times + 1):
            system.load_a_while(0.8)
            system.zerobus.kill()
            say(f"kill {number} of {size.times}")
            system.zerobus.start()
            system.wait_landing()
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict


def killed_broker(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The MQTT server is killed under load: what it took along shows as broken sessions."""
    with rig(directory, size, say) as system:
        system.start()
        for number in range(1, size.times + 1):
            system.load_a_while(0.8)
            system.server.kill()
            say(f"kill {number} of {size.times}")
            wait_until(lambda: system.plant.connected == 0, what="the edge nodes notice")
            system.server.restart()
            system.wait_landing()
        return system.verdict()
