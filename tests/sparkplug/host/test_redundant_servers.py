"""Nodes that show up behind several MQTT servers of one site."""

import pytest
from oracle.messages import ARRIVED, MEASURED_MS, SENT_MS
from support.columnar import change, message, metric, name, tag
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.memory import BirthMemory, RememberedBirth

LATER_MS = ARRIVED // 1000 + 60_000


def bd_seq(number):
    return metric("bdSeq", DataType.Int64, long_value=number)


def births(session=1, **options):
    return (
        message("NBIRTH", bd_seq(session), tag("Ramp", 0), **options),
        message("DBIRTH", tag("Level", 2), seq=1, **options),
    )


def death(session=1, **options):
    return message("NDEATH", bd_seq(session), seq=None, **options)


def stale(rows):
    return sorted(name(row) for row in rows if row["quality"] == "STALE")


def event_times(rows):
    return {name(row): row["event_time"] // 1000 for row in rows}


def site(count=2, **options):
    servers = [Server(site="plant", **options) for _ in range(count)]
    for each in servers:
        each.fleet.liveness.join(other.fleet.liveness for other in servers if other is not each)
    return servers


def test_a_node_that_dies_on_one_server_and_lives_on_another_is_not_stale():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    assert a.at(2.0, death()) == []


def test_its_death_is_an_event_all_the_same():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    a.at(2.0, death())
    [event] = a.told(EventKind.NODE_DEATH)
    assert event.bd_seq == 1
    assert event.detail == "alive on another server of its site"


def test_a_node_that_dies_on_the_last_server_is_stale():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    a.at(2.0, death())
    assert stale(b.at(3.0, death(session=2))) == ["Boiler/Level", "Ramp"]
    [event] = b.told(EventKind.NODE_DEATH)
    assert event.detail is None


def test_servers_without_a_common_site_know_nothing_of_each_other():
    a, b = Server(), Server()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    assert stale(a.at(2.0, death())) == ["Boiler/Level", "Ramp"]


def test_a_node_of_another_group_is_another_node():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(group="Other"))
    assert stale(a.at(2.0, death())) == ["Boiler/Level", "Ramp"]


def test_devices_that_the_other_server_does_not_show_are_stale():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, births(session=2)[0])
    assert stale(a.at(2.0, death())) == ["Boiler/Level"]


def test_a_device_that_dies_on_one_server_and_lives_on_another_is_not_stale():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    assert a.at(2.0, message("DDEATH", seq=2)) == []
    assert a.told(EventKind.DEVICE_DEATH)[0].detail == "alive on another server of its site"
    assert stale(b.at(3.0, message("DDEATH", seq=2))) == ["Boiler/Level"]


@pytest.mark.parametrize("doubt", ["lost", "gap"])
def test_a_server_that_is_not_certain_of_a_node_does_not_vouch_for_it(doubt):
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    b.lost(2.0, ARRIVED)
    if doubt == "gap":
        b.at(2.5, message("NDATA", change(0, 1.0), seq=77))
    assert stale(a.at(3.0, death())) == ["Boiler/Level", "Ramp"]


def test_a_server_that_goes_on_with_such_a_node_asks_it_for_its_births():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    b.lost(2.0, ARRIVED)
    a.at(3.0, death())
    assert b.at(4.0, message("NDATA", change(0, 1.0), seq=2))
    assert b.wishes() == [("Edge", "connection_lost")]
    rows = b.at(5.0, *births(session=2, timestamp=LATER_MS))
    assert event_times(rows)["Boiler/Level"] == MEASURED_MS
    assert b.at(6.0, *births(session=2, timestamp=LATER_MS + 1)) == []


# A node that moves from one server to another


def test_the_birth_on_the_other_server_takes_back_what_the_death_said():
    a, b = site()
    a.at(0.0, *births())
    assert stale(a.at(1.0, death())) == ["Boiler/Level", "Ramp"]
    rows = b.at(2.0, *births(session=2, timestamp=LATER_MS))
    assert event_times(rows) == {"Ramp": MEASURED_MS, "Boiler/Level": MEASURED_MS}


