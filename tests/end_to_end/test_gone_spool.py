"""The spool's file is deleted or replaced under a running consumer: it ends, and says so."""

from __future__ import annotations

import math

import pytest
from support.arrival_numbers import counted
from support.peer import PeerType

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import World, world

_ROWS = 5
_STRANGERS = b"belongs to somebody else\n" * 1000


def files(path):
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def spool_rows(system: World) -> None:
    """Let some rows wait in the spool, one batch each, and nothing be acknowledged."""
    system.consumer.start_ready()
    system.zerobus.faults.delay_commits(math.inf)
    gateway = Gateway(system.publish, "Plant")
    gateway.born(metric("Level", PeerType.INT32, 0))
    for number in range(1, _ROWS):
        gateway.data(metric("Level", PeerType.INT32, number, MEASURED_MS + number))
    system.consumer.wait_for(
        lambda: system.consumer.status()["spooled_rows"] == _ROWS, "rows in the spool"
    )


def wait_unwell(system: World) -> str:
    """Wait until the health is 503, and return what it says."""
    answers = []

    def is_unwell():
        answers.append(system.consumer.get("/healthz"))
        return answers[-1].status_code == 503

    system.consumer.wait_for(is_unwell, "503")
    return answers[-1].json()["failure"]


def test_what_is_committed_is_delivered_from_a_file_that_was_deleted(tmp_path):
    with world(tmp_path, spool={"path": str(tmp_path / "own" / "spool.db")}) as system:
        spool_rows(system)
        for each in files(tmp_path / "own" / "spool.db"):
            each.unlink()
        failure = wait_unwell(system)
        assert f"the spool {tmp_path}/own/spool.db was deleted while it was in use" in failure
        system.zerobus.faults.clear()
        assert system.consumer.wait_end() == 1
        assert len(set(system.table.event_ids())) == _ROWS
        log = system.consumer.log()
        assert "0 rows were committed and not acknowledged, and are lost: the spool" in log
        assert "sent by the next run" not in log
        assert "does not add up" not in log
        assert "Traceback" not in log
        assert {each.name for each in (tmp_path / "own").iterdir()} == {
            "spool.db.lock",
            "spool.db.reserve",
        }


@pytest.mark.parametrize("what", ["file", "log", "directory"])
def test_what_is_put_in_the_spools_place_is_left_alone(tmp_path, what):
    directory = tmp_path / "own"
    path = directory / "spool.db"
    with world(tmp_path, spool={"path": str(path)}, shutdown_timeout="0s") as system:
        spool_rows(system)
        if what == "directory":
            directory.rename(tmp_path / "away")
            directory.mkdir()
        strangers = files(path)[1:] if what == "log" else files(path)
        for each in strangers:
            foreign = tmp_path / "foreign"
            foreign.write_bytes(_STRANGERS)
            foreign.replace(each)
        assert system.consumer.wait_end() == 1
        log = system.consumer.log()
        assert "was replaced by another file while it was in use" in log
        assert f"{_ROWS} rows were committed and not acknowledged, and are lost" in log
        for each in strangers:
            assert each.read_bytes() == _STRANGERS


def test_rows_whose_log_was_deleted_are_kept_for_the_next_run(tmp_path):
    path = tmp_path / "own" / "spool.db"
    with world(tmp_path, spool={"path": str(path)}, shutdown_timeout="0s") as system:
        spool_rows(system)
        path.with_name("spool.db-wal").unlink()
        assert system.consumer.wait_end() == 1
        log = system.consumer.log()
        assert "spool.db-wal was deleted while it was in use" in log
        assert f"{_ROWS} rows remain in the spool and are sent by the next run" in log
        system.zerobus.faults.clear()
        system.consumer.start_ready()
        system.consumer.wait_delivered()
        numbers = counted(system.table.values("arrival_number"), path)
        assert set(numbers) == set(range(1, _ROWS + 1))
        assert system.consumer.status()["ledger"]["balanced"]
        assert system.consumer.stop() == 0
