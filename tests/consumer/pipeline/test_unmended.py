"""What is wrong with an edge node, and its births do not mend: said once in the log, and shown."""

from __future__ import annotations

import itertools
import logging

import pytest
from support.columnar import change, message, metric, tag
from support.unconnected import unconnected

from consumer.broker.inbox import InboxBatch
from consumer.monitor import status_of
from sparkplug import MessageBatch

MINUTES = itertools.count(60.0, 60.0)
JUNK = metric("Junk", double_value=1.0)
BIRTH = message("NBIRTH", tag("Ramp", 0))
PROBLEM = "sends metrics that none of its births declares, such as Junk"
IN_VAIN = "and its births do not mend that: it is asked ever more rarely"
MEND = "declare them in NBIRTH or DBIRTH at the edge node, or leave them out with `exclude`"


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path, host={"rebirth": {"max_pause": "10m"}}) as consumer:
        yield consumer


def take(consumer, *messages):
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))
    consumer._rebirths.send()
    consumer.sources[0].governor.due(next(MINUTES))


def test_a_metric_that_stays_undeclared_is_said_once_and_shown(consumer, caplog):
    with caplog.at_level(logging.WARNING):
        take(consumer, BIRTH, message("NDATA", JUNK, seq=1))
        assert status_of(consumer)["unmended_nodes"] == []
        for _ in range(3):
            take(consumer, BIRTH, message("NDATA", JUNK, change(0, 1.0), seq=1))
    said = [r.getMessage() for r in caplog.records if "births do not mend" in r.getMessage()]
    assert said == [f"Plant/Edge {PROBLEM}, {IN_VAIN}; {MEND}"]
    assert status_of(consumer)["unmended_nodes"] == [
        {
            "server": "plant",
            "group_id": "Plant",
            "edge_node_id": "Edge",
            "reason": "unknown_metric",
            "problem": PROBLEM,
            "births_in_vain": 3,
            "mend": MEND,
        }
    ]


def test_a_device_that_is_born_after_its_data_is_nobodys_fault(consumer, caplog):
    early = message("DDATA", metric("Level", double_value=1.0), seq=1)
    born = message("DBIRTH", tag("Level", 1), seq=2)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            take(consumer, BIRTH, early, born)
    assert "births do not mend" not in caplog.text
    assert status_of(consumer)["unmended_nodes"] == []


def test_a_device_that_is_never_born_is(consumer):
    for _ in range(3):
        take(consumer, BIRTH, message("DDATA", JUNK, seq=1))
    [shown] = status_of(consumer)["unmended_nodes"]
    assert shown["problem"] == "sends data of a device without its DBIRTH: Boiler"
