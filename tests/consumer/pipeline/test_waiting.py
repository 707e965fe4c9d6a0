"""What waits is shown: in the status, among the metrics, and in the log."""

from __future__ import annotations

import logging

import pytest
from support.columnar import message, tag
from support.listener import birth, data, death
from support.unconnected import unconnected

from consumer.broker.inbox import InboxBatch
from consumer.monitor import add_metrics, status_of
from sparkplug.messages import MessageBatch

METRIC = "sparkplug_zerobus_waiting_messages"


@pytest.fixture
def consumer(tmp_path):
    with unconnected(tmp_path, host={"mode": "passive"}) as consumer:
        add_metrics(consumer)
        yield consumer


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ([birth(), death(), birth()], "late_birth: 1 from plant, for example on Plant/Edge"),
        ([data(7)], "data_before_birth: 1 from plant, for example on Plant/Edge"),
        ([birth(), data(2)], None),
        ([birth(), message("NDATA", tag("New", 9), seq=1)], "unknown_metric: 1 from plant"),
    ],
    ids=["a late birth", "data before its birth", "data behind a hole", "an unknown metric"],
)
def test_whatever_waits_is_shown(consumer, caplog, waiting, said):
    with caplog.at_level(logging.WARNING):
        consumer.decoding._take(InboxBatch({0: MessageBatch(waiting)}))
    assert status_of(consumer)["waiting_messages"] == 1
    assert consumer.telemetry.registry.get_sample_value(METRIC) == 1
    assert (said or "") in caplog.text
