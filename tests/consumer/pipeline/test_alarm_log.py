"""Alarms of invented nodes do not fill the log."""

from __future__ import annotations

import logging
import random

from consumer.log_budget import LogBudget
from consumer.pipeline.rebirths import AlarmLog
from sparkplug import Event, EventKind, RebirthGovernor


def alarms(*nodes):
    return [
        Event(EventKind.DUPLICATE_NODE, 1, "Plant", node, reason="seq", detail="two publishers")
        for node in nodes
    ]


def test_of_many_alarms_at_once_some_are_logged_and_the_others_counted(caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    budget = LogBudget(lambda: now[0])
    log = AlarmLog("plant", budget)
    governor = RebirthGovernor(1.0, 10.0, random.random)
    for start in range(0, 1_000, 100):
        names = [f"N{number}" for number in range(start, start + 100)]
        log.heed(alarms(*names), governor, {("Plant", name) for name in names})
    assert len(caplog.messages) == 10
    now[0] = 10.0
    budget.tell()
    log.heed(alarms("Honest"), governor, {("Plant", "Honest")})
    assert len(caplog.messages) == 12
    assert "990 duplicate_node of plant" in caplog.messages[-2]
    assert caplog.messages[-1].startswith("Plant/Honest: two publishers")


def test_the_end_of_an_alarm_is_said_though_many_began(caplog):
    caplog.set_level(logging.INFO)
    log = AlarmLog("plant", LogBudget(lambda: 0.0))
    governor = RebirthGovernor(1.0, 10.0, random.random)
    log.heed(alarms(*map(str, range(100))), governor, set())
    [over] = alarms("0")
    log.heed([over._replace(reason="seq_over", detail="it is over")], governor, set())
    assert caplog.messages[-1] == "Plant/0: it is over"
