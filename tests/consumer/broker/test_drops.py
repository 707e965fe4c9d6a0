"""What a server says that it discarded."""

from __future__ import annotations

import pytest

from consumer.broker.drops import BrokerDrops
from consumer.log_budget import LogBudget


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def drops(now):
    return BrokerDrops("plant-a", LogBudget(lambda: now[0]))


def test_only_what_is_discarded_while_connected_counts(drops):
    for connection in ([b"100", b"100", b"103"], [b"500", b"501"]):
        drops.connected()
        for payload in connection:
            drops.received(payload)
    assert drops.total == 4


def test_a_count_that_begins_anew_takes_nothing_back(drops):
    for payload in (b"5", b"7", b"0", b"2"):
        drops.received(payload)
    assert drops.total == 4


@pytest.mark.parametrize("payload", [b"", b"-3", b"1e3", b"many", b"\xff", b"9" * 5_000, b"1_0"])
def test_what_is_no_count_is_ignored(drops, payload):
    drops.received(b"1")
    drops.received(payload)
    drops.received(b"2")
    assert drops.total == 1


def test_it_is_said_once_per_minute_with_all_that_was_discarded_since(drops, now, caplog):
    for second, payload in ((0, b"0"), (1, b"2"), (2, b"5"), (59, b"6"), (61, b"10")):
        now[0] = float(second)
        drops.received(payload)
    found = [r.getMessage() for r in caplog.records if r.name == "consumer.broker.drops"]
    assert [text.split(",")[0] for text in found] == [
        "plant-a discarded 2 messages",
        "plant-a discarded 8 messages",
    ]
    assert "max_queued_bytes" in found[0]
