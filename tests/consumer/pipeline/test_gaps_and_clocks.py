"""The clock of the host is wrong, for a moment or for long: the accounts stay what they are."""

from __future__ import annotations

import pytest
from support.fleets import fleet_with
from support.listener import TIMEOUT, birth, data
from support.read_spool import read_from

from consumer.pipeline.gaps import GapRecords, GapTotals
from consumer.pipeline.steady_clock import SteadyClock
from consumer.spool import Spool
from consumer.spool import gaps as gap_store
from consumer.spool.gap_report import read_gap_report
from consumer.spool.gaps import HOUR_US, KEPT_HOURS

GIB = 1 << 30
HOUR = 3_600.0
DAY = 24 * HOUR
TODAY_US = 1_795_443_214_000_000  # 2026-11-23T14:13:34Z
BEGINNING_US = 42_000_000  # 1970-01-01T00:00:42Z
JUMPS = [pytest.param(400 * DAY, id="ahead"), pytest.param(-400 * DAY, id="behind")]


class Machine:
    """A machine with two clocks: one that passes, and one that somebody sets."""

    def __init__(self, wall_us=TODAY_US):
        self.passed = 1_000.0
        self.ahead_us = wall_us - int(self.passed * 1e6)

    def monotonic(self):
        return self.passed

    def wall_us(self):
        return self.ahead_us + int(self.passed * 1e6)

    def set(self, wall_us):
        self.ahead_us = wall_us - int(self.passed * 1e6)

    def jump(self, seconds):
        self.ahead_us += int(seconds * 1e6)


class Plant:
    """Edge nodes of one server, and the accounts that a consumer keeps of them."""

    def __init__(self, path, machine):
        self.path = path
        self.machine = machine
        self.seqs = {}
        self.sent = self.received = 0
        self.start()

    def start(self):
        self.spool = Spool.open(self.path, reserve_bytes=0, clock=lambda: 0.0)
        self.fleet = fleet_with(reorder_timeout=TIMEOUT)
        self.fleet.memory.restore([], b"")
        self.records = GapRecords(
            "plant-a",
            self.fleet,
            GapTotals(),
            self.machine.monotonic,
            self.machine.wall_us,
            spool_bytes=GIB,
        )
        self.records.restore(self.spool)

    def restart(self):
        self.stop()
        self.seqs.clear()
        self.start()

    def stop(self):
        self.records.collect(leaving=True)
        self._write()
        self.spool.close()

    def hears(self, count=1, *, lost=0, node="Edge"):
        """So many messages of a node, after it lost some, and the pause that tells of it."""
        if node not in self.seqs:
            self.seqs[node] = 0
            self._feed(birth(node=node))
        self.seqs[node] += lost
        self.sent += lost
        for _ in range(count):
            self.seqs[node] += 1
            self._feed(data(self.seqs[node], 1.0, node=node))
        self.passes(TIMEOUT)

    def passes(self, seconds):
        """Time, in which the consumer does what it does without messages."""
        until = self.machine.passed + seconds
        while self.machine.passed < until:
            self.machine.passed = min(until, self.machine.passed + 600.0)
            self._take(self.fleet.tick(self.machine.passed))

    def _feed(self, sent):
        self.sent += 1
        self.received += 1
        arrived = sent._replace(received_us=self.machine.wall_us())
        self._take(self.fleet.feed([arrived], self.machine.passed))

    def _take(self, decoded):
        self.records.record(decoded.gaps)
        self.records.collect()
        self._write()

    def _write(self):
        self.spool.write(self.records.write)
        self.records.committed()

    def report(self, hours=24):
        now = self.machine.wall_us()
        return read_gap_report(self.path, now - hours * HOUR_US, now, until_now=True)

    @property
    def counted(self):
        sums = self.report().total
        return sums.sums.received, sums.expected

    def hours(self):
        query = "SELECT DISTINCT hour FROM completeness ORDER BY hour"
        return [hour for (hour,) in read_from(self.spool, lambda db: db.execute(query).fetchall())]

    def present_hour(self):
        return self.machine.wall_us() // HOUR_US


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def plant(tmp_path, machine):
    plant = Plant(tmp_path / "spool.db", machine)
    yield plant
    plant.spool.close()


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize(
    "before", [pytest.param(0.0, id="right after the start"), pytest.param(3 * HOUR, id="later")]
)
def test_a_clock_that_is_wrong_for_seconds_changes_no_account(plant, machine, jump, before):
    plant.hears(40, lost=3)
    plant.hears()
    plant.passes(before)
    plant.hears(5, lost=2)
    plant.hears()
    machine.jump(jump)
    plant.hears(5, lost=4)
    plant.hears()
    machine.jump(-jump)
    plant.hears(5, lost=1)
    plant.hears()
    plant.passes(2.0)
    assert plant.counted == (plant.received, plant.sent)
    assert plant.report().total.missing == 10
    now = machine.wall_us()
    assert {now - 4 * HOUR_US < gap.found_us <= now for gap in plant.report().listed} == {True}
    plant.passes(3 * HOUR)
    plant.hears()
    plant.passes(2.0)
    assert plant.counted == (plant.received, plant.sent)
    assert min(plant.hours()) >= plant.present_hour() - 8
    assert max(plant.hours()) <= plant.present_hour()


