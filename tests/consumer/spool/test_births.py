"""Births have a bound of their own in the spool's file, and an order of leaving."""

from __future__ import annotations

import contextlib
import os
import random

import pyarrow as pa
import pytest
from support.columnar import message, tag
from support.generated import seeds
from support.participants import Writes
from support.read_spool import read_from
from support.spooled_rows import random_rows

from consumer.spool import FleetStore, Spool, kept_births_of
from consumer.spool.gaps import HOUR_US
from sparkplug import BirthMemory, EndMemory, Fleet, HeldMessage, Message, Quarantined, Reason

SERVER = "plant-a"
MIB = 1 << 20
SPOOL = 64 * MIB
"""Leaves 16 MiB to births, and 4 MiB of these to one node."""


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db", max_bytes=SPOOL, sync="off")
    yield spool
    spool.close()


def store(server=SERVER):
    return FleetStore(server, SPOOL)


def birth(node, mebibytes=0.0, device=None, slot=0):
    verb = "NBIRTH" if device is None else "DBIRTH"
    topic = f"spBv1.0/Plant/{verb}/{node}" + (f"/{device}" if device else "")
    payload = os.urandom(int(mebibytes * MIB))  # compresses to nothing
    return BirthMemory(slot, "Plant", node, device, Message(topic, payload, 1_000))


def death(node):
    return EndMemory("Plant", node, None, stale=True, bd_seq=5, time_us=77)


def write(spool, *memories, server=SERVER):
    """Commit memories, each by itself; returns the nodes that left."""
    left = []
    for each in memories:
        spool.commit(
            [],
            [
                Writes(
                    lambda db, each=each: left.extend(
                        store(server).births.write(db, [each], spool.space.room())
                    )
                )
            ],
        )
        assert spool.stats().used_bytes <= SPOOL
    return [node for _, _, node in left]


def kept(spool, server=SERVER):
    births = read_from(spool, lambda db: list(store(server).births.read(db)))
    return [(each.birth.edge_node_id, each.birth.device_id) for each in births]


def nodes(spool):
    return {node for node, _ in kept(spool)}


def hear(spool, at_us, *names):
    heard = {("Plant", name): (at_us, 0) for name in names}
    gaps = "INSERT OR REPLACE INTO edge_nodes (server, group_id, edge_node_id, last_us, sent_us) "
    rows = [(SERVER, *node, *times) for node, times in heard.items()]
    spool.write(lambda db: db.executemany(f"{gaps} VALUES (?, ?, ?, ?, ?)", rows))


def test_births_take_a_quarter_of_the_spool_at_most(spool):
    write(spool, *(birth(f"N{number}", 3) for number in range(40)))
    query = "SELECT sum(length(payload)) FROM births"
    [size] = read_from(spool, lambda db: db.execute(query).fetchone())
    assert 9 * MIB < size <= SPOOL / 4
    assert spool.stats().used_bytes < SPOOL / 2


def test_what_one_server_has_is_counted_for_all(spool):
    write(spool, *(birth(f"A{number}", 3) for number in range(4)))
    write(spool, *(birth(f"B{number}", 3) for number in range(4)), server="plant-b")
    assert len(kept(spool)) + len(kept(spool, "plant-b")) == 4


def test_a_node_whose_births_are_larger_than_its_part_has_none(spool):
    assert write(spool, birth("A", 0.1), birth("A", 4)) == ["A"]
    assert kept(spool) == []
    assert write(spool, birth("B"), birth("B", 2, "X"), birth("B", 2, "Y")) == ["B"]
    assert kept(spool) == []


def test_a_device_says_nothing_without_the_birth_of_its_node(spool):
    write(spool, birth("A", 4), birth("A", 0.1, "Boiler"))
    assert kept(spool) == []
    write(spool, birth("A"), birth("A", 0.1, "Boiler"))
    assert kept(spool) == [("A", None), ("A", "Boiler")]


def test_devices_of_an_earlier_session_leave_before_their_node(spool):
    write(spool, birth("A"), birth("A", 2, "Old"), birth("A"), birth("A", 3, "New"))
    assert kept(spool) == [("A", None), ("A", "New")]


