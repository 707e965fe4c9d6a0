"""Nodes that are not heard, in a consumer: they are asked, shown and remembered."""

from __future__ import annotations

import contextlib

import pytest
from oracle.messages import ARRIVED
from prometheus_client import generate_latest
from support import hand_fed
from support.columnar import change, message, tag
from support.hand_fed import Courier, Shelf
from support.services import wait_until
from support.unconnected import configuration

from consumer.monitor import add_metrics, status_of

BIRTH = message("NBIRTH", tag("Ramp", 0))


def change_of(seq):
    return message("NDATA", change(0, float(seq)), seq=seq)


@contextlib.contextmanager
def consuming(tmp_path, **host):
    """A consumer with its intake and its connection."""
    whole = configuration(
        tmp_path,
        zerobus={"events_table": "main.ot.sparkplug_events"},
        host={"unheard": "300ms", **host},
        shutdown_timeout="0s",
    )
    shelf, courier = Shelf(), Courier(whole.servers[0])
    with hand_fed.consuming(whole, shelf, courier, prepare=add_metrics) as running:
        yield running, shelf, courier


def silent(running):
    return status_of(running)["silent_nodes"]


def test_a_node_that_is_not_heard_after_a_loss_is_asked(tmp_path):
    with consuming(tmp_path) as (running, shelf, courier):
        shelf.put(BIRTH)
        wait_until(lambda: running.spooled_rows == 1)
        assert courier.asked == []
        shelf.lose(ARRIVED)
        wait_until(lambda: courier.asked == [("Plant", "Edge")])
        text = generate_latest(running.telemetry.registry).decode()
        assert 'rebirths_requested_total{reason="unheard"} 1.0' in text


def test_a_node_that_was_alive_at_the_end_of_the_run_before_is_asked(tmp_path):
    with consuming(tmp_path) as (running, shelf, _):
        shelf.put(BIRTH)
        wait_until(lambda: running.spooled_rows == 1)
    with consuming(tmp_path) as (_, _, courier):
        wait_until(lambda: courier.asked == [("Plant", "Edge")])


def test_while_there_is_no_connection_nobody_is_asked(tmp_path):
    with consuming(tmp_path) as (running, shelf, courier):
        shelf.put(BIRTH)
        courier.connected.clear()
        shelf.lose(ARRIVED)
        wait_until(lambda: running.sources[0].fleet.gauges.unheard_nodes == 1)
        taken = running.telemetry.totals["messages_received"]
        shelf.put(message("NBIRTH", tag("Ramp", 0), node="Other"))
        wait_until(lambda: running.telemetry.totals["messages_received"] > taken)
        assert running.sources[0].governor.pending == 0
        courier.connected.set()
        wait_until(lambda: courier.asked == [("Plant", "Edge")])


def test_a_node_that_speaks_while_its_request_waits_is_not_asked(tmp_path):
    with consuming(tmp_path, rebirth={"per_node": "2s"}) as (running, shelf, courier):
        shelf.put(BIRTH)
        wait_until(lambda: running.spooled_rows == 1)
        [source] = running.sources
        running.ask_rebirth(source.name, "Plant", "Edge")
        wait_until(lambda: courier.asked == [("Plant", "Edge")])
        shelf.lose(ARRIVED)
        wait_until(lambda: source.governor.pending == 1)  # it was asked a moment ago
        shelf.put(change_of(1))
        wait_until(lambda: source.governor.pending == 0)
        assert courier.asked == [("Plant", "Edge")]


def test_a_passive_host_shows_who_is_silent(tmp_path):
    with consuming(tmp_path, mode="passive") as (running, shelf, courier):
        shelf.put(BIRTH)
        shelf.lose(ARRIVED)
        wait_until(lambda: silent(running)["count"] == 1)
        [node] = silent(running)["longest"]
        assert (node["server"], node["group_id"], node["edge_node_id"], node["reason"]) == (
            *("plant", "Plant", "Edge"),
            "unheard",
        )
        text = generate_latest(running.telemetry.registry).decode()
        assert "sparkplug_zerobus_edge_nodes_silent 1.0" in text
        assert courier.asked == []
        assert running.spooled_rows == 1
        shelf.put(change_of(1))
        wait_until(lambda: silent(running) == {"count": 0, "longest": []})


def test_that_a_node_answers_is_kept_in_the_spool(tmp_path):
    with consuming(tmp_path) as (running, shelf, courier):
        shelf.put(BIRTH)
        shelf.put(message("NDATA", tag("Unknown", 7), seq=1))
        wait_until(lambda: courier.asked == [("Plant", "Edge")])
        shelf.put(BIRTH)
        key = running.sources[0].store.conduct_key()
        wait_until(lambda: running.spool.state.get(key)[:1] == b"\x01")
        known = running.spool.state.get(key)
    with consuming(tmp_path) as (running, _, _):
        assert running.sources[0].fleet.memory.conduct_state() == known


@pytest.mark.parametrize("mode", ["active", "passive"])
def test_without_a_time_nobody_is_asked_nor_silent(tmp_path, mode):
    with consuming(tmp_path, unheard="0s", mode=mode) as (running, shelf, courier):
        shelf.put(BIRTH)
        shelf.lose(ARRIVED)
        wait_until(lambda: running.sources[0].fleet.gauges.unheard_nodes == 1)
        shelf.put(change_of(1))
        wait_until(lambda: running.spooled_rows == 2)
        assert courier.asked == []
        assert silent(running)["count"] == 0
