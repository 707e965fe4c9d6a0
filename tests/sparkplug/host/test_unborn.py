"""Sessions that end unheard: devices that are not born again, tags that a birth leaves out."""

import pytest
from oracle.messages import ARRIVED, MEASURED_MS, metric
from support.columnar import change, message, name, tag, values
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.filters import sight_of
from sparkplug.host.screening import FleetLimits
from sparkplug.host.watch.unborn import MOST_SECONDS, REBORN_SECONDS
from sparkplug.memory import BirthMemory, EndMemory, RememberedBirth, StaleMemory

REBORN = ARRIVED + 3_000_000
REBORN_MS = REBORN // 1000
LATER = ARRIVED + 60_000_000
DEVICES = ["Boiler/Level", "Fan/Speed"]


def node_birth(session=1, *tags, **options):
    bd_seq = metric("bdSeq", DataType.Int64, long_value=session)
    return message("NBIRTH", bd_seq, *(tags or (tag("Ramp", 0),)), **options)


def boiler_birth(seq=1, *tags, **options):
    return message("DBIRTH", *(tags or (tag("Level", 2),)), seq=seq, **options)


def fan_birth(seq=2, **options):
    return message("DBIRTH", tag("Speed", 3), seq=seq, device="Fan", **options)


def births(session=1, **options):
    return node_birth(session, **options), boiler_birth(**options), fan_birth(**options)


def reborn(session=2):
    return node_birth(session, timestamp=REBORN_MS, received_us=REBORN)


def data(seq, value=5.0, **options):
    return message("NDATA", change(0, value), seq=seq, **options)


def stale(rows):
    return sorted(name(row) for row in rows if row["quality"] == "STALE")


def server_with(*messages, **options):
    server = Server(reorder_timeout=2.0, **options)
    server.at(0.0, *messages)
    server.told()
    return server


@pytest.fixture
def server():
    return server_with(*births())


# Devices that are not born again


def test_a_device_that_is_not_born_again_is_stale_ten_seconds_after_the_last_birth(server):
    server.at(1.0, reborn())
    assert server.tick(1.0 + REBORN_SECONDS - 0.1) == []
    assert stale(server.tick(1.0 + REBORN_SECONDS)) == DEVICES
    assert server.tick(1000.0) == []


def test_its_rows_are_of_the_host_and_dated_at_the_birth_that_ended_the_session(server):
    server.at(1.0, reborn())
    server.at(5.0, data(1, received_us=LATER))
    for row in server.tick(11.0):
        assert (row["message_type"], row["quality_code"], row["seq"]) == ("HOST", 500, None)
        assert row["event_time"] == row["ingestion_timestamp"] == REBORN
        assert (row["numeric_value"], row["payload_timestamp"]) == (None, None)


def test_one_event_names_them(server):
    server.at(1.0, reborn())
    server.told()
    server.tick(11.0)
    [event] = server.told(EventKind.NOT_BORN_AGAIN)
    assert (event.time_us, event.edge_node_id, event.device_id) == (REBORN, "Edge", None)
    assert event.detail == "2 were alive and are not any more: Boiler, Fan"


@pytest.mark.parametrize("session", [1, 2], ids=["a rebirth", "another session"])
def test_an_ordinary_rebirth_makes_no_row_stale(server, session):
    server.at(1.0, *births(session, timestamp=REBORN_MS))
    server.tick(100.0)
    assert stale(server.rows) == []
    assert server.told(EventKind.NOT_BORN_AGAIN, EventKind.RETIRED) == []


@pytest.mark.parametrize("session", [1, 2], ids=["a rebirth", "another session"])
def test_data_of_a_node_says_nothing_of_devices_whose_births_are_a_moment_away(server, session):
    """Some gateways publish before their last device is born."""
    server.at(1.0, reborn(session), data(1))
    server.at(1.1, boiler_birth(2, timestamp=REBORN_MS))
    server.at(1.2, message("DDATA", change(2, 7.0), seq=3), data(4))
    server.at(1.3, fan_birth(5, timestamp=REBORN_MS))
    server.tick(100.0)
    assert stale(server.rows) == []


def test_each_birth_of_a_device_begins_the_ten_seconds_anew(server):
    server.at(1.0, reborn())
    server.at(9.0, boiler_birth(1, timestamp=REBORN_MS))
    assert server.tick(18.0) == []
    assert stale(server.tick(19.0)) == ["Fan/Speed"]


