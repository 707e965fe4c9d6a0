"""Clocks of edge nodes: what others have overtaken, and when a death is dated."""

import pytest
from oracle.messages import ARRIVED
from support.columnar import message, metric, name
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.host.watch.unborn import REBORN_SECONDS
from sparkplug.memory import BirthMemory, RememberedBirth

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
AHEAD = ARRIVED + HOUR
BD_SEQ = metric("bdSeq", DataType.Int64, long_value=1)
DEATH = message("NDEATH", BD_SEQ, seq=None)


def value(tag, time_us, number=1.0, **fields):
    return metric(tag, DataType.Double, double_value=number, timestamp=time_us // 1000, **fields)


def born(*values, **options):
    return message("NBIRTH", BD_SEQ, *values, **options)


def stale_at(rows):
    return {name(row): row["event_time"] for row in rows if row["quality"] == "STALE"}


def historical(rows):
    return [(row["numeric_value"], row["is_historical"]) for row in rows]


# The time of a death


def test_a_death_is_dated_behind_the_greatest_time_of_its_session_not_behind_the_last():
    server = Server()
    server.at(0.0, born(value("Ramp", AHEAD)))
    server.at(1.0, message("NDATA", value("Ramp", AHEAD - SECOND), seq=1))
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": AHEAD + 1}


def test_history_counts_as_well():
    server = Server()
    server.at(0.0, born(value("Ramp", ARRIVED)))
    server.at(1.0, message("NDATA", value("Ramp", AHEAD, is_historical=True), seq=1))
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": AHEAD + 1}


def test_node_and_devices_have_times_of_their_own_and_their_tags_one_together():
    server = Server()
    server.at(0.0, born(value("Ramp", AHEAD), value("Sine", ARRIVED)))
    server.at(1.0, message("DBIRTH", value("Level", AHEAD + SECOND), seq=1))
    server.at(1.0, message("DBIRTH", value("Speed", ARRIVED - SECOND), seq=2, device="Fan"))
    assert stale_at(server.at(2.0, DEATH)) == {
        "Ramp": AHEAD + 1,
        "Sine": AHEAD + 1,
        "Boiler/Level": AHEAD + SECOND + 1,
        "Fan/Speed": ARRIVED,
    }


def test_a_time_more_than_a_day_ahead_is_left_out():
    server = Server()
    server.at(0.0, born(value("Ramp", AHEAD)))
    server.at(1.0, message("NDATA", value("Ramp", ARRIVED + DAY + 1_000), seq=1))
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": AHEAD + 1}
    server = Server()
    server.at(0.0, born(value("Ramp", ARRIVED + DAY)))
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": ARRIVED + DAY + 1}


def test_a_death_of_a_device_has_its_own_time_if_that_is_later():
    for sent_us, expected in ((AHEAD + SECOND, AHEAD + SECOND), (ARRIVED, AHEAD + 1)):
        server = Server()
        server.at(0.0, born(), message("DBIRTH", value("Level", AHEAD), seq=1))
        rows = server.at(1.0, message("DDEATH", seq=2, timestamp=sent_us // 1000))
        assert stale_at(rows) == {"Boiler/Level": expected}


def test_the_next_birth_begins_anew():
    server = Server()
    server.at(0.0, born(value("Ramp", AHEAD)))
    server.at(1.0, born(value("Ramp", ARRIVED - SECOND)))
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": ARRIVED}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_what_was_read_before_a_birth_belongs_to_the_session_before_it(together):
    server = Server()
    server.at(0.0, born(value("Ramp", ARRIVED)))
    before = message("NDATA", value("Ramp", AHEAD), seq=1)
    birth = born(value("Ramp", ARRIVED - SECOND))
    for part in ([before, birth],) if together else ([before], [birth]):
        server.at(1.0, *part)
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": ARRIVED}


def test_what_is_read_because_of_the_death_comes_before_it():
    server = Server(reorder_timeout=5.0)
    server.at(0.0, born(value("Ramp", ARRIVED)))
    server.at(1.0, message("NDATA", value("Ramp", AHEAD), seq=2))  # waits
    rows = server.at(2.0, DEATH)
    assert [row["quality"] for row in rows] == ["GOOD", "STALE"]
    assert stale_at(rows) == {"Ramp": AHEAD + 1}


def test_the_loss_of_the_connection_is_dated_by_the_same_rule():
    server = Server(stale_when_lost=True)
    server.at(0.0, born(value("Ramp", AHEAD)))
    server.at(0.0, message("DBIRTH", value("Level", ARRIVED), seq=1))
    lost = server.lost(1.0, ARRIVED + SECOND)
    assert stale_at(lost) == {"Ramp": AHEAD + 1, "Boiler/Level": ARRIVED + SECOND}


def test_what_is_not_born_again_is_dated_by_the_same_rule_device_by_device():
    server = Server()
    server.at(0.0, born(value("Ramp", ARRIVED)))
    server.at(0.0, message("DBIRTH", value("Level", AHEAD), value("Flow", ARRIVED), seq=1))
    server.at(0.0, message("DBIRTH", value("Speed", ARRIVED - SECOND), seq=2, device="Fan"))
    # The values of the node's next session are none of the devices' that ended.
    server.at(1.0, born(value("Ramp", AHEAD + HOUR), received_us=ARRIVED + SECOND))
    assert stale_at(server.tick(1.0 + REBORN_SECONDS)) == {
        "Boiler/Level": AHEAD + 1,
        "Boiler/Flow": AHEAD + 1,
        "Fan/Speed": ARRIVED + SECOND,
    }


def test_a_death_of_what_is_unborn_is_dated_by_the_same_rule():
    server = Server()
    server.at(0.0, born(), message("DBIRTH", value("Level", AHEAD), seq=1))
    server.at(1.0, born(value("Ramp", ARRIVED - SECOND)))
    assert stale_at(server.at(2.0, DEATH)) == {"Ramp": ARRIVED, "Boiler/Level": AHEAD + 1}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
def test_what_a_birth_leaves_out_is_dated_behind_the_session_before_it(together):
    server = Server()
    server.at(0.0, born(value("Ramp", ARRIVED), value("Old", ARRIVED)))
    before = message("NDATA", value("Ramp", AHEAD), seq=1)
    birth = born(value("Ramp", AHEAD + HOUR))
    for part in ([before, birth],) if together else ([before], [birth]):
        rows = server.at(1.0, *part)
    assert [(name(row), row["quality"]) for row in rows][-2:] == [
        ("Old", "STALE"),
        ("Ramp", "GOOD"),
    ]
    assert stale_at(rows) == {"Old": AHEAD + 1}


def test_a_node_that_is_given_up_is_dated_by_the_same_rule():
    server = Server(unheard=60.0)
    server.fleet.absence.listening(ARRIVED)
    birth = born(value("Ramp", AHEAD)), message("DBIRTH", value("Level", ARRIVED), seq=1)
    server.at(0.0, *birth)
    server.fleet.absence.asked("Plant", "Edge")
    server.at(1.0, *birth)  # it answers requests, if it can
    server.lost(2.0, ARRIVED)
    rows = []
    for now in range(3, 400):
        server.fleet.absence.listening(ARRIVED + SECOND)
        rows += server.tick(float(now))
        for _ in server.wishes():
            server.fleet.absence.asked("Plant", "Edge")
    assert stale_at(rows) == {"Ramp": AHEAD + 1, "Boiler/Level": ARRIVED + SECOND}


def test_what_is_stale_already_dates_the_others_of_its_device_all_the_same():
    """A birth value that is transient takes nothing back, and later data has times."""
    server = Server(stale_when_lost=True)
    server.at(0.0, born(value("Ramp", ARRIVED), value("Sine", ARRIVED)))
    server.at(1.0, DEATH)
    server.at(2.0, born(value("Ramp", ARRIVED, is_transient=True), value("Sine", ARRIVED)))
    server.at(3.0, message("NDATA", value("Ramp", AHEAD), seq=1))
    assert stale_at(server.lost(4.0, ARRIVED + SECOND))["Sine"] == AHEAD + 1


def test_a_birth_that_a_server_keeps_does_not_forget_the_values_of_before():
    server = Server()
    server.at(0.0, born(value("Ramp", AHEAD)))
    server.lost(1.0, ARRIVED)
    birth = born(value("Ramp", ARRIVED), timestamp=ARRIVED // 1000)
    topic = "$sparkplug/certificates/" + birth.topic
    server.fleet.memory.warm_start([birth._replace(topic=topic, retained=True)], 2.0)
    assert stale_at(server.at(3.0, DEATH)) == {"Ramp": AHEAD + 1}


def test_after_a_restart_a_death_is_behind_the_last_message_of_before():
    server = Server()
    birth = born(value("Ramp", ARRIVED))
    memory = BirthMemory(0, "Plant", "Edge", None, birth)
    server.fleet.memory.restore([RememberedBirth(memory, alive=True, stale=False)], b"\x01\x00")
    server.fleet.memory.restore_gaps([], {("Plant", "Edge"): AHEAD, ("Plant", "Gone"): AHEAD})
    assert stale_at(server.at(1.0, DEATH)) == {"Ramp": AHEAD + 1}


# What others have overtaken


@pytest.fixture
def server():
    server = Server()
    server.at(0.0, born(value("Ramp", ARRIVED), value("Sine", ARRIVED)))
    server.at(1.0, message("NDATA", value("Ramp", ARRIVED + 5 * SECOND, 5.0), seq=6))
    return server


@pytest.mark.parametrize(("second", "overtaken"), [(4, True), (5, True), (6, False)])
def test_a_late_value_that_is_not_newer_is_historical(server, second, overtaken):
    rows = server.at(2.0, message("NDATA", value("Ramp", ARRIVED + second * SECOND, 4.0), seq=1))
    assert historical(rows) == [(4.0, overtaken)]


def test_the_last_value_of_the_tag_itself_counts(server):
    rows = server.at(2.0, message("NDATA", value("Sine", ARRIVED + SECOND, 4.0), seq=1))
    assert historical(rows) == [(4.0, False)]


def test_history_overtakes_nothing(server):
    flushed = value("Sine", ARRIVED + 9 * SECOND, 9.0, is_historical=True)
    server.at(2.0, message("NDATA", flushed, seq=7))
    rows = server.at(3.0, message("NDATA", value("Sine", ARRIVED + SECOND, 4.0), seq=1))
    assert historical(rows) == [(4.0, False)]


def test_a_late_value_that_is_newer_overtakes_the_next_one(server):
    rows = server.at(
        2.0,
        message("NDATA", value("Ramp", ARRIVED + 8 * SECOND, 8.0), seq=3),
        message("NDATA", value("Ramp", ARRIVED + 7 * SECOND, 7.0), seq=2),
    )
    assert historical(rows) == [(8.0, False), (7.0, True)]


def test_a_value_in_order_is_the_last_one_whatever_its_time_also_for_late_ones(server):
    rows = server.at(
        2.0,
        message("NDATA", value("Ramp", ARRIVED - HOUR, 1.0), seq=7),
        message("NDATA", value("Ramp", ARRIVED, 2.0), seq=1),
        message("NDATA", value("Ramp", ARRIVED - SECOND, 3.0), seq=2),
    )
    assert historical(rows) == [(1.0, False), (2.0, False), (3.0, True)]


def test_a_late_birth_of_a_device_that_is_none_yet_is_a_birth(server):
    rows = server.at(2.0, message("DBIRTH", value("Level", ARRIVED, 1.0), seq=1))
    assert historical(rows) == [(1.0, False)]


def test_what_was_overtaken_heals_no_gap_as_a_history_flush_would(server):
    server.told()
    decoded = server.fleet.feed(
        [message("NDATA", value("Ramp", ARRIVED + SECOND, 4.0), seq=2)], 2.0
    )
    [rows] = decoded.observations
    assert rows.historical.all()
    assert not any(change.history_rows for change in decoded.gaps)


def test_the_event_id_does_not_tell(server):
    other = Server()
    other.at(0.0, born(value("Ramp", ARRIVED), value("Sine", ARRIVED)))
    late = message("NDATA", value("Ramp", ARRIVED + SECOND, 4.0), seq=1)
    [one], [two] = server.at(2.0, late), other.at(2.0, late)
    assert (one["is_historical"], two["is_historical"]) == (True, False)
    assert one["event_id"] == two["event_id"]


# The same tags on several servers


def site():
    servers = [Server(site="plant") for _ in range(2)]
    for each, other in (servers, reversed(servers)):
        each.fleet.liveness.join([other.fleet.liveness])
    return servers


def test_a_tag_is_found_on_the_other_server_whatever_its_number_and_when_it_is_born():
    a, b = site()
    b.at(0.0, born(value("Sine", ARRIVED), node="Other"))
    b.at(0.0, born(value("Ramp", ARRIVED, 1.0)))
    a.at(1.0, born(value("Sine", ARRIVED), value("Ramp", ARRIVED, 1.0)))
    a.at(2.0, message("NDATA", value("Ramp", ARRIVED + 5 * SECOND, 5.0), seq=1))
    rows = b.at(3.0, message("NDATA", value("Ramp", ARRIVED + SECOND, 2.0), seq=1))
    assert historical(rows) == [(2.0, True)]
    # A device that appears on one and then on the other.
    b.at(4.0, message("DBIRTH", value("Level", ARRIVED, 1.0), seq=2))
    a.at(4.0, message("DBIRTH", value("Level", ARRIVED, 1.0), seq=2))
    a.at(5.0, message("DDATA", value("Level", ARRIVED + 5 * SECOND, 5.0), seq=3))
    rows = b.at(6.0, message("DDATA", value("Level", ARRIVED + SECOND, 2.0), seq=3))
    assert historical(rows) == [(2.0, True)]


def test_a_tag_is_found_after_the_numbers_of_either_server_were_handed_out_anew():
    a, b = site()
    for server in (a, b):
        server.at(0.0, born(value("Ramp", ARRIVED, 1.0)))
    a.at(1.0, message("NDATA", value("Ramp", ARRIVED + 5 * SECOND, 5.0), seq=1))
    assert historical(b.at(2.0, message("NDATA", value("Ramp", ARRIVED + SECOND, 2.0), seq=1))) == [
        (2.0, True)
    ]
    for server in (a, b):
        names = [value(f"{server is a} {number}", ARRIVED) for number in range(11_000)]
        server.at(3.0, message("DBIRTH", *names, seq=2))
        server.at(3.0, message("DBIRTH", seq=3))
        before = server.fleet.catalogue.generation
        server.at(4.0, message("DBIRTH", value("Level", ARRIVED), seq=4))
        assert server.fleet.catalogue.generation == before + 1
    a.at(5.0, message("NDATA", value("Ramp", ARRIVED + 9 * SECOND, 9.0), seq=5))
    rows = b.at(6.0, message("NDATA", value("Ramp", ARRIVED + 7 * SECOND, 7.0), seq=5))
    assert historical(rows) == [(7.0, True)]
