"""What the loss of the host's own connection does to nodes, rows and events."""

import pytest
from oracle.messages import ARRIVED, MEASURED_MS
from support.columnar import change, message, metric, name, tag, values
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.memory import BirthMemory, RememberedBirth, StaleMemory, TakenBackMemory

LOST = ARRIVED + 7_000_000
BD_SEQ = metric("bdSeq", DataType.Int64, long_value=1)
NODE_BIRTH = message("NBIRTH", BD_SEQ, tag("Ramp", 0), tag("Sine", 1))
BOILER_BIRTH = message("DBIRTH", tag("Level", 2), seq=1)
FAN_BIRTH = message("DBIRTH", tag("Speed", 3), seq=2, device="Fan")
BORN = (NODE_BIRTH, BOILER_BIRTH, FAN_BIRTH)
EVERYTHING = ["Boiler/Level", "Fan/Speed", "Ramp", "Sine"]
REBIRTH_MS = LOST // 1000 + 5_000


def born(**options):
    server = Server(reorder_timeout=2.0, **options)
    server.at(0.0, *BORN)
    server.told()
    return server


def data(seq, alias, value, **options):
    return message("NDATA", change(alias, value), seq=seq, **options)


def stale(rows):
    return sorted(name(row) for row in rows if row["quality"] == "STALE")


@pytest.fixture
def server():
    return born(stale_when_lost=True)


# Whatever is configured


@pytest.mark.parametrize("stale_when_lost", [False, True])
def test_the_loss_is_one_event_of_no_node(stale_when_lost):
    server = born(stale_when_lost=stale_when_lost)
    server.lost(5.0, LOST)
    [event] = server.told(*EventKind)
    assert event.kind is EventKind.CONNECTION_LOST
    assert (event.time_us, event.group_id, event.edge_node_id) == (LOST, None, None)
    assert event.detail == "1 edge nodes were alive"


def test_by_default_the_loss_gives_no_rows():
    assert born().lost(5.0, LOST) == []


def test_a_node_whose_seq_goes_on_after_the_loss_is_read_and_not_asked():
    server = born()
    server.lost(5.0, LOST)
    assert values(server.at(6.0, data(3, 0, 5.0))) == [("Ramp", 5.0)]
    assert server.wishes() == []


def test_a_node_whose_seq_does_not_go_on_is_held_and_asked():
    server = born()
    server.lost(5.0, LOST)
    assert server.at(6.0, data(4, 0, 5.0)) == []
    assert server.wishes() == [("Edge", "data_before_birth")]


def test_what_waited_for_a_missing_message_is_read_when_the_connection_is_lost():
    server = born()
    assert server.at(1.0, data(4, 0, 5.0)) == []
    assert values(server.lost(1.5, LOST)) == [("Ramp", 5.0)]


# emit_stale: all


def test_every_live_tag_gets_a_row_of_the_host(server):
    rows = server.lost(5.0, LOST)
    assert stale(rows) == EVERYTHING
    for row in rows:
        assert (row["message_type"], row["quality_code"], row["numeric_value"]) == (
            *("HOST", 500),
            None,
        )
        assert row["event_time"] == row["ingestion_timestamp"] == LOST
        assert (row["seq"], row["payload_timestamp"], row["is_historical"]) == (None, None, False)


def test_tags_that_were_stale_already_get_no_second_row(server):
    server.at(1.0, message("DDEATH", seq=3, device="Fan"))
    assert stale(server.lost(5.0, LOST)) == ["Boiler/Level", "Ramp", "Sine"]
    assert server.lost(6.0, LOST + 1_000_000) == []


def test_dead_nodes_get_no_rows(server):
    server.at(1.0, message("NDEATH", BD_SEQ, seq=None))
    assert server.lost(5.0, LOST) == []
    [event] = server.told(EventKind.CONNECTION_LOST)
    assert event.detail == "0 edge nodes were alive"


