"""An edge node whose state is known, servers that show it, and all that may go wrong between them.

What a table is to say in the end does not depend on how that came about: tags of what is alive
have their last value, all others are STALE (docs/decoding.md, "Deaths, and births after them").
"""

from __future__ import annotations

import random
import sqlite3
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from support.columnar import message, name
from support.host_side import Server

from consumer.spool import layout
from consumer.spool.fleet import FleetStore
from consumer.spool.gaps import GapStore
from oracle.messages import ARRIVED, metric
from sparkplug.datatypes import DataType

if TYPE_CHECKING:
    from sparkplug.messages import Message, RebirthRequest

GIB: Final = 1 << 30
SECOND_US: Final = 1_000_000
CLOCKS: Final = (0, 0, 3600 * SECOND_US, -3600 * SECOND_US)
PAUSE: Final = 5.0
"""Seconds between two requests of one server."""

OPERATIONS: Final = (
    *("start", "start", "die", "data", "data", "data", "rebirth", "change", "device_dies"),
    *("device_is_born", "lose", "connect", "connect", "restart", "rest", "rest", "rest_long"),
)

Tags = dict[str, tuple[float, int]]
"""Values, and when they were measured, by name."""


class Watcher(Server):
    """One server of a plant, what it remembers on disk, and whether it is connected."""

    def __init__(self, plant: Plant, number: int, disk: sqlite3.Connection) -> None:
        site = "plant" if len(plant.disks) > 1 else ""
        super().__init__(
            site, reorder_timeout=2.0, unheard=600.0, stale_when_lost=plant.stale_when_lost
        )
        self.plant, self.disk, self.number = plant, disk, number
        self.store = FleetStore("server", GIB)
        self.connected = True
        self.asked_at = -PAUSE
        self.wanted: list[RebirthRequest] = []

    def again(self) -> Watcher:
        """The same one after a restart of the consumer."""
        fleet, now, key = self.fleet, self.plant.now, self.number
        self._take(fleet.flush(now))
        self._account(leaving=True)
        self.store.write_held(self.disk, fleet.memory.held(), GIB)
        other = Watcher(self.plant, key, self.disk)
        births, held = list(self.store.births.read(self.disk)), self.store.take_held(self.disk)
        kept = fleet.memory.sequence_state(), held, now, fleet.memory.conduct_state()
        slots = other.fleet.memory.restore(births, *kept)
        gaps = GapStore("server", GIB).read_healable(self.disk)
        other.fleet.memory.restore_gaps(gaps, self.plant.sent[key])
        self.store.births.write_slots(self.disk, slots, GIB)
        # Who was to be asked is asked by the next run: this is about what is known of nodes.
        other.wanted = self.wanted
        return other

    def _account(self, *, leaving: bool = False) -> None:
        for group_id, edge_node_id, _, sent_us in self.fleet.take_received(never_born=leaving):
            self.plant.sent[self.number][group_id, edge_node_id] = sent_us

    def _take(self, decoded: Any) -> Any:
        rows = super()._take(decoded)
        self.store.births.write(self.disk, decoded.memories, GIB)
        self._account()
        self.wanted += decoded.rebirths
        self.plant.landed(rows)
        return rows


