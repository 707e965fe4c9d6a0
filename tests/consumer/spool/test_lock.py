"""A spool has one consumer, whatever name it opens it by, and touches no files of others."""

import contextlib
import logging
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.spooled_rows import TABLE, rows_of

from consumer.errors import SpoolError, SpoolLocked
from consumer.spool import Spool, balance_of_file, holder_of

MIB = 1 << 20
READ = """if True:
    import sqlite3, sys
    other = sqlite3.connect(sys.argv[1])
    print(other.execute("SELECT count(*) FROM batches").fetchone()[0])
    other.close()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "spool.db"


@pytest.fixture
def spool(path):
    with contextlib.closing(Spool.open(path, sync="off", reserve_bytes=0)) as opened:
        yield opened


class TestOneConsumer:
    @pytest.mark.usefixtures("spool")
    @pytest.mark.parametrize("other", ["link", "linked directory", "hard link", "no lock file"])
    def test_a_second_one_is_told_who_has_the_file(self, tmp_path, path, other):
        names = {
            "link": tmp_path / "link.db",
            "linked directory": tmp_path / "linked" / "spool.db",
            "hard link": tmp_path / "hard.db",
            "no lock file": path,
        }
        (tmp_path / "link.db").symlink_to(path)
        (tmp_path / "linked").symlink_to(path.parent)
        (tmp_path / "hard.db").hardlink_to(path)
        if other == "no lock file":
            path.with_name("spool.db.lock").unlink()
        who = rf"is in use by another consumer \(process {os.getpid()}\)"
        for _ in range(2):  # the first one has made a lock file where there was none
            with pytest.raises(SpoolLocked, match=who):
                Spool.open(names[other])

    def test_what_belongs_to_a_spool_lies_beside_the_file_that_a_link_leads_to(
        self, tmp_path, path
    ):
        path.parent.mkdir()
        (tmp_path / "link.db").symlink_to(path)
        with contextlib.closing(Spool.open(tmp_path / "link.db", reserve_bytes=MIB)) as spool:
            spool.schemas.register(b"descriptor")
            beside = {"", "-wal", "-shm", ".lock", ".reserve"}
            assert {each.name for each in path.parent.iterdir()} == {
                f"spool.db{suffix}" for suffix in beside
            }
        assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["link.db"]
        assert balance_of_file(tmp_path / "link.db").balanced

    def test_a_file_that_replaces_a_damaged_one_is_locked_as_well(self, path):
        with contextlib.closing(Spool.open(path, sync="off", reserve_bytes=0)) as spool:
            spool.append(TABLE, rows_of("a"), schema_id=spool.schemas.register(b"descriptor"))
        with path.open("r+b") as file:
            file.seek(16384)
            file.write(b"\xff" * 16384)
        path.with_name("spool.db.check").touch()
        with contextlib.closing(Spool.open(path, sync="off", reserve_bytes=0)) as spool:
            assert spool.salvage is not None
            path.with_name("spool.db.lock").unlink()
            with pytest.raises(SpoolLocked):
                Spool.open(path)
        Spool.open(path, reserve_bytes=0).close()

    def test_the_locks_of_sqlite_hold_while_other_programs_read(self, spool, path):
        spool.append(TABLE, rows_of("a"), schema_id=spool.schemas.register(b"descriptor"))
        log = path.with_name("spool.db-wal").stat().st_ino
        path.with_name("spool.db.lock").unlink()
        with pytest.raises(SpoolLocked):
            Spool.open(path)
        # Whoever believes to be the last one that has the file open deletes the log.
        code = [sys.executable, "-c", READ, str(path)]
        assert subprocess.run(code, capture_output=True, check=True).stdout == b"1\n"
        assert path.with_name("spool.db-wal").stat().st_ino == log

    def test_who_has_a_file_is_known_without_opening_it(self, tmp_path, path):
        (tmp_path / "link.db").symlink_to(path)
        assert holder_of(path) == ""
        with contextlib.closing(Spool.open(path, reserve_bytes=0)):
            assert holder_of(path) == holder_of(tmp_path / "link.db") == str(os.getpid())
        assert holder_of(path) == ""


class TestForeignFiles:
    @pytest.mark.parametrize("suffix", [".lock", ".reserve", ".check", "-wal"])
    @pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory", "socket"])
    def test_what_is_no_file_is_not_opened(self, tmp_path, path, suffix, kind):
        path.parent.mkdir()
        file = path.with_name(path.name + suffix)
        foreign = tmp_path / "foreign"
        if kind == "link":
            foreign.write_bytes(b"theirs")
        if kind in ("link", "dangling link"):
            file.symlink_to(foreign)
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "directory":
            file.mkdir()
        else:
            with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
                listener.bind(file.name)
        what = "is a symbolic link, which is not followed" if "link" in kind else "is no file"
        with pytest.raises(SpoolError, match=f"{suffix} {what}: move it away"):
            Spool.open(path, reserve_bytes=MIB)
        assert not foreign.exists() or foreign.read_bytes() == b"theirs"
        assert foreign.exists() == (kind == "link")

    @pytest.mark.parametrize("suffix", [".lock", ".reserve"])
    def test_a_file_with_another_name_is_not_written(self, tmp_path, path, suffix):
        path.parent.mkdir()
        foreign = tmp_path / "foreign"
        foreign.write_bytes(b"theirs")
        path.with_name(path.name + suffix).hardlink_to(foreign)
        with pytest.raises(SpoolError, match=rf"{suffix} has another name as well \(a hard link\)"):
            Spool.open(path, reserve_bytes=MIB)
        assert foreign.read_bytes() == b"theirs"

    @pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
    def test_a_reserve_that_is_taken_later_is_not_taken_from_others(
        self, tmp_path, path, caplog, link
    ):
        foreign = tmp_path / "foreign"
        foreign.write_bytes(b"theirs")
        with contextlib.closing(Spool.open(path, reserve_bytes=MIB)) as spool:
            reserve = path.with_name("spool.db.reserve")
            assert spool._quota.reserve.give_up()
            link(reserve, foreign)
            spool.trim([])
            assert spool.stats().disk_is_full
            assert "no reserve for the spool: " in caplog.text
            reserve.unlink()
            spool.trim([])
            assert not spool.stats().disk_is_full
        assert foreign.read_bytes() == b"theirs"

    def test_a_mark_is_not_left_in_a_file_of_others(self, tmp_path, path):
        with contextlib.closing(Spool.open(path, reserve_bytes=0)) as spool:
            spool.append(TABLE, rows_of("a"), schema_id=spool.schemas.register(b"descriptor"))
            path.with_name("spool.db.check").symlink_to(tmp_path / "foreign")
            spool._db.execute("DELETE FROM batches")
            spool._db.execute("PRAGMA writable_schema = ON")
            with contextlib.suppress(SpoolError), spool._file.locked():
                raise_corrupt()
            assert spool.health.damage is not None
        assert not (tmp_path / "foreign").exists()


def raise_corrupt():
    error = sqlite3.DatabaseError("malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    raise error


class TestPrivacy:
    def test_a_spool_that_others_may_read_is_made_private_with_its_log(self, path):
        with contextlib.closing(Spool.open(path, reserve_bytes=0)) as spool:
            spool.append(TABLE, rows_of("a"), schema_id=spool.schemas.register(b"descriptor"))
        path.chmod(0o644)
        with contextlib.closing(sqlite3.connect(path)) as other:  # makes a log for all to read
            other.execute("UPDATE state SET value = 1")
            other.commit()
            assert path.with_name("spool.db-wal").stat().st_mode & 0o777 == 0o644
            with contextlib.closing(Spool.open(path, reserve_bytes=0)):
                for suffix in ("", "-wal", "-shm"):
                    mode = path.with_name(path.name + suffix).stat().st_mode
                    assert mode & 0o777 == 0o600, suffix

    def test_another_programs_file_keeps_its_mode(self, path):
        path.parent.mkdir()
        path.write_bytes(b"x" * 5000)
        path.chmod(0o644)
        with pytest.raises(SpoolError, match="not an SQLite file"):
            Spool.open(path)
        assert path.stat().st_mode & 0o777 == 0o644


def test_rows_wait_while_another_program_writes_into_the_file(spool, path, caplog):
    schema_id = spool.schemas.register(b"descriptor")
    spool._file.connection.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    class Ends(logging.Filter):
        """The other program ends when it has been waited for once, and not before."""

        def filter(self, _):
            other.execute("ROLLBACK")
            return True

    with contextlib.closing(other), caplog.filtering(Ends()):
        assert spool.append(TABLE, rows_of("a", "b", "c"), schema_id=schema_id).batch_id == 1
    assert spool.stats().rows == 3


def test_who_keeps_the_file_locked_for_too_long_is_told_of(spool, path, caplog):
    schema_id = spool.schemas.register(b"descriptor")
    spool._file.connection.execute("PRAGMA busy_timeout = 20")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolLocked, match="another program keeps the spool"):
            spool.append(TABLE, rows_of("a", "b", "c"), schema_id=schema_id)
    assert caplog.text.count("until then rows wait") == 5