def test_births_put_it_off_for_ten_minutes_at_most(server):
    server.at(0.0, reborn())
    found = []
    for step in range(1, int(MOST_SECONDS / 5) + 2):
        found += server.at(5.0 * step, boiler_birth(step, timestamp=REBORN_MS + step))
        assert bool(stale(found)) is (5.0 * step >= MOST_SECONDS)


def test_births_that_were_read_together_with_the_end_of_the_ten_seconds_count(server):
    """A batch that was late here was not late there."""
    server.at(1.0, reborn())
    server.at(50.0, boiler_birth(timestamp=REBORN_MS), fan_birth(timestamp=REBORN_MS))
    server.tick(100.0)
    assert stale(server.rows) == []


def test_a_device_that_comes_after_all_takes_its_rows_back(server):
    server.at(1.0, reborn())
    server.tick(11.0)
    [row] = server.at(20.0, boiler_birth(timestamp=REBORN_MS))
    assert (row["quality"], row["event_time"]) == ("GOOD", MEASURED_MS * 1000)
    assert row["is_historical"] is False
    assert stale(server.tick(100.0)) == []


def test_a_device_that_had_died_before_gets_no_second_row(server):
    server.at(0.5, message("DDEATH", seq=3))
    server.at(1.0, reborn())
    assert stale(server.tick(11.0)) == ["Fan/Speed"]


def test_a_node_that_dies_meanwhile_takes_its_unborn_devices_with_it(server):
    server.at(1.0, reborn())
    bd_seq = metric("bdSeq", DataType.Int64, long_value=2)
    rows = server.at(2.0, message("NDEATH", bd_seq, seq=None, received_us=LATER))
    assert stale(rows) == [*DEVICES, "Ramp"]
    assert {row["message_type"] for row in rows} == {"NDEATH"}
    assert server.tick(100.0) == []


def test_without_stale_rows_nobody_is_waited_for():
    server = server_with(*births(), emit_stale=False)
    server.at(1.0, reborn())
    server.tick(100.0)
    assert stale(server.rows) == []
    assert server.told(EventKind.NOT_BORN_AGAIN) == []


# Births that are not read


def torn(birth):
    return birth._replace(payload=b"\xff\xff", received_us=REBORN)


NAMELESS = message("NBIRTH", metric(alias=0, double_value=1.0), received_us=REBORN)
TOO_LARGE = node_birth(2, *(tag(f"T{n}", n) for n in range(20)), received_us=REBORN)


@pytest.mark.parametrize(
    "birth", [torn(node_birth()), NAMELESS, TOO_LARGE], ids=["unreadable", "nameless", "too large"]
)
def test_a_birth_that_is_not_read_makes_its_node_and_devices_stale_after_ten_seconds(birth):
    server = server_with(*births(), limits=FleetLimits(max_tags=27))
    server.at(1.0, birth)
    server.at(6.0, birth)  # once more puts nothing off
    rows = server.tick(11.0)
    assert stale(rows) == [*DEVICES, "Ramp"]
    assert {row["event_time"] for row in rows} == {REBORN}


def test_the_rebirth_that_is_asked_for_then_makes_none(server):
    server.at(1.0, torn(node_birth()))
    server.at(9.0, node_birth(2, timestamp=REBORN_MS))
    server.at(15.0, boiler_birth(timestamp=REBORN_MS), fan_birth(timestamp=REBORN_MS))
    server.tick(100.0)
    assert stale(server.rows) == []


@pytest.mark.parametrize(
    "birth",
    [
        torn(boiler_birth(3)),
        boiler_birth(3, metric(alias=2, double_value=1.0)),
        boiler_birth(3, *(tag(f"T{n}", n) for n in range(20))),
    ],
    ids=["unreadable", "nameless", "too large"],
)
def test_a_birth_of_a_device_that_is_not_read_makes_the_device_stale(birth):
    server = server_with(*births(), limits=FleetLimits(max_tags=27))
    server.at(1.0, birth)
    assert server.tick(10.9) == []
    assert stale(server.tick(11.0)) == ["Boiler/Level"]


# The own connection, and restarts


def test_while_a_node_is_not_heard_its_devices_are_waited_for(server):
    server.at(1.0, reborn())
    server.lost(2.0, ARRIVED)
    assert server.tick(500.0) == []
    server.at(600.0, data(1))
    assert server.tick(609.0) == []
    assert stale(server.tick(610.0)) == DEVICES


