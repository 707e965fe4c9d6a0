"""A damaged spool file is set aside, and what can be read of it goes on."""

import contextlib
import random
import sqlite3
import tempfile
from pathlib import Path

import pytest
from support.generated import seeds
from support.read_spool import read_from
from support.spooled_rows import TABLE, random_rows, rows_of, texts_in

from consumer.errors import SpoolDamaged, SpoolError
from consumer.rows.descriptors import schema_id_of
from consumer.spool import Spool
from consumer.spool.layout import PAGE_BYTES
from consumer.spool.opening import damaged_files

DESCRIPTOR = b"descriptor"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


def opened(path, **options):
    return contextlib.closing(Spool.open(path, sync="off", **{"reserve_bytes": 0} | options))


def fill(path, batches=60):
    """Batches that take a page or two each; returns their rows by batch id."""
    with opened(path) as spool:
        schema_id = spool.schemas.register(DESCRIPTOR)
        written = {}
        for seed in range(batches):
            rows = random_rows(1 + seed % 5, 5_000, seed)
            written[spool.append(TABLE, rows, schema_id=schema_id).batch_id] = rows
        spool.state.set("next_arrival_number", 4711)
        return written


def overwrite(path, page, count=1):
    """Put something else in place of some pages; the first page has number 1."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(random.Random(page).randbytes(PAGE_BYTES * count))


def pages_of(path, name, kind="leaf"):
    """Numbers of the pages of a table or index, in order; needs dbstat in SQLite."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        try:
            found = db.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ? ORDER BY path",
                (name, kind),
            ).fetchall()
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    return [page for (page,) in found]


