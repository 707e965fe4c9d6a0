"""A spool whose files are deleted or replaced while they are open."""

import contextlib
import sqlite3

import pytest
from support.spooled_rows import TABLE, rows_of, texts_in

from consumer.errors import SpoolFileGone
from consumer.spool import Spool

SUFFIXES = ("", "-wal", "-shm")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "spool.db"


@pytest.fixture
def spool(path):
    with contextlib.closing(Spool.open(path, sync="off", reserve_bytes=0)) as opened:
        yield opened


@pytest.fixture
def schema_id(spool):
    return spool.schemas.register(b"descriptor")


def test_a_spool_whose_files_are_all_there_is_not_gone(spool, path, schema_id):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    spool.health.look_at_files()
    with contextlib.suppress(PermissionError):
        path.parent.chmod(0)  # what cannot be seen is not gone
        spool.health.look_at_files()
    path.parent.chmod(0o700)
    spool._quota.pages.cut_log_back()
    spool.health.look_at_files()
    assert spool.health.gone is None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["deleted", "replaced by another file", "replaced by a link"])
def test_each_of_the_files_is_missed(spool, tmp_path, path, suffix, how):
    spool.append(TABLE, rows_of("a"), schema_id=spool.schemas.register(b"descriptor"))
    file = path.with_name(path.name + suffix)
    if how == "replaced by a link":
        file.rename(tmp_path / "moved")
        file.symlink_to(tmp_path / "moved")
    else:
        file.unlink()
        if how != "deleted":
            file.write_bytes(b"theirs")
    spool.health.look_at_files()
    how = how.replace("a link", "another file")
    assert f"{file} was {how} while it was in use" in str(spool.health.gone)
    if how == "deleted":
        assert spool.health.gone.kept == (suffix != "")


def test_nothing_more_is_committed_to_a_file_that_is_gone_and_what_was_is_sent(spool, path):
    schema_id = spool.schemas.register(b"descriptor")
    batches = [spool.append(TABLE, rows_of(each), schema_id=schema_id) for each in "abc"]
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink()
    spool.health.look_at_files()
    for refused in (
        lambda: spool.append(TABLE, rows_of("d"), schema_id=schema_id),
        lambda: spool.state.set("key", 1),
        lambda: spool.schemas.register(b"another"),
    ):
        with pytest.raises(SpoolFileGone, match="was deleted while it was in use"):
            refused()
    assert texts_in(spool) == ["a", "b", "c"]
    spool.trim([batches[0].batch_id])
    spool.trim([batches[1].batch_id])
    assert spool.pending_rows(TABLE) == 1
    assert spool.pending() == {TABLE: 3}  # so many are in the file
    assert spool.stats().disk_free_bytes > 0
    spool.close()
    assert list(path.parent.iterdir()) == [path.with_name("spool.db.lock")]


def test_a_file_in_the_spools_place_is_neither_written_nor_deleted(spool, path, schema_id):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    for suffix in SUFFIXES:
        file = path.with_name(path.name + suffix)
        file.unlink()
        file.write_bytes(b"theirs" + suffix.encode())
    spool.health.look_at_files()
    spool.close()
    for suffix in SUFFIXES:
        file = path.with_name(path.name + suffix)
        assert file.read_bytes() == b"theirs" + suffix.encode()


def test_a_spool_in_the_spools_place_does_not_get_the_log_of_the_one_that_is_gone(path):
    spool = Spool.open(path, sync="off", reserve_bytes=0)
    schema_id = spool.schemas.register(b"descriptor")
    spool.append(TABLE, rows_of("old"), schema_id=schema_id)
    with contextlib.closing(Spool.open(path.with_name("backup"), reserve_bytes=0)) as backup:
        backup.append(TABLE, rows_of("new"), schema_id=backup.schemas.register(b"descriptor"))
    path.with_name("backup").replace(path)
    spool.health.look_at_files()
    spool.close()
    with contextlib.closing(Spool.open(path, reserve_bytes=0)) as other:
        assert texts_in(other) == ["new"]


def test_a_log_in_the_logs_place_is_not_deleted(spool, path, schema_id):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    log = path.with_name("spool.db-wal")
    log.unlink()
    log.write_bytes(b"theirs")
    spool.health.look_at_files()
    assert not spool.health.gone.kept
    spool.close()
    assert log.read_bytes() == b"theirs"


def test_what_was_only_in_a_log_that_was_deleted_is_copied_into_the_file(path):
    spool = Spool.open(path, sync="off", reserve_bytes=0)
    schema_id = spool.schemas.register(b"descriptor")
    spool.append(TABLE, rows_of("a"), schema_id=schema_id, state={"next": 2})
    path.with_name("spool.db-wal").unlink()
    spool.health.look_at_files()
    assert spool.health.gone.kept
    spool.close()
    with contextlib.closing(Spool.open(path, reserve_bytes=0)) as again:
        assert texts_in(again) == ["a"]
        assert again.state.get("next") == 2


def test_a_directory_that_is_gone_is_a_file_that_is_gone(spool, tmp_path, path, schema_id):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    path.parent.rename(tmp_path / "elsewhere")
    spool.health.look_at_files()
    assert f"the spool {path} was deleted" in str(spool.health.gone)
    assert spool.stats().rows == 1


@pytest.mark.parametrize("how", ["emptied", "text", "another database"])
def test_a_file_that_is_written_over_in_place_is_damaged(spool, tmp_path, path, schema_id, how):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    spool._quota.pages.cut_log_back()
    spool.health.look_at_files()
    assert spool.health.damage is None
    contents = {"emptied": b"", "text": b"theirs" * 10_000}
    if how == "another database":
        with contextlib.closing(sqlite3.connect(tmp_path / "other")) as other:
            other.execute("CREATE TABLE theirs (x)")
            other.commit()
        contents[how] = (tmp_path / "other").read_bytes()
    path.write_bytes(contents[how])
    spool.health.look_at_files()
    assert spool.health.gone is None
    assert f"the spool {path} is damaged" in str(spool.health.damage)
    assert path.with_name("spool.db.check").exists()


def test_a_new_spool_is_what_it_was_before_its_log_is_copied(spool, schema_id):
    spool.append(TABLE, rows_of("a"), schema_id=schema_id)
    spool.health.look_at_files()
    spool._quota.pages.cut_log_back()
    spool.health.look_at_files()
    assert spool.health.damage is None
