"""Results of drills in the spool's file, and who has no good one."""

from __future__ import annotations

import json
import sqlite3
import zlib

import pytest

from consumer.errors import SpoolError
from consumer.spool import DrillResult, DrillStore, Spool, unproven_nodes_of_file

DAY_MS = 86_400_000
NOW_MS = 1_796_040_000_000


def result(node, verdict="kept", at_ms=NOW_MS, kept_ms=None, text="why"):
    kept_ms = at_ms if verdict == "kept" else kept_ms
    return DrillResult("plant", "Plant", node, at_ms, verdict, text, 7, 1, 2, 45.0, kept_ms)


@pytest.fixture
def spool(tmp_path):
    opened = Spool.open(tmp_path / "spool.db", max_bytes=16 << 20)
    yield opened
    opened.close()


@pytest.fixture
def store(spool):
    return DrillStore(spool.state, 16 << 20)


def know(spool, *nodes, server="plant"):
    spool.write(
        lambda db: db.executemany(
            "INSERT INTO edge_nodes (server, group_id, edge_node_id, last_us, sent_us) "
            "VALUES (?, 'Plant', ?, 1, 1)",
            [(server, node) for node in nodes],
        )
    )


def unproven(spool, now_ms=NOW_MS, servers=("plant",)):
    found = unproven_nodes_of_file(spool.path, servers, now_ms)
    return found.known, [node for _, _, node in found.nodes]


def test_what_is_written_is_read_again_by_server_and_node(store):
    assert store.results("plant") == {}
    results = [result("A"), result("B", "lost")]
    store.write_results("plant", results)
    assert store.results("plant") == {("Plant", each.edge_node_id): each for each in results}
    assert store.results("other") == {}


def test_the_drill_that_is_on_is_remembered_until_it_is_over(store):
    assert store.running() is None
    store.write_running({"seconds": 45, "before": {"plant": [["Plant", "A"]]}})
    assert store.running() == {"seconds": 45, "before": {"plant": [["Plant", "A"]]}}
    store.write_running(None)
    assert store.running() is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"x\x9c", "text", 7])
def test_what_nobody_packed_is_nothing(spool, store, content):
    spool.state.set("drill", content)
    spool.state.set("drill_results/plant", content)
    assert store.running() is None
    assert store.results("plant") == {}


def test_too_many_results_leave_out_the_oldest(store):
    # Texts that cannot be compressed, of 64 KiB in all.
    texts = [format(hash((number, "x")) % 10**18, "x") * 18 for number in range(20_000)]
    results = [
        result(f"Node {number} {text}", at_ms=NOW_MS + number, text=text)
        for number, text in enumerate(texts)
    ]
    store.write_results("plant", results)
    kept = store.results("plant").values()
    assert 100 < len(kept) < 10_000
    assert min(each.at_ms for each in kept) == NOW_MS + len(results) - len(kept)


@pytest.mark.parametrize(
    ("known", "good"),
    [
        (result("A"), True),
        (result("A", at_ms=NOW_MS - 89 * DAY_MS), True),
        (result("A", at_ms=NOW_MS - 91 * DAY_MS), False),
        (result("A", at_ms=NOW_MS + 91 * DAY_MS), False),  # a clock that was ahead
        (result("A", "partly"), False),
        (result("A", "lost", kept_ms=NOW_MS - DAY_MS), False),
        (result("A", "not_known"), False),
        # Nothing was seen against what an earlier one showed.
        (result("A", "not_known", kept_ms=NOW_MS - DAY_MS), True),
        (result("A", "not_known", kept_ms=NOW_MS - 91 * DAY_MS), False),
    ],
)
def test_a_result_is_good_for_ninety_days(spool, store, known, good):
    know(spool, "A")
    store.write_results("plant", [known])
    assert unproven(spool) == (1, [] if good else ["A"])


def test_who_never_had_a_result_is_unproven_of_the_servers_that_are_asked_for(spool, store):
    know(spool, "C", "A", "B")
    know(spool, "D", server="gone")
    store.write_results("plant", [result("B")])
    assert unproven(spool) == (3, ["A", "C"])
    assert unproven(spool, servers=("plant", "gone")) == (4, ["A", "C", "D"])
    assert unproven(spool, servers=()) == (0, [])


def test_without_a_file_that_can_be_read_it_is_an_error(tmp_path):
    with pytest.raises(SpoolError, match="there is no spool at"):
        unproven_nodes_of_file(tmp_path / "spool.db", ["plant"], NOW_MS)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE other (a)").connection.close()
    with pytest.raises(SpoolError, match="is not a spool"):
        unproven_nodes_of_file(tmp_path / "other.db", ["plant"], NOW_MS)


def test_results_of_a_later_release_are_none_and_stop_nothing(spool, store):
    know(spool, "A")
    store.write_results("plant", [result("A")])
    later = zlib.compress(json.dumps([[*result("A")[1:], "more", "still more"]]).encode())
    spool.state.set("drill_results/plant", later)
    assert store.results("plant") == {}
    assert unproven(spool) == (1, ["A"])
