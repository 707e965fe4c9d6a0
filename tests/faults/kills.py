"""Scenarios in which a process dies without a word, again and again."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from support.services import wait_until

from faults.rig import Size, rig
from faults.spool_evidence import rows_of_group, wait_rows
from faults.stranger import GROUP, stranger

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


def killed_among_births(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The consumer is killed while large births come, while some leave, and while it reads them.

    The births are a stranger's. They take what births may take of the spool, so that with each
    large one others leave. In memory they have room, else they would be refused.
    """
    with rig(directory, size, say, limits={"memory": "2GiB"}) as system:
        system.configure(spool={"max_bytes": "64MiB"})
        [server] = system.consumer.configuration["servers"]
        system.consumer.configure({"servers": [{**server, "exclude": [f"{GROUP}/*"]}]})
        system.start()
        system.zerobus.fault("delay_commits", seconds=0.3)
        reasons: Counter[str] = Counter()
        fill = 0.0
        with stranger(system.server.port) as somebody:
            somebody.many(400)
            somebody.start()
            for number in range(1, size.times + 1):
                system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready again")
                somebody.wait_for(40)
                system.load_a_while(0.5)
                status = system.consumer.status()
                reasons.update(status["reasons"])
                fill = max(fill, status["spool"]["fill_ratio"])
                found = system.kill_consumer()
                say(f"kill {number} of {size.times}: {len(found.rows)} rows in the spool")
                system.consumer.start()
                if number % 2:  # once more, while it reads the births back
                    system.load_a_while(1.2)
                    system.kill_consumer()
                    system.consumer.start()
        system.zerobus.clear_faults()
        verdict = system.verdict()
        verdict.notes.append(f"{reasons['birth_not_kept']} births left, {fill:.0%} full at most")
        verdict.require(reasons["birth_not_kept"] > 0, "no births had to leave")
        verdict.require(not reasons["spool_full"], f"rows found no room: {reasons}")
        verdict.require(fill <= 1, "the file took more than spool.max_bytes")
        return verdict


def killed_between_pieces(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The consumer is killed when some pieces of a message's rows are committed, and others not.

    The message is a stranger's, whose names are long: 66 MB of rows. What the plant says meanwhile
    is as it always is.
    """
    with rig(directory, size, say) as system:
        system.strangers = GROUP
        system.start()
        system.zerobus.fault("delay_commits", seconds=0.5)
        torn = 0
        with stranger(system.server.port) as somebody:
            for number in range(1, size.times + 1):
                system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready again")
                somebody.giant_birth()
                begin = int(time.time() * 1000) / 1000
                whole = somebody.giant_data()
                wait_rows(system.spool, whole // 4, begin)
                system.kill_consumer()
                there = rows_of_group(system.spool, GROUP, "NDATA", begin)
                torn += 0 < there < whole
                say(f"kill {number} of {size.times}: {there} of {whole} rows in the spool")
                system.consumer.start()
        system.zerobus.clear_faults()
        verdict = system.verdict()
        verdict.notes.append(f"{torn} of {size.times} kills were between pieces")
        verdict.require(torn, "no kill was between the pieces of a message")
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