def test_a_start_before_the_clock_is_set_is_accounted_today(tmp_path):
    machine = Machine(BEGINNING_US)
    plant = Plant(tmp_path / "spool.db", machine)
    plant.hears(10, lost=2)
    plant.hears()
    machine.set(TODAY_US)
    plant.hears(10, lost=3)
    plant.hears()
    for _ in range(80):
        plant.passes(1.0)
    plant.hears()
    plant.passes(2.0)
    assert plant.counted == (plant.received, plant.sent)
    assert plant.report().total.missing == 5
    assert plant.hours() == [plant.present_hour()]
    plant.spool.close()


def test_what_was_written_by_a_clock_ahead_is_in_the_report_and_gets_its_date(plant, machine):
    machine.jump(400 * DAY)
    plant.restart()
    plant.hears(10, lost=2)
    plant.hears()
    plant.passes(2 * HOUR)
    machine.jump(-400 * DAY)
    plant.restart()
    plant.hears(10)
    plant.passes(2.0)
    assert plant.counted == (plant.received, plant.sent)
    assert max(plant.hours()) > plant.present_hour()
    plant.passes(2 * HOUR)
    plant.hears()
    plant.passes(2.0)
    assert plant.counted == (plant.received, plant.sent)
    assert max(plant.hours()) <= plant.present_hour()
    assert max(gap.found_us for gap in plant.report().listed) <= machine.wall_us()
    newest = "SELECT max(last_us) FROM edge_nodes"
    assert read_from(plant.spool, lambda db: db.execute(newest).fetchone())[0] <= machine.wall_us()


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_stays_is_believed_in_the_end(plant, machine, jump):
    plant.passes(2 * HOUR)
    machine.jump(jump)
    plant.hears(3)
    assert plant.hours() == [(TODAY_US + 2 * HOUR_US) // HOUR_US]
    plant.passes(2 * HOUR)
    plant.hears(2)
    plant.passes(2.0)
    assert plant.present_hour() in plant.hours()


def test_accounts_older_than_31_days_are_forgotten_and_no_others(plant):
    plant.hears(3)
    for _ in range(32):
        plant.passes(DAY - 3 * HOUR)
        plant.hears(1)
        plant.passes(3 * HOUR - 4.0)
    plant.hears(1)
    plant.passes(2.0)
    assert plant.present_hour() - KEPT_HOURS <= min(plant.hours())
    assert min(plant.hours()) < plant.present_hour() - KEPT_HOURS + 48


@pytest.mark.parametrize(
    ("jump", "pause"),
    [
        pytest.param(HOUR, 80.0, id="ahead"),
        pytest.param(-HOUR, 80.0, id="back"),
        pytest.param(HOUR / 5, 1.0, id="in small steps"),
    ],
)
def test_a_clock_that_jumps_on_and_on_fills_nothing(plant, machine, monkeypatch, jump, pause):
    monkeypatch.setattr(gap_store, "MOST_HOURLY_ROWS", 5)
    seen = set()
    for _ in range(200):
        machine.jump(jump)
        plant.hears(1)
        plant.passes(pause)
        seen.update(plant.hours())
        assert len(plant.hours()) <= 5 + 25
    assert jump < 0 or len(seen) > 30  # set back, it is the new hours that make room


@pytest.mark.parametrize("jump", JUMPS)
def test_nodes_are_not_unheard_of_because_the_clock_was_wrong(plant, machine, jump):
    def unheard():
        names = [name for _, _, name in plant.report(24 * 800).nodes]
        return [
            name
            for name, node in zip(names, plant.report(24 * 800).nodes.values(), strict=True)
            if node.unheard_since_us is not None
        ]

    remember(plant, "A", "B")
    plant.hears(2, node="A")
    plant.hears(2, node="B")
    plant.passes(2 * HOUR)
    machine.jump(jump)
    plant.records.connection_lost(machine.wall_us())
    plant.passes(2.0)
    machine.jump(-jump)
    plant.hears(2, node="A")
    plant.passes(2.0)
    assert unheard() == ["B"]


def remember(plant, *nodes):
    """Let the file say of nodes that they are alive."""
    plant.spool.write(
        lambda db: db.executemany(
            "INSERT INTO births (server, group_id, edge_node_id, device_id, slot, topic, payload, "
            "received_us, alive, stale) VALUES ('plant-a', 'Plant', ?, '', 0, '', x'', 0, 1, 0)",
            [(node,) for node in nodes],
        )
    )


def test_a_clock_that_is_set_by_little_is_followed_at_once(machine):
    clock = SteadyClock(machine.wall_us, machine.monotonic)
    machine.jump(300.0)
    assert clock.now_us() == machine.wall_us()


def test_nothing_is_settled_before_an_hour_of_observations(machine):
    clock = SteadyClock(machine.wall_us, machine.monotonic)
    settled = []
    for _ in range(14):
        machine.passed += 300.0
        clock.now_us()
        settled.append(clock.settled)
    assert settled == [False] * 11 + [True] * 3


def test_one_observation_after_a_long_silence_settles_nothing(machine):
    clock = SteadyClock(machine.wall_us, machine.monotonic)
    machine.passed += 10 * DAY
    machine.jump(400 * DAY)
    clock.now_us()
    assert (clock.settled, clock.jumps) == (False, 0)
