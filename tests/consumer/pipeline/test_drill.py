"""The drill of a consumer: when it may begin, how long it lasts, and what a restart makes of it."""

from __future__ import annotations

import contextlib
import json
import logging

import pytest
from support.clock import Clock
from support.columnar import change, message, tag
from support.hand_fed import Courier
from support.unconnected import configuration

from consumer.broker import DRILL, InboxBatch
from consumer.errors import SpoolDiskFull
from consumer.pipeline import DrillRefused, DrillWanted, make_consumer
from consumer.pipeline.drill import Drill
from consumer.spool import DrillStore
from sparkplug import MessageBatch

NOON_MS = 1_796_040_000_000
SENT_MS = 1_700_000_000_000
WANTED = DrillWanted(("plant",), 30.0, 20.0, "on-call")


class Leaving(Courier):
    """A connection that is no MQTT, and that has obeyed its switch as soon as it is looked at."""

    def obey(self):
        """Whether it has just left."""
        before = self.connected.is_set()
        if self.switch.barred.is_set() and self.switch.hurries:
            self.switch.wait()  # its end has come
        now = not self.switch.barred.is_set()
        self.connected.set() if now else self.connected.clear()
        return before and not now


class Run:
    """One run of a consumer whose clocks are set by hand; one edge node publishes every second."""

    def __init__(self, directory, now_ms=NOON_MS, **options):
        self.consumer = make_consumer(configuration(directory, **options))
        self.clock = Clock()
        self.ahead_ms = now_ms - 1000 * self.clock.now
        self.connection = Leaving(self.consumer.configuration.servers[0])
        self.connection.switch._clock = self.clock
        self.drill = self.consumer.decoding._drill = self.consumer.drill = Drill(
            self.consumer.configuration,
            self.consumer.spool,
            sources=self.consumer.sources,
            connections=[self.connection],
            back_pressure=self.consumer.back_pressure,
            clock=self.clock,
            now_ms=self.now_ms,
        )
        self.drill.resume()
        self.connection.obey()
        self.seq = 0
        self.offline = []

    def now_ms(self):
        return int(1000 * self.clock.now + self.ahead_ms)

    def feed(self, *messages):
        lost = {0: 1000 * self.now_ms()} if self.connection.obey() else {}
        batch = InboxBatch({0: MessageBatch(messages)} if messages else {}, lost=lost)
        self.consumer.decoding._take(batch, self.clock.now)
        self.drill.tend()
        self.offline.append(not self.connection.connected.is_set())

    def birth(self):
        self.seq = 0
        self.feed(message("NBIRTH", tag("Level", 0), timestamp=SENT_MS + self._ms))

    def data(self, *past_ms):
        self.seq = (self.seq + 1) % 256
        fields = [{"timestamp": SENT_MS + each, "is_historical": True} for each in past_ms]
        metrics = [change(0, 1.0) | each for each in fields or [{"timestamp": SENT_MS + self._ms}]]
        self.feed(message("NDATA", *metrics, seq=self.seq, timestamp=SENT_MS + self._ms))

    @property
    def _ms(self):
        return int(1000 * (self.clock.now - 1000))

    def pass_seconds(self, seconds, *, publishing=False):
        for _ in range(seconds):
            self.clock.now += 1
            self.data() if publishing and self.connection.connected.is_set() else self.feed()

    def state(self):
        return self.drill.status()["state"]

    def verdicts(self):
        return {each.edge_node_id: each.verdict for each in self.drill.results(("plant",))}

    def close(self):
        self.consumer.spool.close()


