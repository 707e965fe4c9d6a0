"""Arrival numbers never go back, whatever becomes of the spool and of the clock."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from oracle.messages import ARRIVED

from consumer.pipeline.arrival_numbers import ARRIVAL_KEY, FIRST_KEY, next_arrival
from consumer.spool import Spool

HOUR_US = 3_600_000_000
NOW_US = ARRIVED + 1000 * HOUR_US
BIRTHS = "INSERT INTO births VALUES ('a', 'G', 'N', '', 0, 't', x'', ?, 1, 0, NULL, NULL)"


@pytest.fixture
def begin(tmp_path):
    """The first number of a run at some time, on the spool of this name; it gives 100."""

    def run(now_us: int, name: str = "spool.db") -> int:
        with contextlib.closing(Spool.open(tmp_path / name, sync="off")) as spool:
            first = next_arrival(spool, now_us)
            spool.state.set(ARRIVAL_KEY, first + 100)
        return first

    return run


def change(path, statement, *parameters):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(statement, parameters)
        db.commit()


def test_a_new_spool_begins_at_the_present_microsecond(begin):
    assert begin(NOW_US) == NOW_US


def test_the_next_run_goes_on_without_a_hole_whatever_the_clock_says(begin):
    first = begin(NOW_US)
    assert begin(NOW_US + HOUR_US) == first + 100
    assert begin(NOW_US - HOUR_US) == first + 200


def test_where_numbers_begin_is_kept_for_who_counts_them(begin, tmp_path):
    first = begin(NOW_US)
    begin(NOW_US + HOUR_US)
    with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
        assert spool.state.get(FIRST_KEY) == first


def test_a_spool_that_is_made_anew_is_behind_the_one_before_it(begin):
    assert begin(NOW_US + 1000, "second.db") > begin(NOW_US) + 100


def test_of_two_consumers_the_one_with_the_younger_spool_has_the_greater_numbers(begin):
    east, west = begin(NOW_US, "east.db"), begin(NOW_US + HOUR_US, "west.db")
    assert begin(NOW_US + 2 * HOUR_US, "east.db") == east + 100 < west


def test_a_spool_that_counted_from_one_begins_anew_once(begin, tmp_path):
    begin(NOW_US)
    change(tmp_path / "spool.db", "UPDATE state SET value = 4711 WHERE key = ?", ARRIVAL_KEY)
    assert begin(NOW_US) == NOW_US
    assert begin(NOW_US) == NOW_US + 100


def test_where_the_number_is_lost_they_begin_at_the_present_time(begin, tmp_path):
    begin(NOW_US)
    change(tmp_path / "spool.db", "DELETE FROM state")
    assert begin(NOW_US + HOUR_US) == NOW_US + HOUR_US


def test_or_behind_all_times_of_the_file_if_the_clock_was_set_back(begin, tmp_path):
    begin(NOW_US)
    change(tmp_path / "spool.db", "DELETE FROM state")
    change(tmp_path / "spool.db", BIRTHS, NOW_US)
    assert begin(NOW_US - HOUR_US) == NOW_US + 1