def test_a_birth_takes_back_what_a_death_on_the_other_server_said_though_its_values_are_the_same():
    a, b = site()
    a.at(0.0, *births())
    b.at(1.0, *births(session=2))
    assert a.at(2.0, death()) == []
    assert stale(b.at(3.0, death(session=2))) == ["Boiler/Level", "Ramp"]
    rows = a.at(4.0, *births(session=3, timestamp=LATER_MS))
    assert event_times(rows) == {"Ramp": MEASURED_MS, "Boiler/Level": MEASURED_MS}
    assert {row["event_id"] for row in rows} == {row["event_id"] for row in a.rows[:2]}


def test_a_birth_on_the_other_server_takes_back_its_own_tags_only():
    a, b = site()
    a.at(0.0, *births())
    a.at(1.0, death())
    b.at(2.0, births(session=2, timestamp=LATER_MS)[0])
    stale_at = a.fleet.catalogue.states.stale
    assert [a.fleet.catalogue.names[each] for each in stale_at.nonzero()[0]] == ["Level"]
    rows = a.at(3.0, *births(session=3, timestamp=LATER_MS + 1))
    assert event_times(rows) == {"Ramp": MEASURED_MS, "Boiler/Level": MEASURED_MS}
    assert not a.fleet.catalogue.states.stale.any()


def test_what_was_taken_back_is_not_taken_back_again_when_the_node_returns():
    a, b = site()
    a.at(0.0, *births())
    a.at(1.0, death())
    b.at(2.0, *births(session=2, timestamp=LATER_MS))
    b.at(3.0, *births(session=2, timestamp=LATER_MS + 1))
    rows = a.at(4.0, *births(session=3, timestamp=LATER_MS + 2))
    assert set(event_times(rows).values()) <= {MEASURED_MS}


def test_a_node_that_was_born_there_before_it_died_here_is_never_stale():
    a, b = site()
    a.at(0.0, *births())
    rows = b.at(1.0, *births(session=2, timestamp=LATER_MS))
    rows += a.at(2.0, death())
    assert stale(rows) == []
    assert event_times(rows) == {"Ramp": MEASURED_MS, "Boiler/Level": MEASURED_MS}


def test_what_a_death_said_is_taken_back_after_a_restart_too():
    a, b = site()
    [nbirth, dbirth] = births()
    a.fleet.memory.restore(
        [
            RememberedBirth(BirthMemory(0, "Plant", "Edge", device, birth), False, True, 1, ARRIVED)
            for device, birth in ((None, nbirth), ("Boiler", dbirth))
        ],
        b"",
    )
    rows = b.at(2.0, *births(session=2, timestamp=LATER_MS))
    assert event_times(rows) == {"Ramp": MEASURED_MS, "Boiler/Level": MEASURED_MS}
    assert not a.fleet.catalogue.states.stale.any()


def test_three_servers_are_no_different():
    a, b, c = site(3)
    for session, each in enumerate((a, b, c)):
        each.at(0.0, *births(session))
    assert a.at(1.0, death(0)) == []
    assert c.at(2.0, death(2)) == []
    assert stale(b.at(3.0, death(1))) == ["Boiler/Level", "Ramp"]
    rows = c.at(4.0, *births(5, timestamp=LATER_MS))
    assert event_times(rows) == {"Ramp": MEASURED_MS, "Boiler/Level": MEASURED_MS}


# Losing one of the connections, with emit_stale: all


def test_the_loss_of_one_server_makes_stale_what_no_other_shows_alive():
    a, b = site(stale_when_lost=True)
    a.at(0.0, *births())
    b.at(1.0, births(session=2)[0])
    assert stale(a.lost(2.0, ARRIVED)) == ["Boiler/Level"]
    assert stale(b.lost(3.0, ARRIVED + 1)) == ["Ramp"]


# Observations


def test_an_observation_has_the_same_event_id_over_every_server_of_the_site():
    a, b = site()
    ids = []
    for number, each in enumerate((a, b)):
        rows = each.at(0.0, *births(session=number, received_us=ARRIVED + number))
        rows += each.at(
            1.0,
            message(
                "DDATA",
                metric(alias=2, double_value=4.5, timestamp=MEASURED_MS + 9),
                seq=2,
                timestamp=SENT_MS + number,
                received_us=ARRIVED + 9 + number,
            ),
        )
        ids.append([row["event_id"] for row in rows])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_over_servers_of_different_sites_it_has_another():
    ids = {
        row["event_id"]
        for where in ("north", "south")
        for row in Server(site=where).at(0.0, births()[0])
    }
    assert len(ids) == 2
