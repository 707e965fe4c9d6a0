"""What happens to the messages of a fleet on their way, and the time that passes meanwhile."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oracle.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from oracle.arrivals import Arrival


@dataclass(frozen=True)
class Batch:
    """Messages that came at `now`, monotonic seconds, and what happened before them."""

    arrivals: list[Arrival]
    now: float = 0.0
    before: tuple[tuple[str, float], ...] = ()  # ("tick", "connection_lost" or "restart", when)

    def __iter__(self) -> Iterator[Arrival]:
        return iter(self.arrivals)

    def __len__(self) -> int:
        return len(self.arrivals)


class Network:
    """Carries the messages of a fleet; loses, doubles and delays some of them."""

    def __init__(self, seed: int, features: Iterable[str]) -> None:
        self.fleet = Fleet(seed, features)
        self.features = self.fleet.features
        self.sent = 0
        self.now = 0.0
        self.underway: list[tuple[int, Arrival]] = []  # comes when so many have been sent
        self.births: dict[tuple[str, str, str], list[Arrival]] = {}  # with the message after it
        self.rng = random.Random(seed)

    def has(self, feature: str, probability: float) -> bool:
        return self.rng.random() < probability and feature in self.features

    def batch(self, seeds: Sequence[int]) -> Batch:
        """As many messages sent as there are seeds, and what comes of them."""
        self.rng = random.Random(f"batch {seeds[:1]}")
        before = []
        if self.has("time", 0.8):
            for _ in range(self.rng.choice((0, 1, 1, 2))):
                self.now += self.rng.choice((0.0, 0.5, 1.0, 2.0))
                before.append(("tick", self.now))
        if self.has("long_pause", 0.06):
            self.now += self.rng.choice((300.0, 600.5))
        for feature, what in (
            ("connection_loss", "connection_lost"),
            ("consumer_restart", "restart"),
        ):
            if self.has(feature, 0.1):
                before.append((what, self.now))
        if self.has("time", 0.5):
            self.now += self.rng.choice((0.0, 0.25, 1.0))
        arrivals = [arrival for seed in seeds for arrival in self.step(seed)]
        return Batch(arrivals, self.now, tuple(before))

    def step(self, seed: int) -> list[Arrival]:
        """The fleet sends a message; what arrives then, of it and of those before."""
        arrival = self.fleet.message(seed)
        self.rng = random.Random(f"step {seed}")
        self.sent += 1
        self.send(arrival)
        self.repeat_birth(arrival)
        come = [a for when, a in self.underway if when <= self.sent]
        self.underway = [(when, a) for when, a in self.underway if when > self.sent]
        # Whatever was delayed arrives now.
        return [replace(a, received_at_us=arrival.received_at_us) for a in come]

    def send(self, arrival: Arrival) -> None:
        is_birth = "BIRTH/" in arrival.topic
        delay = 0
        if self.has("swapped", 0.06):
            delay = self.rng.choice((1, 1, 1, 2, 3, 6))
        if self.has("delayed", 0.02):
            delay = self.rng.choice((10, 30, 80))
        if self.has("doubled", 0.04):
            self.underway.append((self.sent + self.rng.choice((0, 1, 3, 20)), arrival))
        if not self.has("dropped", 0.03) and not (self.has("birth_lost", 0.15) and is_birth):
            self.underway.append((self.sent + delay, arrival))

    def repeat_birth(self, arrival: Arrival) -> None:
        """After a death the birth before it comes again, and perhaps what followed the birth."""
        verb = arrival.topic.split("/")[2:3]
        node = (arrival.server, *arrival.topic.split("/")[1:4:2])
        if verb == ["NBIRTH"]:
            self.births[node] = [arrival]
        elif node in self.births and len(self.births[node]) == 1 and verb != ["NDEATH"]:
            self.births[node].append(arrival)
        if self.has("late_birth", 0.5) and verb == ["NDEATH"]:
            again = self.births.get(node, [])[: self.rng.choice((1, 2))]
            when = self.sent + self.rng.choice((0, 0, 1, 4))
            self.underway += [(when, each) for each in again]
