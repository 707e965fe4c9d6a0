"""The spool's disk is full, also for a run that starts: what is committed is delivered."""

from __future__ import annotations

import math
import random
import signal

import pytest
from faults.spool_evidence import evidence
from support.peer import PeerType
from support.services import wait_until
from support.small_disk import small_disk

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import World, world

_CHANCE = random.Random(11)


class Node:
    """An edge node with one metric whose values cannot be compressed to less than half."""

    def __init__(self, system: World) -> None:
        self.count = 0
        self._gateway = Gateway(system.publish, "Plant", "A")

    def born(self) -> None:
        self._gateway.born(self._next())

    def change(self) -> None:
        self._gateway.data(self._next())

    def _next(self):
        self.count += 1
        text = _CHANCE.randbytes(1 << 18).hex()
        return metric("Recipe", PeerType.STRING, text, MEASURED_MS + self.count)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("reserve", ["kept", "spent"])
def test_a_start_on_a_full_disk_delivers_what_is_committed(tmp_path, end, reserve):
    with (
        small_disk(tmp_path, 96) as disk,
        world(
            tmp_path, spool={"path": str(disk.path / "spool.db")}, shutdown_timeout="0s"
        ) as system,
    ):
        consumer, spool = system.consumer, disk.path / "spool.db"
        consumer.start_ready()
        node = Node(system)
        node.born()
        system.table.wait_for(1)
        consumer.wait_delivered()
        system.zerobus.faults.delay_commits(math.inf)
        while consumer.status()["spooled_rows"] < 20:
            node.change()
        if reserve == "spent":
            spool.with_name("spool.db.reserve").unlink()
        with disk.filled() as filler:
            while not consumer.status()["spool"]["overflow"]["full"]:
                node.change()
            assert consumer.stop(end) == (0 if end == signal.SIGTERM else -end)
            committed = evidence(spool)
            assert len(committed.rows) >= 20

            system.zerobus.faults.clear()
            consumer.start_ready()
            wait_until(
                lambda: set(committed.rows.values()) <= set(system.table.event_ids()),
                what="what was committed is in the table",
            )
            consumer.wait_for(lambda: consumer.status()["spooled_rows"] == 0, "acknowledged")
            assert consumer.get("/healthz").status_code == 200
            status = consumer.status()
            assert status["ledger"]["balanced"]
            assert status["rows_sent"] == status["rows_acked"] == len(committed.rows)
            filler.free()
        disk.enlarge(256)
        node.born()
        consumer.wait_for(spool.with_name("spool.db.reserve").exists, "the reserve taken again")
        consumer.wait_for(lambda: consumer.status()["spool"]["reserve_missing"] is False, "room")
        consumer.wait_delivered()
        ledger = consumer.status()["ledger"]
        assert ledger["balanced"]
        assert consumer.stop() == 0
        assert "Traceback" not in consumer.log()
        assert evidence(spool).rows == {}


def test_without_a_byte_rows_are_delivered_once_and_deleted_when_there_is_room(tmp_path):
    """Others filled the disk between two runs: there is no room for a log, and no reserve."""
    with (
        small_disk(tmp_path, 96) as disk,
        world(
            tmp_path, spool={"path": str(disk.path / "spool.db")}, shutdown_timeout="0s"
        ) as system,
    ):
        consumer, spool = system.consumer, disk.path / "spool.db"
        system.zerobus.faults.fail_creation("UNAVAILABLE", times=None)
        consumer.start()
        consumer.wait_for(lambda: consumer.status()["servers"][0]["connected"], "a connection")
        node = Node(system)
        node.born()
        node.change()
        consumer.wait_for(lambda: consumer.status()["spooled_rows"] == 2, "rows in the spool")
        assert consumer.stop() == 0
        spool.with_name("spool.db.reserve").unlink()
        with disk.filled() as filler:
            system.zerobus.faults.clear()
            for end in (signal.SIGTERM, signal.SIGKILL):
                consumer.start_ready()
                consumer.wait_for(lambda: consumer.status()["rows_acked"] == 2, "delivered")
                consumer.wait_for(lambda: consumer.status()["spooled_rows"] == 0, "acknowledged")
                node.born()
                consumer.wait_for(lambda: consumer.reasons().get("spool_full"), "refused")
                status = consumer.status()
                assert status["spool"]["reserve_missing"]
                assert status["ledger"]["balanced"]
                assert status["rows_sent"] == 2
                assert consumer.get("/healthz").status_code == 200
                assert consumer.log().count("What Zerobus acknowledges stays in the file") == 1
                assert consumer.stop(end) == (0 if end == signal.SIGTERM else -end)
                if end == signal.SIGTERM:
                    assert "2 acknowledged rows could not be deleted" in consumer.log()
                    assert "0 rows remain in the spool" in consumer.log()
                assert "Traceback" not in consumer.log()
                assert len(evidence(spool).rows) == 2
            consumer.start_ready()
            consumer.wait_for(lambda: consumer.status()["rows_acked"] == 2, "delivered")
            filler.free()
        consumer.wait_for_log("all acknowledged batches are deleted from the spool now")
        node.born()
        system.table.wait_for(7)  # two of them three times
        consumer.wait_delivered()
        assert consumer.status()["ledger"]["balanced"]
        assert consumer.stop() == 0
        assert evidence(spool).rows == {}
