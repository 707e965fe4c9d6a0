"""The spool's file is damaged on the disk: the consumer ends, and the next run saves the rest."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from support.arrival_numbers import counted
from support.peer import PeerType

from consumer.spool.layout import PAGE_BYTES
from end_to_end.consumer_process import TABLE
from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import world

_BATCHES = 30


def break_a_chain(path) -> int:
    """Damage the pages of one batch in the middle, so that it shows when they are read."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            pages = db.execute(
                "SELECT pageno, path FROM dbstat WHERE name = 'batches' AND pagetype = 'overflow'"
            ).fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    chains = {path.partition("+")[0] for _, path in pages if path.endswith("+000001")}
    first = [page for page, path in pages if path.endswith("+000000") and path[:-7] in chains]
    with path.open("r+b") as file:
        file.seek((first[len(first) // 2] - 1) * PAGE_BYTES)
        file.write(b"\x7f\xff\xff\xff")  # the number of the next page
    return len(pages)


def test_a_damaged_spool_ends_the_run_and_the_next_one_lands_what_can_be_read(tmp_path):
    with world(tmp_path, shutdown_timeout="0s") as system:
        system.zerobus.faults.fail_creation("UNAVAILABLE", times=None)
        system.consumer.start()
        system.consumer.wait_for(
            lambda: system.consumer.status()["servers"][0]["connected"], "a connection"
        )
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Recipe", PeerType.STRING, "first"))
        for number in range(1, _BATCHES):
            # Many kilobytes that do not repeat, so that a batch has pages of its own.
            text = f"{number}:" + "".join(f"{number * each:x}" for each in range(20_000))
            gateway.data(metric("Recipe", PeerType.STRING, text, MEASURED_MS + number))
            system.consumer.wait_for(
                lambda count=number + 1: system.consumer.status()["spooled_rows"] == count,
                "a batch of its own",
            )
        assert system.consumer.stop() == 0
        spool = tmp_path / "spool.db"
        assert break_a_chain(spool) > _BATCHES

        system.zerobus.faults.clear()
        system.consumer.start()
        assert system.consumer.wait_end() == 1
        assert "is damaged" in system.consumer.log()
        assert "start again, which sets the file aside" in system.consumer.log()
        assert "Traceback" not in system.consumer.log()

        system.consumer.start_ready()
        system.consumer.wait_delivered()
        salvage = system.consumer.status()["spool"]["salvage"]
        lost = salvage["rows_lost"] + salvage["rows_set_aside"]
        assert 0 < lost < 15
        assert salvage["rows_saved"] == _BATCHES - lost
        assert f"{salvage['rows_lost']} rows are lost" in system.consumer.log()
        if salvage["rows_lost"]:
            dropped = 'sparkplug_zerobus_rows_dropped_total{reason="spool_damaged"}'
            assert system.consumer.metric(dropped) == salvage["rows_lost"]
        assert system.consumer.metric("sparkplug_zerobus_spool_damaged_files") == 1
        ledger = system.consumer.status()["ledger"]
        assert ledger["balanced"]
        dropped_rows = ledger["rows"][TABLE]["dropped_by_reason"].get("spool_damaged", 0)
        assert dropped_rows == salvage["rows_lost"]
        landed = system.table.rows()
        assert len({row["event_id"] for row in landed}) == _BATCHES - lost

        # And the plant is known as before: data by the birth that was kept.
        gateway.data(metric("Recipe", PeerType.STRING, "last", MEASURED_MS + 99))
        [row] = system.table.wait_for(1, string_value="last")
        assert counted([row["arrival_number"]], spool) == [_BATCHES + 1]
        assert system.consumer.stop() == 0