def test_a_loss_of_which_rows_are_wanted_says_it_of_unborn_devices_at_once():
    server = server_with(*births(), stale_when_lost=True)
    server.at(1.0, reborn())
    assert stale(server.lost(2.0, ARRIVED)) == [*DEVICES, "Ramp"]
    server.at(3.0, data(1))
    assert stale(server.tick(100.0)) == []


def kept(birth, *, alive=True, stale=False):
    """A birth as it comes from disk."""
    device = [*birth.topic.split("/"), None][4]
    memory = BirthMemory(0, "Plant", "Edge", device, birth)
    return RememberedBirth(memory, alive=alive, stale=stale)


def restarted(*births, next_seq=1):
    server = Server(reorder_timeout=2.0)
    server.fleet.memory.restore(births, next_seq.to_bytes(2, "little"), (), 0.0)
    return server


# Births of devices from before their node's last one come before it.
BEFORE = kept(boiler_birth(), alive=False), kept(fan_birth(), alive=False, stale=True)


def test_over_a_restart_it_is_remembered_who_was_waited_for():
    server = restarted(*BEFORE, kept(node_birth(2)))
    server.at(5.0, data(1, received_us=LATER))
    assert stale(server.tick(14.9)) == []
    rows = server.tick(15.0)
    assert stale(rows) == ["Boiler/Level"]  # the fan's rows were written already
    assert rows[0]["event_time"] == LATER
    assert StaleMemory("Plant", "Edge", "Boiler") in server.memories


def test_devices_that_are_born_after_the_restart_make_no_rows():
    server = restarted(*BEFORE, kept(node_birth(2)))
    server.at(5.0, boiler_birth(), fan_birth())
    server.tick(100.0)
    assert stale(server.rows) == []


def test_aliases_of_a_device_that_is_waited_for_stand_for_nothing_after_a_restart():
    server = restarted(*BEFORE, kept(node_birth(2, tag("Ramp", 2))))
    assert values(server.at(5.0, message("NDATA", change(2, 8.0), seq=1))) == [("Ramp", 8.0)]


def test_what_was_said_stale_is_remembered_so(server):
    server.at(1.0, reborn())
    server.memories.clear()
    server.tick(11.0)
    assert set(server.memories) == {
        StaleMemory("Plant", "Edge", "Boiler"),
        StaleMemory("Plant", "Edge", "Fan"),
    }
    server.at(12.0, torn(node_birth()))
    assert EndMemory("Plant", "Edge", None, stale=False) in server.memories
    server.tick(22.0)
    assert server.memories[-1] == StaleMemory("Plant", "Edge", None)


# Servers of one site


def site():
    servers = Server("north", reorder_timeout=2.0), Server("north", reorder_timeout=2.0)
    for each, other in zip(servers, reversed(servers), strict=True):
        each.fleet.liveness.join([other.fleet.liveness])
    return servers


def test_a_device_that_another_server_shows_alive_gets_no_rows():
    a, b = site()
    a.at(0.0, *births())
    b.at(0.5, node_birth(7), boiler_birth())
    a.at(1.0, reborn())
    assert stale(a.tick(11.0)) == ["Fan/Speed"]
    assert StaleMemory("Plant", "Edge", "Boiler") in a.memories  # not waited for after a restart


def test_a_device_that_is_born_again_on_no_server_gets_the_rows_of_one():
    a, b = site()
    for each in (a, b):
        each.at(0.0, *births())
        each.at(1.0, reborn())
    assert stale(a.tick(11.0) + b.tick(11.0)) == DEVICES
    [row] = b.at(12.0, boiler_birth(timestamp=REBORN_MS))
    assert (row["quality"], row["event_time"]) == ("GOOD", MEASURED_MS * 1000)
    assert row["is_historical"] is False


def test_a_tag_that_another_server_declares_gets_none_until_that_leaves_it_out():
    a, b = site()
    for each in (a, b):
        each.at(0.0, node_birth(1, tag("Ramp", 0), tag("Old", 1)))
    assert stale(a.at(1.0, node_birth(1))) == []
    assert stale(b.at(1.0, node_birth(1))) == ["Old"]


# Tags that a birth leaves out


def test_a_tag_that_only_one_server_knows_of_gets_its_row_there():
    """The other one makes its device STALE, but has never heard of the tag."""
    a, b = site()
    a.at(0.0, node_birth(), boiler_birth())
    b.at(0.0, node_birth(), boiler_birth(1, tag("Level", 2), tag("Flow", 4)))
    a.at(1.0, reborn())
    b.at(2.0, reborn())
    assert stale(a.tick(11.0)) == ["Boiler/Level"]
    assert stale(b.tick(12.0)) == ["Boiler/Flow"]