def test_the_first_birth_value_after_the_loss_is_a_row_again_with_its_own_time(server):
    server.lost(5.0, LOST)
    reborn = message("NBIRTH", BD_SEQ, tag("Ramp", 0), timestamp=REBIRTH_MS)
    [first] = server.at(6.0, reborn)
    assert server.at(6.5, reborn) == []
    [second] = server.at(7.0, message("NBIRTH", BD_SEQ, tag("Ramp", 0, 9.0), timestamp=REBIRTH_MS))
    assert [row["event_time"] // 1000 for row in (first, second)] == [MEASURED_MS, MEASURED_MS]
    assert first["event_id"] == server.rows[0]["event_id"] != second["event_id"]


def test_a_node_that_goes_on_without_a_birth_is_read_and_asked_once(server):
    """Its tags that do not change would stay STALE for ever."""
    server.lost(5.0, LOST)
    assert values(server.at(6.0, data(3, 0, 5.0))) == [("Ramp", 5.0)]
    assert server.wishes() == [("Edge", "connection_lost")]
    server.at(7.0, data(4, 0, 6.0))
    assert server.wishes() == []


def test_a_node_that_is_born_anew_is_not_asked(server):
    server.lost(5.0, LOST)
    server.at(6.0, *BORN)
    server.at(7.0, data(3, 0, 5.0))
    assert server.wishes() == []


def test_data_takes_back_what_was_said_of_its_own_tag_and_the_birth_the_rest(server):
    server.lost(5.0, LOST)
    server.at(6.0, data(3, 0, 5.0))
    reborn = tag("Ramp", 0, 5.0), tag("Sine", 1)
    rows = server.at(7.0, message("NBIRTH", BD_SEQ, *reborn, timestamp=REBIRTH_MS))
    assert [(name(row), row["event_time"] // 1000) for row in rows] == [("Sine", MEASURED_MS)]


def test_history_takes_nothing_back(server):
    server.lost(5.0, LOST)
    old = metric(alias=0, double_value=1.0, is_historical=True)
    server.at(6.0, message("NDATA", old, seq=3))
    rows = server.at(7.0, message("NBIRTH", BD_SEQ, tag("Ramp", 0, 1.0), timestamp=REBIRTH_MS))
    assert [row["is_historical"] for row in rows] == [False]


def test_after_each_loss_tags_that_came_back_become_stale_again(server):
    server.lost(5.0, LOST)
    server.at(6.0, data(3, 0, 5.0))
    assert stale(server.lost(8.0, LOST + 3_000_000)) == ["Ramp"]


def test_a_death_after_the_loss_gives_its_rows_too(server):
    server.lost(5.0, LOST)
    rows = server.at(7.0, message("NDEATH", BD_SEQ, seq=None))
    assert stale(rows) == EVERYTHING
    assert {row["message_type"] for row in rows} == {"NDEATH"}


def test_without_rows_of_births_data_alone_takes_back_what_was_said():
    server = born(stale_when_lost=True, emit_births=False)
    server.at(1.0, message("NDEATH", BD_SEQ, seq=None))
    server.at(2.0, *BORN)
    server.at(3.0, data(3, 0, 5.0))
    assert stale(server.lost(5.0, LOST)) == ["Ramp"]


def test_a_node_that_died_after_the_loss_is_not_asked(server):
    server.lost(5.0, LOST)
    server.at(6.0, message("NDEATH", BD_SEQ, seq=None))
    assert server.wishes() == []


def test_after_a_restart_a_node_that_goes_on_is_asked_and_its_birth_takes_it_back():
    server = Server(reorder_timeout=2.0)
    memories = [
        RememberedBirth(BirthMemory(0, "Plant", "Edge", device, birth), alive=True, stale=True)
        for device, birth in ((None, NODE_BIRTH), ("Boiler", BOILER_BIRTH))
    ]
    server.fleet.memory.restore(memories, b"\x02\x00")
    assert values(server.at(6.0, data(2, 0, 5.0))) == [("Ramp", 5.0)]
    assert server.wishes() == [("Edge", "connection_lost")]
    reborn = message("NBIRTH", BD_SEQ, tag("Ramp", 0, 5.0), tag("Sine", 1), timestamp=REBIRTH_MS)
    [sine] = server.at(7.0, reborn)
    assert (sine["metric_name"], sine["event_time"] // 1000) == ("Sine", MEASURED_MS)


def test_what_is_stale_is_remembered_over_a_restart(server):
    server.lost(5.0, LOST)
    assert [each for each in server.memories if isinstance(each, StaleMemory)] == [
        StaleMemory("Plant", "Edge", device) for device in (None, "Boiler", "Fan")
    ]


def test_it_is_remembered_that_data_took_some_of_it_back(server):
    server.lost(5.0, LOST)
    server.memories.clear()
    server.at(6.0, data(3, 0, 5.0))
    assert server.memories == [TakenBackMemory("Plant", "Edge", None)]
    server.at(7.0, data(4, 0, 6.0))
    assert len(server.memories) == 1


def test_after_a_restart_what_was_taken_back_in_part_gets_rows_and_is_asked():
    """Which tags are STALE is not known any more: a second row does no harm, none would."""
    server = Server(reorder_timeout=2.0, stale_when_lost=True)
    birth = BirthMemory(0, "Plant", "Edge", None, NODE_BIRTH)
    remembered = RememberedBirth(birth, alive=True, stale=False, taken_back=True)
    server.fleet.memory.restore([remembered], b"\x02\x00")
    assert deaths_of(server.lost(5.0, LOST)) == ["Ramp", "Sine"]
    again = Server(reorder_timeout=2.0)
    again.fleet.memory.restore([remembered], b"\x02\x00")
    again.at(6.0, data(2, 0, 5.0))
    assert again.wishes() == [("Edge", "connection_lost")]


def deaths_of(rows):
    return sorted(row["metric_name"] for row in rows if row["quality"] == "STALE")


def test_rows_that_took_it_back_and_were_lost_leave_the_others_as_they_are(server):
    server.lost(5.0, LOST)
    server.at(6.0, data(3, 0, 5.0))
    decoded = server.fleet.feed([data(4, 1, 6.0)], 7.0)
    server.fleet.lose(decoded)
    assert decoded.memories[-2:] == [
        StaleMemory("Plant", "Edge", None),
        TakenBackMemory("Plant", "Edge", None),
    ]
