"""What the spool's file remembers of a fleet."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from support.participants import Writes
from support.read_spool import read_from
from support.spooled_rows import random_rows

from consumer.spool import Spool, layout
from consumer.spool.fleet import FleetStore
from consumer.spool.types import Origin
from sparkplug.host.nodes.waiting import HeldMessage
from sparkplug.memory import BirthMemory, EndMemory, StaleMemory, TakenBackMemory
from sparkplug.messages import Message, Quarantined, Reason

GIB = 1 << 30
SERVER = "plant-a"


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db")
    yield spool
    spool.close()


def birth(node="Edge", device=None, payload=b"birth", slot=0):
    verb = "NBIRTH" if device is None else "DBIRTH"
    topic = f"spBv1.0/Plant/{verb}/{node}" + (f"/{device}" if device else "")
    return BirthMemory(slot, "Plant", node, device, Message(topic, payload, 1_000))


def write(spool, *memories, server=SERVER):
    spool.commit([], [Writes(lambda db: FleetStore(server, GIB).births.write(db, memories, GIB))])


def read(spool, server=SERVER):
    return read_from(spool, lambda db: list(FleetStore(server, GIB).births.read(db)))


def test_births_come_back_as_they_were_in_the_order_in_which_they_came_last(spool):
    write(spool, birth("A"), birth("B", payload=b""), birth("A", "Boiler"), birth("B"), birth("A"))
    assert [each.birth for each in read(spool)] == [
        birth("A", "Boiler"),
        birth("B"),
        birth("A"),
    ]


def test_births_of_one_server_are_not_those_of_another(spool):
    write(spool, birth("A"))
    assert read(spool, "plant-b") == []


def test_the_birth_of_a_node_ends_the_sessions_of_its_devices_without_stale_rows(spool):
    write(spool, birth(), birth(device="Boiler"), birth())
    device, node = read(spool)
    assert (device.alive, device.stale) == (False, False)
    assert (node.alive, node.stale) == (True, False)


def test_tags_that_are_stale_after_a_lost_connection_leave_their_session_alive(spool):
    write(spool, birth(), birth(device="Boiler"), birth(device="Fan"))
    write(spool, StaleMemory("Plant", "Edge", None), StaleMemory("Plant", "Edge", "Boiler"))
    found = {each.birth.device_id: (each.alive, each.stale) for each in read(spool)}
    assert found == {None: (True, True), "Boiler": (True, True), "Fan": (True, False)}
    write(spool, birth(device="Boiler"))
    assert read(spool)[-1].stale is False


def test_tags_that_data_takes_back_are_not_stale_after_a_restart(spool):
    write(spool, birth(), birth(device="Boiler"), birth(device="Fan"))
    write(spool, StaleMemory("Plant", "Edge", None), StaleMemory("Plant", "Edge", "Boiler"))
    write(spool, TakenBackMemory("Plant", "Edge", None), TakenBackMemory("Plant", "Edge", "Fan"))

    def found():
        return {each.birth.device_id: (each.stale, each.taken_back) for each in read(spool)}

    assert found() == {None: (False, True), "Boiler": (True, False), "Fan": (False, False)}
    write(spool, StaleMemory("Plant", "Edge", None))
    assert found()[None] == (True, False)


def test_what_is_stale_stays_so_when_its_session_ends_without_rows(spool):
    write(spool, birth(), birth(device="Boiler"), birth(device="Fan"))
    write(spool, StaleMemory("Plant", "Edge", None), StaleMemory("Plant", "Edge", "Boiler"))
    write(
        spool,
        EndMemory("Plant", "Edge", "Boiler", stale=False),
        EndMemory("Plant", "Edge", None, stale=False),
    )
    found = {each.birth.device_id: (each.alive, each.stale) for each in read(spool)}
    assert found == {None: (False, True), "Boiler": (False, True), "Fan": (False, False)}


def test_the_death_of_a_node_is_that_of_its_living_devices(spool):
    write(
        spool,
        birth(),
        birth(device="Gone"),
        EndMemory("Plant", "Edge", "Gone", stale=False),
        birth(device="Boiler"),
        EndMemory("Plant", "Edge", None, stale=True, bd_seq=2**64 - 1, time_us=77),
    )
    found = {each.birth.device_id: each for each in read(spool)}
    assert {name: (each.alive, each.stale) for name, each in found.items()} == {
        None: (False, True),
        "Gone": (False, False),
        "Boiler": (False, True),
    }
    assert (found[None].dead_bd_seq, found[None].died_us) == (2**64 - 1, 77)


def test_the_death_of_a_device_leaves_its_node_alive(spool):
    write(spool, birth(), birth(device="Boiler"), EndMemory("Plant", "Edge", "Boiler", stale=True))
    node, device = read(spool)
    assert node.alive
    assert (device.alive, device.stale) == (False, True)


def test_slots_are_renumbered_and_nodes_without_one_forgotten(spool):
    write(spool, birth("A", slot=4), birth("A", "Boiler", slot=4), birth("B", slot=9))
    spool.commit(
        [],
        [
            Writes(
                lambda db: FleetStore(SERVER, GIB).births.write_slots(db, {("Plant", "A"): 0}, GIB)
            )
        ],
    )
    assert [(each.birth.edge_node_id, each.birth.slot) for each in read(spool)] == [
        ("A", 0),
        ("A", 0),
    ]


def test_a_large_birth_takes_a_fraction_of_its_size_on_disk(spool):
    write(spool, birth(payload=b"Temperature of the inlet" * 10_000))
    [size] = read_from(
        spool, lambda db: db.execute("SELECT length(payload) FROM births").fetchone()
    )
    assert size < 10_000
    assert len(read(spool)[0].birth.message.payload) == 240_000


def test_held_messages_come_back_with_what_they_wait_for(spool):
    held = [
        HeldMessage(Message("spBv1.0/Plant/NDATA/Edge", b"1", 5), None, Reason.DATA_BEFORE_BIRTH),
        HeldMessage(Message("spBv1.0/Plant/DDATA/Edge/D", b"", 6), "D", Reason.UNKNOWN_ALIAS),
    ]
    for _ in range(2):  # what is kept replaces what was
        spool.commit([], [Writes(lambda db: FleetStore(SERVER, GIB).write_held(db, held, GIB))])
    again = read_from(spool, lambda db: FleetStore(SERVER, GIB).take_held(db))
    assert [each._replace(kept=None) for each in again] == held
    spool.write(lambda db: FleetStore(SERVER, GIB).forget_held(db, [again[0].kept]))
    assert read_from(spool, lambda db: FleetStore(SERVER, GIB).take_held(db)) == again[1:]
    spool.commit([], [Writes(lambda db: FleetStore(SERVER, GIB).write_held(db, [], GIB))])
    assert read_from(spool, lambda db: FleetStore(SERVER, GIB).take_held(db)) == []


def dead(count, size=10):
    message = Message("spBv1.0/Plant/NDATA/Edge", b"x" * size, 5)
    return [Quarantined(message, Reason.BAD_PAYLOAD)] * count


def kept(spool):
    query = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM dead_messages"
    return read_from(spool, lambda db: db.execute(query).fetchone())


def test_topics_of_dead_messages_count_as_much_as_their_payloads(tmp_path):
    small = 16 << 20
    with contextlib.closing(Spool.open(tmp_path / "small.db", max_bytes=small)) as spool:
        store = FleetStore(SERVER, small)
        topic = f"spBv1.0/{'€' * 2000}/NDATA/Edge"  # 6 kB; the payload is one byte
        dead = [Quarantined(Message(topic, b"?", 5), Reason.BAD_PAYLOAD)] * 100
        for _ in range(15):
            spool.commit([], [Writes(lambda db: store.write_dead(db, dead, spool.space.room()))])
        query = "SELECT count(*), sum(length(CAST(topic AS BLOB))) FROM dead_messages"
        count, size = read_from(spool, lambda db: db.execute(query).fetchone())
        assert count > 50
        assert size <= small / 8
        assert spool.stats().used_bytes < small / 4 + (2 << 20)


def test_topics_of_dead_letters_leave_room_for_rows(tmp_path):
    small = 16 << 20
    with contextlib.closing(Spool.open(tmp_path / "small.db", max_bytes=small)) as spool:
        schema_id = spool.schemas.register(b"rows")
        topic = f"spBv1.0/{'€' * 2000}/NDATA/Edge"
        for number in range(18):
            batch = spool.append("main.ot.t", random_rows(50, 100, number), schema_id=schema_id)
            for row in range(50):
                spool.letters.set_aside(
                    batch, row, row + 1, reason="refused", error="", origin=Origin(topic, b"?")
                )
            spool.trim([batch.batch_id])
        assert spool.letters.dropped > 0
        assert spool.stats().dead_letters > 400
        assert spool.stats().used_bytes < small * 3 / 4


def test_of_many_dead_messages_at_once_some_are_kept_and_the_others_counted(spool):
    lost = []
    spool.commit(
        [], [Writes(lambda db: lost.append(FleetStore(SERVER, GIB).write_dead(db, dead(150), GIB)))]
    )
    assert (lost, kept(spool)) == ([50], (100, 1000))


def test_dead_messages_do_not_outgrow_their_bound_and_the_latest_stay(spool):
    for _ in range(30):
        spool.commit(
            [], [Writes(lambda db: FleetStore(SERVER, GIB).write_dead(db, dead(1, 4 << 20), GIB))]
        )
    count, size = kept(spool)
    assert (count, size) == (15, 60 << 20)  # one more, with their topics, is more than their share
    [(lowest, highest)] = read_from(
        spool,
        lambda db: db.execute(
            "SELECT min(dead_message_id), max(dead_message_id) FROM dead_messages"
        ).fetchall(),
    )
    assert (lowest, highest) == (16, 30)


def test_a_spool_of_the_first_layout_is_taken_over_with_its_batches(tmp_path, monkeypatch):
    path = tmp_path / "spool.db"
    with monkeypatch.context() as older:
        older.setattr(layout, "SCHEMA_VERSION", 1)
        old = Spool.open(path)
        old.state.set("client_id/plant-a", "kept")
        old.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert not db.execute("SELECT * FROM sqlite_schema WHERE name = 'births'").fetchall()
    db.close()
    spool = Spool.open(path)
    write(spool, birth())
    assert spool.state.get("client_id/plant-a") == "kept"
    assert len(read(spool)) == 1
    spool.close()


def test_messages_to_be_tried_again_are_dead_no_longer(spool):
    topic = "spBv1.0/Plant/DDATA/Edge/Boiler"
    dead = [Quarantined(Message(topic, b"1", 5), Reason.UNKNOWN_ALIAS)] * 2
    spool.write(lambda db: FleetStore(SERVER, GIB).write_dead(db, dead, GIB))
    spool.write(lambda db: db.execute("UPDATE dead_messages SET retry = 1 WHERE rowid = 2"))
    again = [HeldMessage(Message(topic, b"1", 5), "Boiler", Reason.UNKNOWN_ALIAS, kept=1)]
    assert spool.write(lambda db: FleetStore("another", GIB).take_retries(db)) == []
    assert spool.write(lambda db: FleetStore(SERVER, GIB).take_retries(db)) == again
    assert read_from(spool, lambda db: FleetStore(SERVER, GIB).take_held(db)) == again
    assert spool.write(lambda db: FleetStore(SERVER, GIB).take_retries(db)) == []
    assert kept(spool)[0] == 1
