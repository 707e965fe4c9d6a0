"""What births say of tags has a bound of its own in the spool's file."""

from __future__ import annotations

import os

import pytest
from support.read_spool import read_from

from consumer.spool import KeptVersions, Spool
from consumer.spool.versions import VERSIONS

MIB = 1 << 20
SPOOL = 16 * MIB
"""Leaves 1 MiB to versions, and a quarter of that to one node or device."""


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db", max_bytes=SPOOL)
    yield spool
    spool.close()


def kept(spool):
    query = "SELECT key, length(value) FROM state WHERE key LIKE ?"
    found = read_from(spool, lambda db: db.execute(query, (f"{VERSIONS}%",)).fetchall())
    return {key.removeprefix(VERSIONS): size for key, size in found}


def write(spool, versions, **sizes):
    """Write versions of so many bytes, each in a commit; returns how many left."""
    return sum(
        spool.write(
            lambda db, name=name, size=size: versions.write(
                db, {VERSIONS + name: os.urandom(size)}, spool.space.room()
            )
        )
        for name, size in sizes.items()
    )


def test_versions_of_invented_nodes_push_each_other_out_and_not_what_is_smaller(spool):
    versions = KeptVersions(SPOOL)
    assert write(spool, versions, honest=25_000) == 0
    for number in range(40):
        write(spool, versions, **{f"invented{number}": 200_000})
    assert sum(kept(spool).values()) <= MIB
    assert kept(spool)["honest"] == 25_000
    assert spool.stats().used_bytes <= SPOOL / 4


def test_versions_of_one_node_beyond_its_part_are_not_kept(spool):
    assert write(spool, KeptVersions(SPOOL), node=1_000) == 0
    assert write(spool, KeptVersions(SPOOL), node=MIB // 4 + 1) == 1
    assert kept(spool) == {}


def test_what_an_earlier_release_kept_beyond_the_bound_leaves(spool):
    for number in range(10):
        spool.state.set(f"{VERSIONS}old{number}", os.urandom(MIB // 2))
    assert write(spool, KeptVersions(SPOOL), honest=25_000) >= 8
    assert sum(kept(spool).values()) <= MIB
    assert kept(spool)["honest"] == 25_000


def test_nothing_is_written_without_room(spool):
    versions = KeptVersions(SPOOL)
    assert spool.write(lambda db: versions.write(db, {VERSIONS + "node": bytes(1_000)}, 1_000)) == 1
    assert kept(spool) == {}
