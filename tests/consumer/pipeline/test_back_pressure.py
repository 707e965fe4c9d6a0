"""What the spool keeps for a gate that closes, and who may use it: with a real spool."""

from __future__ import annotations

import random

import pytest
from support.services import wait_until

from consumer.config import parse
from consumer.errors import SpoolFull
from consumer.pipeline import make_consumer
from consumer.rows.encoded import EncodedRows
from consumer.spool import NewBatch
from sparkplug.events import EventKind

MIB = 1 << 20
TABLE = "main.ot.tag_events"


def configuration(tmp_path, **host):
    return parse(
        {
            "servers": [
                {"name": name, "url": "mqtt://127.0.0.1:9"} for name in ("plant-a", "plant-b")
            ],
            "host": {"id": "historian", "gate": {"min_closed": 0}} | host,
            "zerobus": {
                "endpoint": "http://127.0.0.1:9",
                "workspace_url": "http://127.0.0.1:10",
                "table": TABLE,
                "client_id": "id",
                "client_secret": "secret",
            },
            # 8 MiB below the mark, 4 below the reserve, 4 reserved.
            "spool": {
                "path": str(tmp_path / "spool.db"),
                "max_bytes": "16MiB",
                "high_watermark": 0.5,
                "low_watermark": 0.2,
                "min_free": 0,
                "sync": "normal",
            },
        }
    )


class System:
    """A consumer that is not started: its appends are made here."""

    def __init__(self, configuration):
        self.consumer = make_consumer(configuration)
        self.gate = self.consumer.back_pressure
        self.chance = random.Random(1)
        self.appended = []
        self.gate.start()

    def append(self, size):
        """As the pipeline does it; `size` bytes that cannot be compressed."""
        rows = EncodedRows.from_messages([self.chance.randbytes(size)])
        batch = NewBatch(TABLE, self.consumer.side.schema_id(TABLE), rows)
        spool = self.consumer.spool
        kept = self.consumer.commits._within(lambda: spool.commit([batch], [self.consumer.ledger]))
        self.appended += [each.batch_id for each in kept]

    def barred(self):
        return [each.switch.barred.is_set() for each in self.consumer.connections]

    def look(self):
        """The next look, however short ago the last one was."""
        self.gate._look_at = 0.0
        return self.gate.tend()


@pytest.fixture
def system(tmp_path):
    system = System(configuration(tmp_path, gate_on_sink=True))
    yield system
    system.consumer.spool.close()


def test_at_the_high_mark_all_servers_are_left_and_the_reserve_may_be_used(system):
    assert system.gate.status()["reserved_bytes"] == 4 * MIB
    for _ in range(6):
        system.append(MIB)
    assert system.look() == []
    assert system.barred() == [False, False]
    for _ in range(2):
        system.append(MIB)
    [event] = system.look()
    assert (event.kind, event.reason) == (EventKind.GATE, "spool")
    assert system.barred() == [True, True]
    assert not system.gate.is_open
    assert not system.consumer.ready
    # Twice the size must fit, in the log and in the file; a sixteenth is never for batches.
    for _ in range(4):
        system.append(MIB)
    with pytest.raises(SpoolFull, match=r"\(spool.max_bytes\)$"):
        system.append(4 * MIB)


def test_what_would_need_the_reserve_closes_the_gate_and_gets_it(system):
    for _ in range(6):
        system.append(MIB)
    assert system.look() == []
    system.append(3 * MIB)
    assert system.barred() == [True, True]
    [event] = system.look()
    assert event.reason == "spool"
    assert "do not fit" in event.detail
    assert system.gate.closings == {"spool": 1, "disk": 0, "no_acknowledgement": 0}


def test_what_does_not_fit_at_all_is_refused_and_closes_the_gate(system):
    with pytest.raises(SpoolFull):
        system.append(20 * MIB)
    assert not system.gate.is_open
    assert system.consumer.spool.stats().rows == 0


def test_the_gate_opens_when_all_have_left_and_the_spool_is_trimmed(system):
    for _ in range(9):
        system.append(MIB)
    system.look()
    system.consumer.spool.trim(system.appended)
    assert system.look() == []
    assert system.gate.status()["state"] == "closing"
    for each in system.consumer.connections:
        each._thread.start()  # finds its way shut: it connects to nothing
    wait_until(lambda: all(each.switch.away for each in system.consumer.connections))
    [event] = system.look()
    assert (event.kind, event.reason) == (EventKind.GATE, "opened")
    assert system.gate.is_open
    assert system.barred() == [False, False]
    # The reserve is a reserve again.
    with pytest.raises(SpoolFull, match="are held back"):
        system.consumer.spool.append(
            TABLE,
            EncodedRows.from_messages([system.chance.randbytes(7 * MIB)]),
            schema_id=system.consumer.side.schema_id(TABLE),
        )
    for each in system.consumer.connections:
        each.request_stop()


def test_a_full_spool_begins_with_a_closed_gate(tmp_path, caplog):
    first = System(configuration(tmp_path, gate_on_sink=True))
    for _ in range(9):
        first.append(MIB)
    first.consumer.spool.close()
    again = System(configuration(tmp_path, gate_on_sink=True))
    assert again.barred() == [True, True]
    assert again.gate.status()["state"] == "closed"
    assert "the gate is closed from the start: the spool is 5" in caplog.text
    [event] = again.look()
    assert event.reason == "spool"
    again.consumer.spool.close()


def test_without_a_gate_nothing_is_reserved_and_nobody_is_sent_away(tmp_path):
    system = System(configuration(tmp_path, gate_on_sink=False))
    for _ in range(9):
        system.append(MIB)
    system.append(2 * MIB)
    with pytest.raises(SpoolFull):
        system.append(5 * MIB)
    assert system.look() == []
    assert system.barred() == [False, False]
    assert system.gate.is_open
    assert system.gate.status() == {"state": "off"}
    assert "gate_closed" not in {
        metric.name.removeprefix("sparkplug_zerobus_")
        for metric in system.consumer.telemetry.registry.collect()
    }
    system.consumer.spool.close()
