"""The spool's two marks."""

from __future__ import annotations

from dataclasses import replace

from consumer.pipeline.spool_watch import Watermarks
from consumer.spool.types import SpoolStats

EMPTY = SpoolStats(
    batches=0,
    rows=0,
    row_bytes=0,
    used_bytes=0,
    max_bytes=1000,
    oldest_age=0.0,
    dead_letters=0,
    disk_free_bytes=500,
    disk_is_full=False,
)


def filled(used: int) -> SpoolStats:
    return replace(EMPTY, used_bytes=used)


def test_between_the_marks_nothing_changes() -> None:
    marks = Watermarks(high=0.8, low=0.5, min_free=100)
    seen = [marks.look(filled(used)) for used in (600, 799, 800, 700, 500, 499, 600)]
    assert seen == [False, False, True, True, True, False, False]


def test_a_disk_with_little_room_counts_as_nearly_full_until_there_is_twice_as_much() -> None:
    marks = Watermarks(high=0.8, low=0.5, min_free=100)
    seen = [marks.look(replace(EMPTY, disk_free_bytes=free)) for free in (100, 99, 150, 199, 200)]
    assert seen == [False, True, True, True, False]


def test_a_full_disk_is_above_whatever_the_file_holds() -> None:
    marks = Watermarks(high=0.8, low=0.5, min_free=0)
    stats = replace(EMPTY, disk_is_full=True)
    assert marks.look(stats)
    assert marks.why(stats) == "the disk of the spool is full"
    assert marks.why(filled(870)) == "the spool is 87% full"