@pytest.fixture
def runs(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(**options):
            run = Run(tmp_path, **options)
            stack.callback(run.close)
            return run

        yield start


@pytest.fixture
def run(runs):
    found = runs()
    found.birth()
    return found


def test_it_listens_leaves_comes_back_waits_and_judges(run):
    run.drill.ask(WANTED)
    run.pass_seconds(29, publishing=True)
    assert run.state() == "listening"
    run.pass_seconds(1, publishing=True)
    assert run.state() in ("leaving", "offline")
    run.pass_seconds(28)
    assert run.state() == "offline"
    assert "a drill of on-call keeps the host offline for 2 s more" in run.drill.why_offline
    assert run.drill.keeps_offline("plant")
    run.pass_seconds(3)
    assert run.state() == "waiting"
    assert run.drill.why_offline == ""
    run.birth()
    run.data(*range(31_000, 61_000, 1_000))
    run.pass_seconds(6)
    assert run.state() == "idle"
    assert run.verdicts() == {"Edge": "kept"}
    last = run.drill.status()["last"]
    assert (last["outcome"], last["counts"]["kept"]) == ("judged", 1)
    assert last["text"] == "of 1 edge nodes 1 keep their data"
    assert json.dumps(run.drill.status())


def test_whoever_sends_no_history_is_waited_for_and_then_named(run, caplog):
    run.drill.ask(WANTED)
    run.pass_seconds(61, publishing=True)
    run.birth()
    run.pass_seconds(17)
    assert run.state() == "waiting"
    run.pass_seconds(5)
    assert run.verdicts() == {"Edge": "lost"}
    assert "drill: of 1 edge nodes 1 lose it: Plant/Edge" in caplog.text
    assert run.drill.may_lose(("plant",)) == [("plant", "Plant", "Edge")]


def test_the_host_is_offline_for_no_longer_than_was_asked_though_nobody_tends_it(run):
    run.drill.ask(WANTED)
    run.pass_seconds(31)
    assert run.connection.switch.barred.is_set()
    run.clock.now += 30
    assert run.connection.switch.wait()
    assert not run.connection.switch.barred.is_set()


def test_an_end_brings_the_host_back_at_once_and_what_came_is_judged(run):
    run.drill.ask(WANTED)
    run.pass_seconds(40, publishing=True)
    assert run.state() == "offline"
    assert run.drill.end()
    assert not run.connection.switch.barred.is_set()
    run.pass_seconds(1)
    assert run.state() == "waiting"
    run.birth()
    run.data(*range(31_000, 41_000, 1_000))
    run.pass_seconds(6)
    assert run.verdicts() == {"Edge": "kept"}
    assert run.drill.results(("plant",))[0].window_seconds == pytest.approx(11, abs=1)
    assert not run.drill.end()


def test_an_end_while_history_is_awaited_ends_the_waiting(run):
    run.drill.ask(WANTED)
    run.pass_seconds(61, publishing=True)
    run.birth()
    run.pass_seconds(7)
    assert run.state() == "waiting"
    assert run.drill.end()
    run.pass_seconds(2)
    assert run.state() == "idle"
    assert run.verdicts() == {"Edge": "lost"}
    assert not run.drill.refusal(("plant",))


def test_an_end_before_the_host_went_offline_costs_nothing(run):
    run.drill.ask(WANTED)
    run.pass_seconds(5, publishing=True)
    assert run.drill.end()
    run.pass_seconds(60, publishing=True)
    assert run.drill.status()["last"]["outcome"] == "ended"
    assert not any(run.offline)
    assert run.verdicts() == {}


# refused


def test_it_is_refused_while_one_is_on(run):
    run.drill.ask(WANTED)
    with pytest.raises(DrillRefused, match=r"a drill of on-call is on \(listening\)"):
        run.drill.ask(WANTED)


def test_it_is_refused_while_not_connected(run):
    run.connection.connected.clear()
    with pytest.raises(DrillRefused, match="plant is not connected"):
        run.drill.ask(WANTED)


def test_a_passive_host_has_none(runs):
    with pytest.raises(DrillRefused, match="the host is passive"):
        runs(host={"mode": "passive"}).drill.ask(WANTED)


def test_it_is_refused_while_the_gate_is_closed(runs):
    run = runs(host={"gate_on_sink": True})
    run.consumer.back_pressure.close_for(SpoolDiskFull("no room"))
    with pytest.raises(DrillRefused, match="the gate to the edge is not open: closing: no room"):
        run.drill.ask(WANTED)


def test_it_does_not_begin_when_the_connection_is_lost_while_it_listens(run):
    run.drill.ask(WANTED)
    run.pass_seconds(5)
    run.connection.connected.clear()
    run.drill.tend()
    last = run.drill.status()["last"]
    assert last["outcome"] == "failed"
    assert last["text"] == "the host did not go offline: plant is not connected"


def test_it_does_not_begin_when_it_cannot_be_remembered(run, monkeypatch):
    def full(*_):
        raise SpoolDiskFull("no room on the disk")

    monkeypatch.setattr(DrillStore, "write_running", full)
    run.drill.ask(WANTED)
    run.pass_seconds(35)
    assert not any(run.offline)
    assert "did not go offline: no room on the disk" in run.drill.status()["last"]["text"]


def test_a_defect_ends_the_drill_and_nothing_else(run, monkeypatch, caplog):
    run.drill.ask(WANTED)
    run.pass_seconds(40, publishing=True)
    assert run.state() == "offline"
    monkeypatch.setattr(run.drill, "_return", lambda *_: 1 / 0)
    run.pass_seconds(25)
    assert "the drill is given up" in caplog.text
    assert run.drill.status()["last"]["outcome"] == "failed"
    assert not run.connection.switch.barred.is_set()
    run.birth()
    run.data()


# a restart


@pytest.fixture
def killed(runs):
    """A consumer that is killed 5 s after its host went offline; its clock says so."""
    run = runs()
    run.birth()
    run.drill.ask(WANTED)
    run.pass_seconds(35, publishing=True)
    assert run.state() == "offline"
    run.close()
    return run


@pytest.mark.parametrize(
    ("clock_says", "still_offline"),
    [
        (10, 15),  # the deadline is 25 s away: restarted 10 s later
        (24, 1),
        (26, 0),
        (3_600, 0),
        # A clock that was set: never for longer than the drill was to last.
        (-3_600, 30),
        (400 * 86_400, 0),
    ],
)
def test_after_a_restart_the_host_is_offline_until_the_deadline_and_no_longer(
    runs, killed, clock_says, still_offline
):
    again = runs(now_ms=killed.now_ms() + 1000 * clock_says)
    again.pass_seconds(40)
    offline = sum(again.offline)
    assert still_offline - 1 <= offline <= still_offline
    assert again.drill.why_offline == ""


def test_after_a_restart_it_is_judged_what_came_of_the_whole_time(runs, killed):
    again = runs(now_ms=killed.now_ms() + 60_000)
    again.clock.now += 95
    again.pass_seconds(1)
    again.birth()
    again.data(*range(31_000, 96_000, 1_000))
    again.pass_seconds(8)
    assert again.drill.status()["last"]["begun_ms"] == NOON_MS
    assert again.verdicts() == {"Edge": "kept"}
    assert again.drill.results(("plant",))[0].window_seconds == pytest.approx(66, abs=2)
    # Nothing of it is left for the next run.
    assert DrillStore(again.consumer.spool.state, 1 << 30).running() is None


def test_a_restart_while_history_was_awaited_leaves_nothing_judged(runs):
    run = runs()
    run.birth()
    run.drill.ask(WANTED)
    run.pass_seconds(65, publishing=True)
    assert run.state() == "waiting"
    run.close()
    again = runs(now_ms=run.now_ms() + 1_000)
    assert not again.connection.switch.barred.is_set()
    last = again.drill.status()["last"]
    assert (last["outcome"], last["begun_ms"]) == ("failed", NOON_MS)
    assert "run the drill again" in last["text"]
    assert again.verdicts() == {}


@pytest.mark.parametrize(
    "content",
    [
        {"seconds": "x"},
        {"seconds": 1e9, "servers": 7},
        {"a": 1},
        {
            "seconds": 30,
            "wait": 1,
            "by": "a",
            "begun_ms": 1,
            "until_ms": NOON_MS + 10_000,
            "servers": ["plant"],
            "phase": "offline",
            "before": [],
        },
    ],
)
def test_what_is_kept_of_a_drill_and_makes_no_sense_keeps_nobody_offline(runs, content):
    run = runs()
    DrillStore(run.consumer.spool.state, 1 << 30).write_running(content)
    run.close()
    again = runs()
    assert again.state() == "idle"
    assert not again.connection.switch.barred.is_set()


@pytest.mark.usefixtures("killed")
def test_no_more_than_two_minutes_whatever_is_kept(runs):
    first = runs()
    store = DrillStore(first.consumer.spool.state, 1 << 30)
    store.write_running(store.running() | {"seconds": 1e9, "until_ms": NOON_MS + 10**12})
    first.close()
    again = runs()
    assert again.drill.status()["left_seconds"] == 120


# who has no good result


def test_a_gating_consumer_names_at_its_start_who_may_lose_data(runs, caplog):
    run = runs(host={"gate_on_sink": True})
    assert "are not known to keep" not in caplog.text
    for number in range(12):
        run.feed(message("NBIRTH", tag("Level", 0), node=f"Edge {number:02}"))
    run.consumer.sources[0].gaps.collect(leaving=True)
    run.consumer.decoding._take_leave()
    run.close()
    runs(host={"gate_on_sink": True}).close()
    [record] = [each for each in caplog.records if "are not known to keep" in each.getMessage()]
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert "of 12 edge nodes 12 are not known to keep their data while the gate is closed" in text
    assert "Plant/Edge 00, " in text
    assert text.count("Plant/Edge") == 10
    assert "and 2 others" in text
    caplog.clear()
    runs()
    assert "are not known to keep" not in caplog.text


def test_the_gate_and_a_drill_do_not_open_the_way_for_each_other(runs):
    run = runs(host={"gate_on_sink": True})
    run.birth()
    run.drill.ask(WANTED)
    run.pass_seconds(32)
    run.connection.switch.shut(0.0)  # as the gate does
    run.pass_seconds(35)
    assert run.connection.switch.barred.is_set()
    run.connection.switch.open(by=DRILL)
    assert run.connection.switch.barred.is_set()
    run.connection.switch.open()
    assert not run.connection.switch.barred.is_set()