def test_what_one_server_remembers_to_be_stale_hides_no_row_of_another():
    """After a restart: the birth that took it back was read by the other one alone."""
    a, b = site()
    a.fleet.memory.restore([kept(node_birth()), kept(BOILER, alive=False, stale=True)], b"\x01\0")
    b.fleet.memory.restore([kept(node_birth()), kept(BOILER)], b"\x01\0")
    rows = [
        row for server in (a, b) for row in server.at(1.0, reborn(), boiler_birth(1, tag("Level")))
    ]
    assert stale(rows) == ["Boiler/Flow"]


BOILER = boiler_birth(1, tag("Level", 2), tag("Flow", 4))


def test_a_tag_that_a_birth_leaves_out_is_stale_before_the_birth_is_read():
    server = server_with(node_birth(1, tag("Ramp", 0), tag("Old", 1)))
    first, *others = server.at(1.0, reborn())
    assert (name(first), first["quality"], first["message_type"]) == ("Old", "STALE", "HOST")
    assert first["event_time"] == first["ingestion_timestamp"] == REBORN
    assert stale(others) == []


def test_one_event_for_each_birth_names_the_first_of_them():
    server = server_with(node_birth(1, *(tag(f"T{n}", n) for n in range(9))), boiler_birth())
    server.at(1.0, reborn(), boiler_birth(1, tag("Other", 3), received_us=REBORN))
    node, boiler = server.told(EventKind.RETIRED)
    assert (node.time_us, node.edge_node_id, node.device_id) == (REBORN, "Edge", None)
    assert node.detail == "9 tags are not declared any more: T0, T1, T2, T3, T4 and others"
    assert (boiler.device_id, boiler.detail) == (
        "Boiler",
        "1 tags are not declared any more: Level",
    )


def test_long_names_are_cut_in_the_event():
    server = server_with(node_birth(1, tag("x" * 4000, 0)))
    server.at(1.0, reborn())
    [event] = server.told(EventKind.RETIRED)
    assert len(event.detail) < 200


def test_what_gives_no_rows_is_not_told_of_either():
    birth = node_birth(1, tag("Ramp", 0), tag("Hidden", 1), tag("Node Control/Scan", 2))
    server = server_with(birth, wanted=lambda path: "Hidden" not in path)
    server.at(1.0, reborn())
    assert stale(server.rows) == []
    assert server.told(EventKind.RETIRED) == []


def test_without_stale_rows_retired_tags_are_told_of_all_the_same():
    server = server_with(node_birth(1, tag("Ramp", 0), tag("Old", 1)), emit_stale=False)
    server.at(1.0, reborn())
    assert stale(server.rows) == []
    assert len(server.told(EventKind.RETIRED)) == 1
    back = server.at(2.0, node_birth(2, tag("Old", 1), timestamp=REBORN_MS + 1))
    assert [row["event_time"] for row in back] == [MEASURED_MS * 1000]


def test_a_tag_with_another_datatype_is_not_left_out():
    server = server_with(node_birth(1, tag("Ramp", 0)))
    server.at(1.0, node_birth(1, metric("Ramp", DataType.Int32, alias=0, int_value=1)))
    assert stale(server.rows) == []


def test_a_tag_that_comes_back_with_its_old_value_takes_the_row_back():
    """It is the same observation as the row from before, and yet no copy of it."""
    server = server_with(node_birth(1, tag("Ramp", 0), tag("Old", 1)))
    server.at(1.0, reborn())
    rows = server.at(2.0, node_birth(2, tag("Ramp", 0), tag("Old", 1), timestamp=REBORN_MS + 1))
    [back] = [row for row in rows if row["metric_name"] == "Old"]
    assert (back["quality"], back["event_time"]) == ("GOOD", MEASURED_MS * 1000)
    assert back["is_historical"] is False
    again = [row["event_id"] for row in server.rows].count(back["event_id"])
    assert again == 2
    # The next one that repeats it is a copy.
    server.at(3.0, node_birth(3, tag("Ramp", 0), tag("Old", 1), timestamp=REBORN_MS + 2))
    assert [row["event_id"] for row in server.rows].count(back["event_id"]) == again


