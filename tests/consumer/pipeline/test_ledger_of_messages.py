"""Every message is in one place of the ledger, whatever comes and whatever happens."""

from __future__ import annotations

import sqlite3
from itertools import chain

import pytest
from hypothesis import HealthCheck, given
from oracle.features import ALL_FEATURES, WELL_MEANT
from oracle.messages import arrival, metric
from oracle.network import Batch
from oracle.strategies import fleets, random_fleet, some_of
from support.fleets import fleet_with
from support.generated import examples, seeds

from consumer.spool import layout
from consumer.spool.accounts import LOST_WHEN_KILLED
from consumer.spool.balance import MessageBalance, read_balance
from consumer.spool.dead_letters import RETRIABLE_MESSAGES
from consumer.spool.fleet import FleetStore
from consumer.spool.ledger import Ledger
from sparkplug.host.nodes.holding import HoldLimits
from sparkplug.host.screening import FleetLimits
from sparkplug.messages import Message

GIB = 1 << 30
SERVER = "plant-a"


class Books:
    """A fleet whose ledger is kept as the consumer keeps it, and looked at after every step."""

    def __init__(self, reorder_timeout: float = 2.0, **options) -> None:
        self.options = {"reorder_timeout": reorder_timeout, **options}
        self.disk = sqlite3.connect(":memory:", isolation_level=None)
        for statement in (*layout.TABLES, *chain(*layout.ADDED.values())):
            self.disk.execute(statement)
        self.received = 0
        self.sequence_state = b""
        self.start(0.0)

    def start(self, now: float) -> None:
        self.fleet = fleet_with(**self.options)
        self.ledger = Ledger()
        births = list(FleetStore(SERVER, GIB).births.read(self.disk))
        held = FleetStore(SERVER, GIB).take_held(self.disk)
        slots = self.fleet.memory.restore(births, self.sequence_state, held, now)
        FleetStore(SERVER, GIB).births.write_slots(self.disk, slots, GIB)
        self.ledger.restored(self.disk, SERVER, self.fleet.gauges.held_whole)
        self.look()

    def commit(self, decoded, held=None) -> None:
        self.ledger.messages(SERVER, decoded, self.fleet.gauges.held_whole)
        self.disk.execute("BEGIN")
        FleetStore(SERVER, GIB).births.write(self.disk, decoded.memories, GIB)
        FleetStore(SERVER, GIB).forget_held(self.disk, self.fleet.memory.no_longer_held())
        FleetStore(SERVER, GIB).write_dead(self.disk, decoded.quarantined + decoded.expired, GIB)
        if held is not None:
            FleetStore(SERVER, GIB).write_held(self.disk, held, GIB)
        self.ledger.write(self.disk)
        self.disk.execute("COMMIT")
        self.ledger.committed()
        self.sequence_state = self.fleet.memory.sequence_state()
        self.look()

    def look(self) -> None:
        balance = read_balance(self.disk)
        assert balance.balanced, balance.lines()
        assert self.messages.received == self.received
        assert self.messages.held == self.fleet.gauges.held_whole

    @property
    def messages(self):
        return read_balance(self.disk).messages.get(SERVER, MessageBalance())

    def feed(self, arrivals, now: float) -> None:
        messages = [Message(a.topic, a.payload, a.received_at_us, a.retained) for a in arrivals]
        self.received += len(messages)
        self.ledger.received(SERVER, len(messages))
        self.commit(self.fleet.feed(messages, now))

    def tick(self, now: float) -> None:
        self.commit(self.fleet.tick(now))

    def connection_lost(self, now: float) -> None:
        self.commit(self.fleet.connection_lost(now))

    def restart(self, now: float) -> None:
        decoded = self.fleet.flush(now)
        self.commit(decoded, self.fleet.memory.held())
        waiting = self.fleet.gauges.held_whole
        self.start(now)
        assert self.fleet.gauges.held_whole == waiting
        assert LOST_WHEN_KILLED not in self.messages.discarded or self.killed

    killed = False

    def kill(self, now: float) -> None:
        self.killed = True
        self.start(now)

    def retry_everything(self, now: float) -> None:
        marks = ", ".join("?" * len(RETRIABLE_MESSAGES))
        self.disk.execute(
            f"UPDATE dead_messages SET retry = 1 WHERE reason IN ({marks})",
            [str(reason) for reason in RETRIABLE_MESSAGES],
        )
        messages = FleetStore(SERVER, GIB).take_retries(self.disk)
        self.ledger.held_again(SERVER, sum(not each.counted for each in messages))
        self.commit(self.fleet.hold_again(messages, now))

    def play(self, batches, *, rough: bool = False) -> None:
        for number, batch in enumerate(batches):
            batch = batch if isinstance(batch, Batch) else Batch(batch)  # noqa: PLW2901
            for what, when in batch.before:
                self.kill(when) if rough and what == "restart" else getattr(self, what)(when)
            if rough and number % 5 == 4:
                self.retry_everything(batch.now)
            self.feed(batch.arrivals, batch.now)


SMALL = {
    "limits": FleetLimits(max_nodes=3, max_tags=60, max_payload_bytes=300, max_opened_memory=2000),
    "hold_limits": HoldLimits(node_messages=3, seconds=5.0),
}


@examples(30, suppress_health_check=list(HealthCheck))
@given(fleets())
def test_the_messages_of_any_fleet_add_up(batches):
    Books().play(batches)


@examples(30, suppress_health_check=list(HealthCheck))
@given(fleets(WELL_MEANT, max_batches=12, max_messages=12))
def test_they_add_up_over_kills_and_retries_within_tight_bounds(batches):
    Books(**SMALL).play(batches, rough=True)


@pytest.mark.parametrize("seed", seeds(12))
def test_thousands_of_hostile_messages_add_up(seed):
    batches = random_fleet(seed, batches=6, messages=70)
    Books(seed % 2 * 2.0, **(SMALL if seed % 3 == 0 else {})).play(batches, rough=seed % 4 > 1)


@pytest.mark.parametrize("seed", seeds(20))
def test_trouble_on_the_way_adds_up(seed):
    features = some_of(WELL_MEANT if seed % 3 else ALL_FEATURES, seed)
    batches = random_fleet(seed, batches=16, messages=8, features=features)
    Books(seed % 10 and 2.0, **(SMALL if seed % 4 == 3 else {})).play(batches, rough=seed % 2 == 0)


# Found by random exploration


def test_a_late_birth_that_waits_with_as_many_as_may_adds_up_over_a_restart():
    bd_seq = metric("bdSeq", 4, long_value=1)
    books = Books(**SMALL)
    session = [arrival("NBIRTH", bd_seq), arrival("NDEATH", bd_seq, seq=None)]
    data = [arrival("NDATA", seq=seq) for seq in (7, 8, 9)]
    books.feed([*session, *data, arrival("NBIRTH", bd_seq, seq=2)], 0.0)
    books.restart(0.0)
    assert books.messages.held == 4
    books.feed([arrival("NDATA", seq=10)], 0.0)
    assert books.messages.held == 3
