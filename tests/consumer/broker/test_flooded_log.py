"""Whoever takes our client id ends our connection as often as it is made, and fills no log."""

from __future__ import annotations

import logging

import pytest
from support.services import mosquitto, wait_until

from consumer.broker import BatchLimits, BrokerConnection, Inbox
from consumer.config import Server
from consumer.log_budget import EACH_KIND, LogBudget


class Kept(dict):
    """A memory that lives as long as the test."""

    set = dict.__setitem__


@pytest.fixture
def server(tmp_path):
    with mosquitto(tmp_path) as running:
        yield running


def connection_to(server, budget):
    return BrokerConnection(
        0,
        Server(name="plant", url=server.url, client_id="the same"),
        host_id=None,
        inbox=Inbox(1 << 20, BatchLimits(1_000, 1 << 20, 0.01), lambda: 0.0),
        memory=Kept(),
        count_refused=lambda _reason, _messages: None,
        budget=budget,
    )


def test_connections_that_are_thrown_out_without_end(server, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "consumer.broker.connection")
    monkeypatch.setattr(BrokerConnection, "_pause", lambda *_: 0.01)
    budget = LogBudget(lambda: 0.0)
    ours, theirs = connection_to(server, budget), connection_to(server, LogBudget(lambda: 1e9))
    for each in (ours, theirs):
        each.start()
    try:
        wait_until(lambda: ours.connections > 30, what="the connection is made again and again")
    finally:
        for each in (ours, theirs):
            each.request_stop()
        for each in (ours, theirs):
            each.join(30.0)
    for words, kind in (("connected to plant", "connected"), ("ended: ", "connection_ended")):
        lines = [text for text in caplog.messages if words in text]
        assert len(lines) == 2 * EACH_KIND.burst  # of each of the two
        assert budget.left_out[kind] >= 15