class Plant:
    """Does something by chance with every call of `step`.

    Attributes:
        shown: quality and number of each tag, as `tag_events_latest` shows them.
    """

    def __init__(self, seed: int, servers: int, *, stale_when_lost: bool) -> None:
        self.rng = random.Random(seed)
        self.stale_when_lost = stale_when_lost
        self.ahead_us = self.rng.choice(CLOCKS)
        self.now = 0.0
        self.shown: dict[str, tuple[str, float | None]] = {}
        self.disks = [sqlite3.connect(":memory:") for _ in range(servers)]
        for disk in self.disks:
            for statement in (*layout.TABLES, *chain(*layout.ADDED.values())):
                disk.execute(statement)
        self.sent: list[dict[tuple[str, str], int]] = [{} for _ in self.disks]
        self.watchers: list[Watcher] = []
        self._watch([Watcher(self, number, disk) for number, disk in enumerate(self.disks)])
        self.is_alive = True
        self.bd_seq = self.seq = 0
        self.own: Tags = {"R": self.value()}
        self.devices: dict[str, Tags] = {}
        self.deliver(*self.births())
        # It shows that it answers: data of a hole in seq, and the births that are asked for.
        self.seq += 1
        self.deliver(self.message("NDATA", self.own))
        self.passes(6.0)

    def _watch(self, watchers: list[Watcher]) -> None:
        self.watchers = watchers
        for each in watchers:
            others = [other.fleet.liveness for other in watchers if other is not each]
            each.fleet.liveness.join(others)

    # The table

    def landed(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if not row["is_historical"]:
                self.shown[name(row)] = row["quality"], row["numeric_value"]

    def so_it_is(self) -> dict[str, tuple[str, float | None]]:
        """What the table should show of the tags that are in it."""
        found: dict[str, tuple[str, float | None]] = dict.fromkeys(self.shown, ("STALE", None))
        if self.is_alive:
            for device, tags in ((None, self.own), *self.devices.items()):
                for tag, (value, _) in tags.items():
                    found["/".join(filter(None, (device, tag)))] = "GOOD", value
        return found

    # What the node says

    @property
    def now_us(self) -> int:
        return ARRIVED + int(self.now * SECOND_US)

    def value(self) -> tuple[float, int]:
        return float(self.rng.randrange(5)), (self.now_us + self.ahead_us) // 1000

    def message(self, verb: str, tags: Tags, device: str | None = None) -> Message:
        at_ms = (self.now_us + self.ahead_us) // 1000
        metrics = [
            metric(tag, DataType.Double, double_value=value, timestamp=since)
            for tag, (value, since) in sorted(tags.items())
        ]
        if verb in {"NBIRTH", "NDEATH"}:
            metrics.append(metric("bdSeq", DataType.Int64, long_value=self.bd_seq))
        if verb == "NBIRTH":
            self.seq = self.rng.randrange(256)  # what was lost is not to look like in order
        seq = None if verb == "NDEATH" else self.seq
        self.seq = (self.seq + (verb != "NDEATH")) % 256
        return message(
            verb, *metrics, seq=seq, device=device, timestamp=at_ms, received_us=self.now_us
        )

    def births(self) -> list[Message]:
        of_devices = (self.message("DBIRTH", tags, device) for device, tags in self._by_device())
        return [self.message("NBIRTH", self.own), *of_devices]

    def _by_device(self) -> list[tuple[str, Tags]]:
        return sorted(self.devices.items())

    def deliver(self, *messages: Message, lost: float = 0.0) -> None:
        """To all servers that are connected; `lost` is how probably to none."""
        if self.rng.random() < lost:
            return
        for each in self.watchers:
            if each.connected:
                each.at(self.now, *messages)

    # What happens

    def passes(self, seconds: float, step: float = 1.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = round(self.now + step, 3)
            for each in self.watchers:
                if each.connected:
                    each.fleet.absence.listening(self.now_us)
                each.tick(self.now)
            self.answer()

    def answer(self) -> None:
        """Requests are sent; the node answers if it lives."""
        asked = False
        for each in self.watchers:
            if each.wanted and each.connected and self.now - each.asked_at >= PAUSE:
                each.asked_at, each.wanted = self.now, []
                each.fleet.absence.asked("Plant", "Edge")
                asked = True
        if asked and self.is_alive:
            self.deliver(*self.births())

    def some(self, *names: str) -> list[str]:
        return self.rng.sample(names, self.rng.choice((1, 2)))

    def start(self) -> None:
        if not self.is_alive:
            self.bd_seq = (self.bd_seq + 1) % 256
            self.is_alive = True
            self.own = {tag: self.value() for tag in self.some("R", "S")}
            self.devices = {
                device: {tag: self.value() for tag in self.some("L", "M")}
                for device in ("Boiler", "Fan")
                if self.rng.random() < 0.8
            }
            self.deliver(*self.births(), lost=0.2)

    def die(self) -> None:
        if self.is_alive:
            self.is_alive, self.devices = False, {}
            self.deliver(self.message("NDEATH", {}), lost=0.4)

    def data(self, lost: float = 0.05) -> None:
        for _ in range(self.rng.choice((1, 1, 3)) if self.is_alive else 0):
            device = self.rng.choice([None, *self.devices])
            tags = self.own if device is None else self.devices[device]
            tag = self.rng.choice(sorted(tags))
            tags[tag] = self.value()
            verb = "NDATA" if device is None else "DDATA"
            self.deliver(self.message(verb, {tag: tags[tag]}, device), lost=lost)

    def rebirth(self) -> None:
        if self.is_alive:
            self.deliver(*self.births(), lost=0.1)

    def change(self) -> None:
        """Other tags than before, and perhaps a device less, of which no death is heard."""
        if self.is_alive:
            self.own = {tag: self.own.get(tag) or self.value() for tag in self.some("R", "S")}
            if self.devices and self.rng.random() < 0.5:
                del self.devices[self.rng.choice(sorted(self.devices))]
            self.deliver(*self.births())

    def device_dies(self) -> None:
        if self.is_alive and self.devices:
            device = self.rng.choice(sorted(self.devices))
            del self.devices[device]
            self.deliver(self.message("DDEATH", {}, device), lost=0.2)

    def device_is_born(self) -> None:
        if self.is_alive:
            device = self.rng.choice(("Boiler", "Fan"))
            tags = self.devices[device] = {tag: self.value() for tag in self.some("L", "M")}
            self.deliver(self.message("DBIRTH", tags, device))

    def lose(self) -> None:
        self.loses(self.rng.choice(self.watchers))

    def loses(self, watcher: Watcher) -> None:
        if watcher.connected:
            watcher.connected = False
            watcher.lost(self.now, self.now_us)

    def connect(self) -> None:
        for each in self.watchers:
            each.connected |= self.rng.random() < 0.7

    def restart(self) -> None:
        self._watch([each.again() for each in self.watchers])

    def rest(self) -> None:
        self.passes(self.rng.choice((1.0, 3.0, 12.0)))

    def rest_long(self) -> None:
        self.passes(self.rng.choice((100.0, 700.0)), step=5.0)

    def step(self) -> None:
        self.now = round(self.now + 0.01, 3)
        getattr(self, self.rng.choice(OPERATIONS))()
        if self.rng.random() < 0.7:
            self.answer()

    def settle(self) -> None:
        """All are connected, then away once more; what can be known is known after that."""
        for each in self.watchers:
            each.connected = True
        self.passes(3.0)
        self.data(lost=0.0)
        self.passes(15.0)
        if self.rng.random() < 0.5:
            self.restart()
        else:
            for each in self.watchers:
                self.loses(each)
            for each in self.watchers:
                each.connected = True
        if self.rng.random() < 0.5:
            self.data(lost=0.0)
        self.passes(1500.0, step=2.0)