def test_so_does_one_that_comes_back_on_another_server_of_the_site():
    a, b = site()
    a.at(0.0, node_birth(1, tag("Ramp", 0), tag("Old", 1)))
    a.at(1.0, reborn())
    rows = b.at(2.0, node_birth(2, tag("Ramp", 0), tag("Old", 1), timestamp=REBORN_MS + 1))
    [back] = [row for row in rows if row["metric_name"] == "Old"]
    assert (back["quality"], back["event_time"]) == ("GOOD", MEASURED_MS * 1000)
    assert back["is_historical"] is False


def test_births_of_an_earlier_run_are_known_to_what_leaves_their_tags_out():
    server = restarted(kept(node_birth(1, tag("Ramp", 0), tag("Old", 1))))
    assert stale(server.at(1.0, reborn())) == ["Old"]


def test_a_birth_that_a_server_keeps_hides_nothing_from_the_one_that_comes():
    server = restarted(kept(node_birth(1, tag("Ramp", 0), tag("Old", 1))))
    birth = node_birth(2, timestamp=REBORN_MS)
    certificate = birth._replace(topic="$sparkplug/certificates/" + birth.topic, retained=True)
    server.fleet.memory.warm_start([certificate], 0.5)
    assert server.rows == []
    assert stale(server.at(1.0, birth)) == ["Old"]


def test_a_tag_that_a_kept_birth_declares_with_another_datatype_is_left_out_once():
    server = restarted(kept(node_birth(1, tag("Ramp", 0), tag("Old", 1))))
    whole = metric("Old", DataType.Int32, alias=1, int_value=1)
    birth = node_birth(2, tag("Ramp", 0), whole, timestamp=REBORN_MS)
    certificate = birth._replace(topic="$sparkplug/certificates/" + birth.topic, retained=True)
    server.fleet.memory.warm_start([certificate], 0.5)
    assert stale(server.at(1.0, node_birth(2, timestamp=REBORN_MS + 1))) == ["Old"]


def certificate(birth):
    return birth._replace(topic="$sparkplug/certificates/" + birth.topic, retained=True)


def test_a_tag_that_only_a_kept_birth_has_declared_was_never_there():
    server = Server(reorder_timeout=2.0)
    kept_one = node_birth(2, tag("Ramp", 0), tag("Never", 1), timestamp=REBORN_MS)
    server.fleet.memory.warm_start([certificate(kept_one)], 0.5)
    rows = server.at(1.0, node_birth(3, timestamp=REBORN_MS + 1))
    assert values(rows) == [("Ramp", 0.0)]
    assert server.told(EventKind.RETIRED) == []


def test_unless_a_value_of_it_was_read_by_name():
    server = Server(reorder_timeout=2.0)
    kept_one = node_birth(2, tag("Ramp", 0), tag("Named", 1), timestamp=REBORN_MS)
    server.fleet.memory.warm_start([certificate(kept_one)], 0.5)
    value = metric("Named", double_value=3.0)
    assert values(server.at(1.0, message("NDATA", value, seq=7))) == [("Named", 3.0)]
    assert stale(server.at(2.0, node_birth(3, timestamp=REBORN_MS + 1))) == ["Named"]


def test_kept_births_of_ever_new_tags_are_not_remembered():
    server = Server(reorder_timeout=2.0)
    for number in range(12):
        tags = (tag(f"Tag {number} {each}") for each in range(2_000))
        birth = node_birth(2, *tags, timestamp=REBORN_MS + number)
        server.fleet.memory.warm_start([certificate(birth)], 0.5)
        server.at(1.0 + number)
    assert len(server.fleet.catalogue) < 20_000


def test_a_tag_that_a_kept_birth_leaves_out_dies_with_its_node():
    server = server_with(node_birth(1, tag("Ramp", 0), tag("Old", 1)))
    server.lost(1.0, ARRIVED)
    server.fleet.memory.warm_start([certificate(node_birth(2, timestamp=REBORN_MS))], 1.5)
    bd_seq = metric("bdSeq", DataType.Int64, long_value=2)
    assert stale(server.at(2.0, message("NDEATH", bd_seq, seq=None))) == ["Old", "Ramp"]
    assert stale(server.at(3.0, node_birth(3, timestamp=REBORN_MS + 1))) == []


# Nodes that the filters show in part


def test_births_of_a_node_that_is_seen_in_part_are_not_waited_for():
    """Of a shared subscription others get them."""
    filters = ["$share/consumers/spBv1.0/#"]
    server = server_with(*births(), sight=lambda group, node: sight_of(filters, group, node))
    server.at(1.0, reborn())
    server.tick(100.0)
    assert stale(server.rows) == []
