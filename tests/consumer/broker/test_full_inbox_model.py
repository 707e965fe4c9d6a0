"""A full queue against a slow model of it, and what is promised whatever comes."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from support.full_inbox import OVERHEAD, Full, topic
from support.generated import examples

VERBS = ("NDATA", "DDATA", "NBIRTH", "DBIRTH", "NDEATH")


class Model:
    """The same on a list of single messages; everything is worked out anew each time."""

    def __init__(self, room):
        self.room, self.spare = room, room // 8
        self.waiting = []  # (sender, rank, size, number, serial)
        self.serial = itertools.count()
        self.level = None
        self.taken = 0
        self.refused = Counter()

    def bytes(self, sender=None):
        return sum(size for whose, _, size, *_ in self.waiting if sender in (None, whose))

    def fair(self, room):
        of = [self.bytes(sender) for sender in {each[0] for each in self.waiting}]
        most = max(of, default=0)
        cut = bisect_right(range(most + 1), room, key=lambda level: sum(min(n, level) for n in of))
        return cut - 1

    def put(self, node, verb, size, number):
        rank = 2 if verb.endswith("DEATH") else int(verb.endswith("BIRTH"))
        size += OVERHEAD
        fits = self.fits(node, rank, size)
        if fits:
            self.waiting.append((node, rank, size, number, next(self.serial)))
        else:
            self.refused[0, f"Plant/{node}"] += 1
        return fits

    def fits(self, node, rank, size):
        after = self.bytes() + size
        if size > self.room:
            return False
        if self.level is None and after > self.room:
            self.level, self.taken = self.fair(self.room - self.spare), 0
        if self.level is None:
            return True
        if after <= self.room - self.spare:
            self.level = max(self.level, self.bytes(node) + size)
            return True
        if after > self.room:
            return self.make_room(node, rank, size)
        return rank > 0 or self.bytes(node) + size <= self.level

    def make_room(self, node, rank, size):
        if rank == 0 and self.bytes(node) + size > self.level:
            return False
        left = self.room - max(self.spare, size)
        level = self.fair(left)
        fits = rank > 0 or self.bytes(node) + size <= level
        if fits or size <= self.spare:
            self.level, self.taken = level, 0
            for message in sorted(self.waiting, key=lambda each: (each[1], -each[4])):
                if self.bytes() > left and self.bytes(message[0]) > level:
                    self.waiting.remove(message)
                    self.refused[0, f"Plant/{message[0]}"] += 1
        return fits

    def take(self, count):
        gone, self.waiting = self.waiting[:count], self.waiting[count:]
        if self.level is not None:
            self.taken += sum(size for _, _, size, *_ in gone)
            if self.bytes() < self.room // 2:
                self.level = None
            elif self.taken >= self.spare:
                self.level, self.taken = self.fair(self.room - self.spare), 0
        return [number for *_, number, _ in gone]


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["Loud", "Loud", "Loud", "B", "C", "D"]),
        st.sampled_from(["NDATA", "NDATA", "DDATA", "NBIRTH", "NDEATH"]),
        st.sampled_from([0, 0, 10, 400, 2_500]),
    ),
    max_size=25,
)


@given(data=st.data())
@examples(150)
def test_it_does_what_a_model_on_single_messages_does(data):
    room = data.draw(st.integers(1_000, 20_000))
    full, model = Full(room, messages=data.draw(st.integers(1, 9))), Model(room)
    numbered = itertools.count()
    for _ in range(data.draw(st.integers(1, 8))):
        run = data.draw(MESSAGES)
        if data.draw(st.booleans()) and not any(verb == "NDEATH" for _, verb, _ in run):
            at_us = next(numbered)  # one for all of them
            topics = [topic(node, verb) for node, verb, _ in run]
            refused = full.inbox.put_many(0, topics, [bytes(size) for *_, size in run], at_us)
            assert refused == sum(not model.put(*each, at_us) for each in run)
        else:
            for node, verb, size in run:
                number = next(numbered)
                assert full.put(node, number, size, verb=verb) == model.put(
                    node, verb, size, number
                )
        assert full.refused == model.refused
        assert full.inbox.queued_bytes == model.bytes() <= room
        for _ in range(data.draw(st.integers(0, 3))):
            batch = full.inbox.take(0.0)
            found = [each.received_us for part in batch.by_server.values() for each in part]
            assert found == model.take(len(found))


SENDERS = [(server, node) for server in range(2) for node in ("Loud", "B", "C")]
PUTS = st.lists(
    st.tuples(
        st.sampled_from(SENDERS + [(0, "Loud")] * 6),
        st.sampled_from(VERBS),
        st.sampled_from([0, 400, 1_500]),
        st.sampled_from([False] * 9 + [True]),
    ),
    min_size=20,
    max_size=100,
)


@given(room=st.integers(20_000, 60_000), messages=st.integers(1, 9), puts=PUTS)
@examples(80)
def test_whoever_has_less_than_an_equal_part_loses_nothing(room, messages, puts):
    full = Full(room, messages)
    put, sizes, found = Counter(), Counter(), []

    def take():
        batch = full.inbox.take(0.0)
        found.extend((server, each) for server, part in batch.by_server.items() for each in part)
        return batch

    for number, ((server, node), verb, size, is_taken) in enumerate(puts):
        full.put(node, number, size, verb=verb, server=server)
        put[server, f"Plant/{node}"] += 1
        sizes[server, f"Plant/{node}"] += size + OVERHEAD
        assert full.inbox.queued_bytes <= room
        if is_taken:
            take()
    while take():
        pass
    assert full.inbox.queued_bytes == 0
    taken = Counter((server, "Plant/" + each.topic.split("/")[3]) for server, each in found)
    assert taken + full.refused == put
    part = (room - room // 8) // len(SENDERS)
    assert not [each for each in full.refused if sizes[each] <= part]
    for server, node in SENDERS:
        of = [m.received_us for s, m in found if s == server and f"/{node}" in m.topic]
        assert of == sorted(of)
