"""Thousands of invented nodes, names and payloads make a bounded log, and nothing is hidden."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict

import pytest
from support.columnar import message, metric, tag
from support.hand_fed import Courier, Shelf, consuming
from support.services import wait_until
from support.unconnected import configuration, unconnected

from consumer.broker import InboxBatch
from consumer.log_budget import EACH_KIND
from sparkplug import MessageBatch

LONG_AGO_MS = 1_700_000_000  # seconds, as if they were milliseconds
MOST_A_SECOND = 50


@pytest.fixture
def lines(caplog):
    """What the consumer has logged of others: (seconds, logger, text)."""
    caplog.set_level(logging.INFO)
    return lambda: [(r.created, r.name, r.getMessage()) for r in caplog.records]


def left_out(lines):
    """Lines by kind that were not said, as the log tells it."""
    counts = Counter()
    for _, name, text in lines:
        if name == "consumer.log_budget":
            parts = text.partition("like them: ")[2].partition(" (")[0]
            for number, kind in re.findall(r"(\d+) (\w+)", parts):
                counts[kind] += int(number)
    return counts


def most_in_a_second(lines):
    times = [at for at, *_ in lines]
    return max(sum(at <= each < at + 1.0 for each in times) for at in times)


def about(lines, words):
    return [text for *_, text in lines if words in text]


def hosting(tmp_path, *floods, until, host=()):
    """What a running consumer has counted, after it was given batches of messages."""
    settings = configuration(tmp_path, host=dict(host), shutdown_timeout=0)
    shelf, courier = Shelf(), Courier(settings.servers[0])
    with consuming(settings, shelf, courier) as running:
        for flood in floods:
            for start in range(0, len(flood), 100):
                shelf.put(*flood[start : start + 100])
        wait_until(lambda: until(running, courier), what="all is taken in")
    return running


def test_thousands_of_nodes_with_absurd_clocks(tmp_path, lines):
    flood = [
        message("NBIRTH", tag("Ramp", 0), node=f"N{number}", timestamp=LONG_AGO_MS)
        for number in range(1_500)
    ]
    running = hosting(
        tmp_path, flood, until=lambda c, _: c.sources[0].fleet.alarms.clock_problems == len(flood)
    )
    said = len(about(lines(), "times look like seconds"))
    assert EACH_KIND.burst <= said < 40
    assert said + running.telemetry.log_budget.left_out["clock"] == len(flood)
    assert left_out(lines()) == running.telemetry.log_budget.left_out
    assert most_in_a_second(lines()) <= MOST_A_SECOND


def test_thousands_of_nodes_that_are_asked_for_their_births(tmp_path, lines):
    flood = [message("NDATA", metric("Ramp"), node=f"N{number}") for number in range(1_000)]
    rebirth = {"rebirth": {"fleet_per_second": 1_000}}
    running = hosting(
        tmp_path, flood, host=rebirth, until=lambda _, asked: len(asked.asked) == len(flood)
    )
    said = len(about(lines(), "for a rebirth"))
    assert EACH_KIND.burst <= said < 40
    assert said + running.telemetry.log_budget.left_out["rebirth_request"] == len(flood)
    assert left_out(lines()) == running.telemetry.log_budget.left_out


def test_all_that_can_be_wrong_with_messages_at_once(tmp_path, lines):
    flood = []
    for number in range(150):
        node = f"N{number}"
        flood += [
            message("NBIRTH", tag("Ramp", 0), node=node, timestamp=LONG_AGO_MS),
            message("NDATA", metric(alias=7), node=node, seq=1),
            message("NDATA", metric(f"New {number}"), node=node, seq=2),
            message("DDATA", metric("Level"), node=node, seq=3, device=f"D{number}"),
            message("NDATA", tag("Ramp", 0), node=node, seq=9),
            message("DRECORD", node=node),
            message("NBIRTH", node=node, timestamp=LONG_AGO_MS)._replace(payload=b"\xff"),
            message("NDATA", node=f"Unborn {number}", seq=number % 256),
        ]
    running = hosting(
        tmp_path,
        flood,
        until=lambda c, _: c.telemetry.totals["messages_received"] == len(flood),
    )
    found = lines()
    by_reason = defaultdict(int)
    for _, name, text in found:
        if name == "consumer.pipeline.remarks":
            reason, count = re.fullmatch(r"(\w+): (\d+) from plant.*", text).groups()
            by_reason[reason] += int(count)
    assert len(by_reason) > 4
    expected = {
        reason: count
        for reason, count in running.telemetry.reasons.items()
        if reason not in {"command", "host_state", "repeated_birth_value"}
    }
    assert by_reason == expected
    assert left_out(found) == running.telemetry.log_budget.left_out
    assert most_in_a_second(found) <= MOST_A_SECOND
    assert len(found) < 300


def test_nodes_without_number_whose_births_mend_nothing(tmp_path, lines):
    junk = metric("Junk", double_value=1.0)
    nodes = [f"N{number}" for number in range(60)]
    with unconnected(tmp_path, host={"rebirth": {"max_pause": "10m"}}) as consumer:
        for now in (60.0, 120.0, 180.0, 240.0):
            for verb, content, seq in (("NBIRTH", tag("Ramp", 0), 0), ("NDATA", junk, 1)):
                batch = [message(verb, content, node=node, seq=seq) for node in nodes]
                consumer.decoding._take(InboxBatch({0: MessageBatch(batch)}))
            consumer._rebirths.send()
            consumer.sources[0].governor.due(now)
        assert len(about(lines(), "births do not mend that")) == EACH_KIND.burst
        assert consumer.telemetry.log_budget.left_out["unmended"] == len(nodes) - EACH_KIND.burst


def test_batches_that_cannot_be_decoded_among_others(tmp_path, lines, monkeypatch):
    with unconnected(tmp_path) as consumer:
        good = InboxBatch({0: MessageBatch([message("NBIRTH", tag("Ramp", 0))])})
        for _ in range(30):
            with monkeypatch.context() as patched:
                patched.setattr(consumer.sources[0].fleet, "feed", lambda *_: 1 // 0)
                consumer.decoding._take_whatever_it_is(good)
            consumer.decoding._take_whatever_it_is(good)
        assert len(about(lines(), "a batch was lost")) == EACH_KIND.burst
        assert consumer.telemetry.log_budget.left_out["decoding_failed_batch"] == 20
