"""Scenarios in which the machine fails the consumer: network, clock, disk."""

from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.services import wait_until
from support.small_disk import small_disk

from faults.damage import damage_batch, damage_page
from faults.rig import Size, rig
from faults.spool_evidence import values_without_birth
from faults.tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.verdict import Verdict

_CLOCK = Path(__file__).with_name("clock")
_HOUR = 3600.0
_MIB = 1 << 20
_DISK_MIB = 320
_PAGES = ("batches", "batches_by_table", "state", "births")


def flapping_connection(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The consumer's connection to the MQTT server is cut, again and again."""
    with (
        rig(directory, size, say) as system,
        tcp_proxy(system.server.port) as proxy,
    ):
        system.reach_broker_over(proxy)
        system.start()
        for number in range(1, size.times + 1):
            system.load_a_while(size.seconds)
            connections = system.consumer.status()["servers"][0]["connections"]
            proxy.cut()
            say(f"cut {number} of {size.times}")

            def is_back(before: int = connections) -> bool:
                server = system.consumer.status()["servers"][0]
                return bool(server["connected"]) and server["connections"] > before

            system.consumer.wait_for(is_back, "connected again")
        return system.verdict()


def clock_stepped_back(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The consumer's clock goes back by an hour while it runs, and stays there when it dies.

    The edge nodes name it as their primary host: they believe only a STATE with a later time.
    """
    offset = directory / "clock"
    directory.mkdir(parents=True, exist_ok=True)
    offset.write_bytes(struct.pack("<d", 0.0))
    path = os.pathsep.join([str(_CLOCK), os.environ.get("PYTHONPATH", "")])
    environ = {"FAULTS_CLOCK": str(offset), "PYTHONPATH": path.rstrip(os.pathsep)}
    with rig(directory, size, say, environ=environ, load={"store_and_forward": True}) as system:
        system.start()
        for number in range(1, size.times + 1):
            with offset.open("r+b") as shared:
                shared.write(struct.pack("<d", -_HOUR * number))
            say(f"step {number} of {size.times}")
            # The metric is a wall-clock time of the consumer's, so it shows that the step is seen.
            system.consumer.wait_for(
                lambda hours=number: (
                    0
                    < system.consumer.metric(
                        "sparkplug_zerobus_last_acknowledgement_timestamp_seconds"
                    )
                    < time.time() - (hours - 0.5) * _HOUR
                ),
                "rows acknowledged an hour ago",
            )
            system.load(0.3)
            system.kill_consumer()
            wait_until(lambda: system.plant.online == 0, what="the edge nodes wait for their host")
            system.consumer.start()
            system.plant.wait_online()
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict


def killed_primary_host(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The consumer is killed, and edge nodes that name it as their primary host keep their data."""
    with rig(directory, size, say, load={"store_and_forward": True}) as system:
        system.start()
        for number in range(1, size.times + 1):
            system.load_a_while(0.6)
            found = system.kill_consumer()
            say(f"kill {number} of {size.times}: {len(found.rows)} rows in the spool")
            wait_until(lambda: system.plant.online == 0, what="the edge nodes wait for their host")
            system.load_a_while(0.3)
            system.consumer.start()
            system.plant.wait_online()
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict


def _fill(disk: Path, leave: int) -> Path:
    """Let a file take what is free, but for so many bytes or less.

    The consumer writes meanwhile: what it takes is not there any more for the last piece. Then
    less is left than was to be, and the disk is full all the same. Nothing is taken of what it
    frees meanwhile, its reserve.
    """
    other = disk / "other"
    found = os.statvfs(disk)
    size = found.f_bavail * found.f_frsize - leave
    with other.open("wb") as file:
        for start in range(0, size, leave):
            try:
                os.posix_fallocate(file.fileno(), start, min(leave, size - start))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
    return other


def full_disk(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """The disk of the spool is full while Zerobus is away; what finds no room is counted."""
    with (
        small_disk(directory, _DISK_MIB) as disk,
        rig(directory, size, say, spool={"path": str(disk.path / "spool.db")}) as system,
    ):
        system.start()
        for number in range(1, size.times + 1):
            dropped = system.consumer.status()["rows_dropped"]
            system.zerobus.fault("delay_commits", seconds=1e6)
            other = _fill(disk.path, _MIB)
            system.consumer.wait_for(
                lambda before=dropped: system.consumer.status()["rows_dropped"] > before,
                "rows without room",
            )
            system.load(size.seconds)
            status = system.consumer.status()
            assert system.consumer.get("/healthz").status_code == 200
            assert status["reasons"]["spool_full"] > 0
            say(
                f"{number} of {size.times}: {status['rows_dropped']} rows dropped, "
                f"{status['spooled_rows']} wait"
            )
            # Zerobus is back, the disk is still full: what is acknowledged makes room.
            landed = system.landed_rows()
            system.zerobus.clear_faults()
            system.consumer.wait_for(
                lambda before=landed: system.landed_rows() > before + 1_000, "rows again"
            )
            other.unlink()
            reserve = system.spool.with_name(system.spool.name + ".reserve")
            system.consumer.wait_for(reserve.exists, "the reserve taken again")
        verdict = system.verdict()
        verdict.require(verdict.lost <= system.dropped, "not all that was lost was counted")
        verdict.notes.append(f"{system.dropped} rows were counted as dropped")
        return verdict


def damaged_batch(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Bytes of a batch change on the disk: it is reported and set aside, the others land."""
    with rig(directory, size, say, shutdown_timeout="100ms") as system:
        system.start()
        for number in range(1, size.times + 1):
            system.zerobus.kill()  # so that nothing of it has landed already
            system.load(size.seconds)
            system.stop_quietly()
            system.note_committed()
            batch_id, ids = damage_batch(system.spool, system.table.ids_of_values())
            system.give_up(ids)
            system.zerobus.start()
            system.consumer.start_ready()
            system.consumer.wait_for_log(
                f"spooled batch {batch_id} ({len(ids)} rows for main.plant.tag_events) is damaged "
                "and was set aside"
            )
            say(f"{number} of {size.times}: batch {batch_id} with {len(ids)} rows")
            system.plant.resume()
            system.wait_landing()
        verdict = system.verdict()
        dead = system.dead_letters()
        verdict.require(
            [each.reason for each in dead] == ["damaged"] * size.times,
            f"the dead letters are {dead}",
        )
        verdict.require(
            verdict.lost_no_more_than(system.destroyed),
            "more was lost than the rows of the damaged batches",
        )
        return verdict


def damaged_page(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """A page of the spool's file is destroyed: the consumer keeps the file, and goes on.

    What can be read of it lands; what cannot is lost, and nothing else. Where births are lost,
    edge nodes are asked for them when they speak; what they say by alias until these come is a
    dead letter each, and how much that is depends on how fast they speak.
    """
    with rig(directory, size, say, shutdown_timeout="100ms") as system:
        system.start()
        unseen: dict[tuple[str, bytes], int] = {}
        for number in range(1, size.times + 1):
            of = _PAGES[(number - 1) % len(_PAGES)]
            system.zerobus.kill()
            system.load(size.seconds)
            system.stop_quietly()
            rows = system.note_committed().rows
            damage_page(system.spool, of)
            system.zerobus.start()
            system.consumer.start_ready()
            log = system.consumer.log()
            assert "the damaged spool is kept as" in log, log
            say(f"{number} of {size.times}: a page of {of}, {len(rows)} rows waited")
            for file in system.spool.parent.glob(f"{system.spool.name}.damaged-*"):
                file.unlink()  # with three of them it would not start any more
            system.begin_anew()
            system.plant.resume()
            system.wait_landing()
            unseen |= values_without_birth(system.spool)
        verdict = system.verdict()
        beyond, allowed = verdict.lost_beyond(system.destroyed), sum(unseen.values())
        verdict.require(
            beyond <= allowed,
            f"{beyond} values are lost that were not in the spool, and {allowed} are dead letters",
        )
        verdict.notes.append(f"{allowed} values by aliases of births that were destroyed")
        return verdict