def tables_and_indexes():
    """Name and root page of all that a spool's file is made of."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "spool.db"
        Spool.open(path, sync="off", reserve_bytes=0).close()
        with contextlib.closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT name, rootpage FROM sqlite_schema").fetchall()


def content(spool):
    return {
        batch.batch_id: batch.rows.slice(0, len(batch.rows))
        for batch in spool.batches_after(0, 1 << 30, table=TABLE)
    }


def as_lists(written):
    return {batch_id: rows.slice(0, len(rows)) for batch_id, rows in written.items()}


def test_a_lost_page_of_batches_costs_what_is_on_it_and_is_told_to_the_row(path, caplog):
    written = fill(path)
    leaves = pages_of(path, "batches")
    overwrite(path, leaves[len(leaves) // 2])
    damaged = path.read_bytes()[PAGE_BYTES:]
    with opened(path) as spool:
        salvage = spool.salvage
        kept = content(spool)
        assert spool.state.get("next_arrival_number") == 4711
    [aside] = damaged_files(path)
    assert aside.read_bytes()[PAGE_BYTES:] == damaged
    assert salvage.kept_as == aside
    lost = as_lists(written).keys() - kept.keys()
    assert 0 < len(lost) == salvage.lost["batches"] < 20
    assert salvage.rows_lost == sum(len(written[batch_id]) for batch_id in lost)
    assert kept == {key: rows for key, rows in as_lists(written).items() if key not in lost}
    assert f"{salvage.rows_lost} rows are lost" in caplog.text
    with opened(path) as spool:  # and all is well
        assert spool.salvage is None
        assert content(spool) == kept


def test_a_clock_that_tells_the_same_time_again_costs_no_damaged_file(path):
    files = []
    for _ in range(2):
        fill(path, batches=10)
        overwrite(path, pages_of(path, "batches")[0])
        files.append(path.read_bytes()[PAGE_BYTES:])
        opened(path, clock=lambda: 42.0).__enter__().close()
    assert [each.read_bytes()[PAGE_BYTES:] for each in damaged_files(path)] == files


def test_rows_of_a_batch_that_are_not_what_was_written_are_set_aside_by_the_salvage(path):
    written = fill(path)
    overflow = pages_of(path, "batches", "overflow")
    overwrite(path, pages_of(path, "state")[0])
    with path.open("r+b") as file:  # rows of some batch: the page itself is in order
        file.seek((overflow[7] - 1) * PAGE_BYTES + 5_000)
        file.write(b"something else")
    with opened(path) as spool:
        assert spool.salvage.rows_lost == 0
        assert 0 < spool.salvage.rows_set_aside <= 5
        assert spool.stats().dead_letters == spool.salvage.rows_set_aside
        kept = content(spool)
        assert len(kept) == len(written) - 1
        assert spool.state.get("next_arrival_number") is None


def test_damage_that_shows_later_is_remembered_and_the_next_start_saves_the_rest(path):
    written = fill(path)
    with opened(path) as spool:
        leaf = pages_of(path, "batches")[3]
        overwrite(path, leaf)
        spool._db.execute("PRAGMA shrink_memory")  # SQLite has read that page before
        with pytest.raises(SpoolDamaged, match="start again"):
            spool.batches_after(0, 1 << 30, table=TABLE)
        assert isinstance(spool.health.damage, SpoolDamaged)
    with opened(path) as spool:
        assert spool.health.damage is None
        assert spool.salvage.lost["batches"] > 0
        kept = content(spool)
        assert len(kept) + spool.salvage.lost["batches"] == len(written)


def test_a_sign_of_damage_has_the_whole_file_read_at_the_next_start(path, caplog):
    fill(path)
    caplog.set_level("INFO")
    for expected in (True, False):
        if expected:
            path.with_name("spool.db.check").touch()
        caplog.clear()
        with opened(path) as spool:
            assert spool.salvage is None
        assert ("was checked in" in caplog.text) is expected
        assert ("no damage was found" in caplog.text) is expected


@pytest.mark.parametrize(("name", "root"), tables_and_indexes())
def test_the_look_at_the_start_misses_no_table_and_no_index(path, name, root):
    written = fill(path, batches=3)
    overwrite(path, root)
    with opened(path) as spool:
        assert spool.salvage is not None, f"the page of {name} is damaged"
        if name not in ("batches", "schemas"):
            assert content(spool) == as_lists(written)


def test_a_small_file_is_read_whole_after_a_stop_that_was_not_in_order(path, caplog):
    fill(path)
    caplog.set_level("INFO")
    with opened(path) as spool:
        spool.append(TABLE, rows_of("last"), schema_id=schema_id_of(DESCRIPTOR))
        left = {each: each.read_bytes() for each in path.parent.glob("spool.db*")}
    for each, content_then in left.items():  # as a kill leaves them
        each.write_bytes(content_then)
    path.with_name("spool.db-shm").unlink()
    with opened(path) as spool:
        assert texts_in(spool, after=60) == ["last"]
    assert "was checked in" in caplog.text


def test_no_batch_id_is_given_twice_after_a_salvage(path):
    written = fill(path)
    with opened(path) as spool:
        spool.trim(list(written)[-5:])
    overwrite(path, pages_of(path, "state")[0])
    with opened(path) as spool:
        assert spool.salvage is not None
        again = spool.append(TABLE, rows_of("new"), schema_id=schema_id_of(DESCRIPTOR))
        assert again.batch_id > max(written)


@pytest.mark.parametrize("known", [False, True])
def test_a_batch_whose_schema_is_lost_is_sent_only_if_the_schema_is_known_anyway(path, known):
    written = fill(path, batches=3)
    overwrite(path, pages_of(path, "schemas")[0])
    with opened(path, descriptors=[DESCRIPTOR] if known else []) as spool:
        rows = sum(map(len, written.values()))
        if known:
            assert content(spool) == as_lists(written)
            assert spool.schemas.descriptor(schema_id_of(DESCRIPTOR)) == DESCRIPTOR
        else:
            assert content(spool) == {}
            assert spool.salvage.rows_set_aside == rows == spool.stats().dead_letters
            [(error,)] = read_from(
                spool, lambda db: db.execute("SELECT DISTINCT error FROM dead_letters")
            )
            assert "its schema" in error


def test_a_file_whose_head_is_gone_is_set_aside_if_it_was_a_spool(path):
    fill(path)
    overwrite(path, 1)
    with pytest.raises(SpoolError, match="not an SQLite file"):
        Spool.open(path)
    path.with_name("spool.db.reserve").touch()
    with opened(path) as spool:
        assert spool.salvage.uncertain >= {"batches", "state"}
        assert content(spool) == {}
        schema_id = spool.schemas.register(DESCRIPTOR)
        spool.append(TABLE, rows_of("new"), schema_id=schema_id)
        assert texts_in(spool) == ["new"]


def test_a_file_that_was_cut_off_gives_what_is_left_of_it(path):
    written = fill(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
    with opened(path) as spool:
        kept = content(spool)
        assert 10 < len(kept) < len(written)
        assert kept.items() <= as_lists(written).items()


def test_damaged_files_do_not_pile_up(path):
    for second in range(3):
        path.with_name(f"spool.db.damaged-20260101T00000{second}Z").touch()
    fill(path)
    overwrite(path, pages_of(path, "state")[0])
    damaged = path.read_bytes()[PAGE_BYTES:]
    with pytest.raises(SpoolError, match=r"3 damaged files are there already.*move away or delete"):
        Spool.open(path)
    assert path.read_bytes()[PAGE_BYTES:] == damaged


def test_an_exchange_of_files_that_was_interrupted_is_finished_by_the_next_start(path):
    with opened(path) as spool:
        schema_id = spool.schemas.register(DESCRIPTOR)
        spool.append(TABLE, rows_of("saved"), schema_id=schema_id)
    path.rename(path.with_name("spool.db.salvaged-20260101T000000Z"))
    path.write_bytes(b"damaged")
    path.with_name("spool.db-wal").write_bytes(b"its log")
    with opened(path) as spool:
        assert texts_in(spool) == ["saved"]
    [aside] = damaged_files(path)
    assert aside.read_bytes() == b"damaged"
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"its log"


@pytest.mark.parametrize("seed", seeds(16))
def test_whatever_page_is_damaged_nothing_false_is_sent_and_what_is_missing_is_told(path, seed):
    written = as_lists(fill(path, batches=40))
    chance = random.Random(seed)
    pages = path.stat().st_size // PAGE_BYTES
    for _ in range(chance.choice([1, 1, 3])):
        overwrite(path, chance.randrange(2, pages + 1))
    seen, salvage, letters = {}, None, 0
    for _ in range(3):
        with contextlib.suppress(SpoolDamaged), opened(path) as spool:
            salvage = salvage or spool.salvage
            seen = content(spool)
            letters = read_from(
                spool, lambda db: db.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
            )
            break
    assert seen.items() <= written.items()
    lost = salvage.lost["batches"] if salvage else 0
    if salvage is None or "batches" not in salvage.uncertain:
        assert len(seen) + letters + lost == len(written)