def test_the_dead_leave_first(spool):
    write(spool, birth("Alive", 3.4), birth("Dead", 3.4), birth("Other", 3.4), birth("Last", 3.4))
    write(spool, death("Dead"))
    assert write(spool, birth("New", 3.4)) == ["Dead"]
    assert nodes(spool) == {"Alive", "Other", "Last", "New"}


def test_of_the_living_those_leave_first_that_were_not_heard_for_long(spool):
    write(spool, *(birth(name, 3.4) for name in ("A", "B", "C", "D")))
    hear(spool, 100 * HOUR_US, "A", "C", "D")
    hear(spool, 90 * HOUR_US, "B")
    assert write(spool, birth("New", 3.4)) == ["B"]


def test_who_speaks_and_takes_little_is_not_pushed_out_by_invented_nodes(spool):
    honest = [f"Honest{number}" for number in range(20)]
    write(spool, *(birth(name, 0.1) for name in honest))
    hear(spool, 100 * HOUR_US, *honest)
    for number in range(20):
        write(spool, birth(f"Invented{number}", 3.5))
        hear(spool, 100 * HOUR_US + 1, f"Invented{number}")
    assert nodes(spool) >= set(honest)


def test_births_without_room_in_a_full_file_leave_and_the_file_stays_within_its_bound(spool):
    write(spool, birth("A", 0.1))
    [(page_bytes,)] = read_from(spool, lambda db: db.execute("PRAGMA page_size").fetchall())
    nearly_all = SPOOL - spool.stats().used_bytes - 3 * MIB
    ballast = bytes(nearly_all // 2 - 16 * page_bytes)  # in the file and in the log
    spool.write(lambda db: db.execute("INSERT INTO state VALUES ('ballast', ?)", (ballast,)))
    assert write(spool, birth("B", 2), birth("C", 0.1)) == ["B"]
    assert nodes(spool) == {"A", "C"}


def test_a_death_that_would_write_a_birth_anew_beyond_the_bound_lets_it_leave(spool):
    write(spool, birth("A", 3), birth("B", 0.1))
    spool.write(lambda db: store().births.write(db, [death("A"), death("B")], MIB))
    assert nodes(spool) == {"B"}


def test_what_births_take_is_right_after_any_sequence_of_writes(spool):
    write(spool, birth("A", 1), birth("A", 1, "X"), birth("A", 2), birth("B", 3), death("B"))
    write(spool, *(birth(f"N{number}", 3) for number in range(6)), birth("B", 0.2))
    spool.write(lambda db: store().births.write_slots(db, {("Plant", "B"): 0}, SPOOL))
    write(spool, birth("C", 1))
    counted = spool.state.get("birth_bytes")
    spool.write(lambda db: db.execute("DELETE FROM state WHERE key = 'birth_bytes'"))
    write(spool, birth("C", 1))
    assert spool.state.get("birth_bytes") == counted


# ---------------------------------------------------------------------- over a restart


def plant(spool, count):
    """A fleet whose births are in the spool."""
    fleet = Fleet()
    decoded = fleet.feed([message("NBIRTH", tag("Ramp", 0), node=f"N{i}") for i in range(count)])
    spool.commit([], [Writes(lambda db: store().births.write(db, decoded.memories, SPOOL))])
    return fleet


def restart(spool, sequence):
    fleet = Fleet()
    slots = read_from(spool, lambda db: fleet.memory.restore(store().births.read(db), sequence))
    return fleet, slots


def test_nodes_keep_their_slots_so_that_a_start_writes_no_birth(spool):
    before = plant(spool, 70)
    again = before.feed([message("NBIRTH", tag("Ramp", 0), node="N3", timestamp=9)])
    spool.commit([], [Writes(lambda db: store().births.write(db, again.memories, SPOOL))])
    _, slots = restart(spool, before.memory.sequence_state())
    assert slots == {("Plant", f"N{i}"): i for i in range(70)}
    db = spool._db
    written = db.total_changes
    spool.write(lambda db: store().births.write_slots(db, slots, 0))
    assert db.total_changes - written <= 1  # the sum of what births take, to be counted anew
    assert len(nodes(spool)) == 70


def test_the_last_node_takes_the_slot_of_one_that_left(spool):
    before = plant(spool, 9)
    before.feed([message("NDATA", tag("Ramp", 0), node="N8", seq=1)])
    spool.write(lambda db: db.execute("DELETE FROM births WHERE edge_node_id = 'N4'"))
    fleet, slots = restart(spool, before.memory.sequence_state())
    assert slots["Plant", "N8"] == 4
    assert [slots["Plant", f"N{i}"] for i in (3, 5, 6, 7)] == [3, 5, 6, 7]
    spool.write(lambda db: store().births.write_slots(db, slots, SPOOL))
    again, _ = restart(spool, fleet.memory.sequence_state())
    decoded = again.feed([message("NDATA", tag("Ramp", 0), node="N8", seq=2)])
    assert (len(decoded.observations[0]), decoded.rebirths) == (1, [])


def test_a_node_whose_birth_left_is_asked_when_it_speaks(spool):
    before = plant(spool, 2)
    spool.write(lambda db: db.execute("DELETE FROM births WHERE edge_node_id = 'N0'"))
    fleet, _ = restart(spool, before.memory.sequence_state())
    decoded = fleet.feed([message("NDATA", tag("Ramp", 0), node=f"N{i}", seq=1) for i in range(2)])
    assert [each.edge_node_id for each in decoded.rebirths] == ["N0"]
    assert fleet.gauges.held_messages == 1


def test_births_are_read_back_a_few_at_a_time(spool):
    """Of 16 MiB of births at most a piece and one more are in memory, as bytes."""
    for number in range(5):
        large = message("NBIRTH", tag("Ramp", 0), node=f"N{number}")
        memory = BirthMemory(number, "Plant", f"N{number}", None, large)
        blown_up = large._replace(payload=large.payload + b"\xfa\x01" + bytes(3 * MIB))
        spool.commit(
            [],
            [
                Writes(
                    lambda db, m=memory, b=blown_up: store().births.write(
                        db, [m._replace(message=b)], SPOOL
                    )
                )
            ],
        )
    alive = []

    class Watched(bytes):
        def __del__(self):
            alive.remove(id(self))

    def watched(births):
        for each in births:
            payload = Watched(each.birth.message.payload)
            alive.append(id(payload))
            most.append(len(alive))
            yield each._replace(
                birth=each.birth._replace(message=each.birth.message._replace(payload=payload))
            )

    most = []
    fleet = Fleet()
    read_from(spool, lambda db: fleet.memory.restore(watched(store().births.read(db)), b""))
    assert len(most) == 5
    assert max(most) <= 3


# ---------------------------------------------------------------------- what else waits on disk


def waiting(count, size):
    topic = "spBv1.0/Plant/NDATA/Edge"
    return [
        HeldMessage(Message(topic, bytes(size), number), None, Reason.DATA_BEFORE_BIRTH)
        for number in range(count)
    ]


def test_of_messages_that_wait_over_a_restart_the_latest_are_kept_within_their_part(spool):
    held = waiting(20, MIB)
    spool.write(
        lambda db: db.execute(
            "INSERT INTO ledger VALUES (?, 'received', 20), (?, 'held', 20)",
            ("messages/plant-a",) * 2,
        )
    )
    lost = spool.write(lambda db: store().write_held(db, held, spool.space.room()))
    again = read_from(spool, store().take_held)
    assert (lost, [each.message.received_us for each in again]) == (13, list(range(13, 20)))
    accounts = read_from(spool, lambda db: dict(db.execute("SELECT account, amount FROM ledger")))
    assert accounts == {"received": 20, "held": 7, "discarded:spool_full": 13}
    assert spool.write(lambda db: store().write_held(db, held, 0)) == 20
    assert read_from(spool, store().take_held) == []


def test_messages_that_cannot_be_read_are_counted_rather_than_kept_beyond_the_bound(spool):
    dead = [Quarantined(each.message, Reason.BAD_PAYLOAD) for each in waiting(3, MIB)]
    assert spool.write(lambda db: store().write_dead(db, dead, 5 * MIB)) == 1
    assert spool.write(lambda db: store().write_dead(db, dead, 0)) == 3
    query = "SELECT count(*) FROM dead_messages"
    assert read_from(spool, lambda db: db.execute(query).fetchone()) == (2,)


def test_what_several_servers_write_in_one_commit_stays_within_the_bound(tmp_path):
    small = 16 * MIB
    with contextlib.closing(Spool.open(tmp_path / "small.db", max_bytes=small)) as spool:
        schema_id = spool.schemas.register(b"ballast")
        for number in range(9):
            spool.append("main.ot.b", random_rows(1, MIB, number), schema_id=schema_id)
        stores = [FleetStore(f"plant-{number}", small) for number in range(4)]
        dead = [Quarantined(Message("spBv1.0/P/NDATA/E", bytes(300 << 10), 5), Reason.BAD_PAYLOAD)]

        def write(db):
            for number, each in enumerate(stores):
                each.births.write(db, [birth(f"N{number}", 0.9)], spool.space.room())
                each.write_dead(db, dead * 3, spool.space.room())

        spool.commit([], [Writes(write)])
        assert spool.stats().used_bytes <= small
        assert sum(len(kept(spool, f"plant-{number}")) for number in range(4)) >= 1


class TestDamage:
    """Bytes of a birth that are not what was written."""

    @pytest.fixture
    def births(self, spool):
        """Three nodes, the second with a device, in their slots."""
        written = [
            named(birth("A", slot=0)),
            named(birth("B", slot=1)),
            named(birth("B", device="Boiler", slot=1)),
            named(birth("C", slot=2)),
        ]
        write(spool, *written)
        return written

    @pytest.mark.parametrize("seed", seeds(40))
    def test_whatever_byte_is_another_the_node_is_left_out_whole_and_no_other(
        self, spool, births, seed
    ):
        draw = random.Random(seed)
        hit = draw.choice(births)
        damage(spool, hit, lambda blob: turned(blob, draw))
        reader = store().births
        read = read_from(spool, lambda db: {each.birth for each in reader.read(db)})
        assert read == {each for each in births if each.edge_node_id != hit.edge_node_id}
        assert list(reader.damaged) == [(SERVER, "Plant", hit.edge_node_id)]
        with kept_births_of(spool.path) as kept_births:
            assert kept_births.get((SERVER, *hit[1:3], hit.device_id or "")) is None

    def test_the_last_node_takes_the_slot_and_the_others_are_not_written_anew(self, spool, births):
        damage(spool, births[0], lambda blob: blob[:-1])
        assert kept(spool) == [("C", None), ("B", None), ("B", "Boiler")]
        slots = {("Plant", "C"): 0, ("Plant", "B"): 1}
        spool.write(lambda db: store().births.write_slots(db, slots, MIB))
        reader = store().births
        read_from(spool, lambda db: list(reader.read(db)))
        assert not reader.damaged
        count = "SELECT count(*) FROM births"
        assert read_from(spool, lambda db: db.execute(count).fetchone()) == (3,)

    @pytest.mark.parametrize("damaged", [b"", b"\x01", b"\xff\xff\xff\x7f\x00", "text"])
    def test_what_no_birth_can_be_is_damaged(self, spool, births, damaged):
        damage(spool, births[0], lambda _: damaged)
        assert nodes(spool) == {"B", "C"}

    def test_births_of_an_earlier_release_have_no_checksum_and_are_read(self, spool, births):
        for each in births:
            damage(spool, each, lambda _, each=each: without_checksum(each.message.payload))
        reader = store().births
        read = read_from(spool, lambda db: {each.birth for each in reader.read(db)})
        assert read == set(births)
        damage(spool, births[0], lambda blob: blob[:4] + bytes([blob[4] ^ 0x80]) + blob[5:])
        assert nodes(spool) == {"B", "C"}


def named(memory):
    """The birth with a payload that can be compressed."""
    payload = f"a birth of {memory.edge_node_id}, {memory.device_id}. ".encode() * 20
    return memory._replace(message=memory.message._replace(payload=payload))


def without_checksum(payload):
    packed = pa.Codec("lz4_raw").compress(payload, asbytes=True)
    return len(payload).to_bytes(4, "little") + packed


def turned(blob, draw):
    place = draw.randrange(len(blob))
    return blob[:place] + bytes([blob[place] ^ draw.randrange(1, 256)]) + blob[place + 1 :]


def damage(spool, memory, change):
    """Change what the file has of a birth."""
    which = "WHERE edge_node_id = ? AND device_id = ?"
    owner = (memory.edge_node_id, memory.device_id or "")

    def write_changed(db):
        [(blob,)] = db.execute(f"SELECT payload FROM births {which}", owner).fetchall()
        db.execute(f"UPDATE births SET payload = ? {which}", (change(blob), *owner))

    spool.write(write_changed)
