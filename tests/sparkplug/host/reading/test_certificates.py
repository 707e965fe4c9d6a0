"""Births that a Sparkplug-aware server keeps: what they are good for, and what not."""

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import change, message, metric, name, tag, values
from support.host_side import Server

from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX
from sparkplug.memory import BirthMemory, RememberedBirth

BEFORE_MS = SENT_MS - 60_000


def bd_seq(number=1):
    return metric("bdSeq", DataType.Int64, long_value=number)


def kept(birth):
    """A birth as the server keeps it."""
    return birth._replace(topic=CERTIFICATE_PREFIX + birth.topic, retained=True)


def nbirth(*more, session=1, timestamp=BEFORE_MS, **options):
    metrics = (bd_seq(session), tag("Ramp", 0), tag("Sine", 1), *more)
    return message("NBIRTH", *metrics, timestamp=timestamp, **options)


def dbirth(*, timestamp=BEFORE_MS + 1, **options):
    return message("DBIRTH", tag("Level", 2), seq=1, timestamp=timestamp, **options)


def named(name="Ramp", value=5.0, datatype=None, **fields):
    """A metric of data that goes by its name."""
    return metric(name, datatype, double_value=value, **fields)


def stale(rows):
    return sorted(name(row) for row in rows if row["quality"] == "STALE")


def warm(server, *births, now=0.0):
    return server._take(server.fleet.memory.warm_start([kept(each) for each in births], now))


@pytest.fixture
def server():
    """A server that keeps the births of one node and one device; nothing else was heard."""
    server = Server(reorder_timeout=2.0)
    assert warm(server, nbirth(), dbirth()) == []
    return server


# What they do not do


def test_they_give_no_rows_no_events_and_are_not_kept_on_disk():
    server = Server()
    assert warm(server, nbirth(), dbirth()) == []
    assert server.told(*EventKind) == []
    assert server.memories == []
    assert server.wishes() == []
    assert server.counts == {"certificate": 2}


def test_their_seq_is_not_believed(server):
    assert server.at(1.0, message("NDATA", change(0, 5.0), seq=2)) == []
    assert server.wishes() == [("Edge", "data_before_birth")]


def test_aliases_wait_for_the_real_birth(server):
    assert server.at(1.0, message("NDATA", change(0, 5.0), seq=1)) == []
    rows = server.at(2.0, message("NBIRTH", bd_seq(2), tag("Sine", 0), tag("Ramp", 1), seq=0))
    assert values(rows) == [("Sine", 0.0), ("Ramp", 0.0), ("Sine", 5.0)]


# Metrics with names


def test_a_metric_with_a_name_is_read_and_its_node_is_asked_all_the_same(server):
    assert values(server.at(1.0, message("NDATA", named(), seq=7))) == [("Ramp", 5.0)]
    assert server.wishes() == [("Edge", "data_before_birth")]
    assert server.fleet.gauges.held_messages == 0


def test_so_is_one_of_a_device(server):
    assert values(server.at(1.0, message("DDATA", named("Level"), seq=7))) == [
        ("Boiler/Level", 5.0)
    ]


def test_its_neighbours_without_a_name_are_held(server):
    rows = server.at(1.0, message("NDATA", change(1, 6.0), named(), change(0, 7.0), seq=0))
    assert values(rows) == [("Ramp", 5.0)]
    assert server.fleet.gauges.held_messages == 1
    rows = server.at(2.0, nbirth(session=2, timestamp=SENT_MS + 1))
    assert values(rows) == [("Ramp", 0.0), ("Sine", 0.0), ("Sine", 6.0), ("Ramp", 7.0)]
    assert server.fleet.gauges.held_messages == 0


def test_a_name_that_is_not_declared_is_held(server):
    assert server.at(1.0, message("NDATA", named("Other"), seq=7)) == []
    assert server.fleet.gauges.held_messages == 1


def test_a_metric_of_a_device_that_is_not_known_is_held(server):
    assert server.at(1.0, message("DDATA", named("Level"), seq=7, device="Fan")) == []
    assert server.fleet.gauges.held_messages == 1


def test_a_metric_that_says_its_datatype_is_read_if_it_is_the_declared_one(server):
    same = message("NDATA", named(datatype=DataType.Double), seq=7)
    assert values(server.at(1.0, same)) == [("Ramp", 5.0)]
    other = message("NDATA", named(datatype=DataType.Float), seq=8)
    assert server.at(2.0, other) == []
    assert server.fleet.gauges.held_messages == 1


def test_names_of_nodes_without_certificate_are_held():
    server = Server()
    assert server.at(1.0, message("NDATA", named(), seq=7)) == []
    assert server.fleet.gauges.held_messages == 1


# The real birth, and the death


def test_the_real_birth_makes_it_a_node_like_any_other(server):
    server.at(1.0, nbirth(session=2, timestamp=SENT_MS))
    server.wishes()
    assert values(server.at(2.0, message("NDATA", change(0, 5.0), seq=1))) == [("Ramp", 5.0)]
    assert server.wishes() == []


def test_a_death_that_matches_makes_its_tags_stale(server):
    assert stale(server.at(1.0, message("NDEATH", bd_seq(1), seq=None))) == [
        "Boiler/Level",
        "Ramp",
        "Sine",
    ]


def test_a_death_of_another_session_does_not(server):
    assert server.at(1.0, message("NDEATH", bd_seq(0), seq=None)) == []
    assert server.counts["death_of_other_session"] == 1


# Never older than what is known


def test_a_node_that_is_alive_is_not_touched():
    server = Server()
    server.at(0.0, nbirth(timestamp=SENT_MS))
    warm(server, nbirth(session=2, timestamp=SENT_MS + 1), now=1.0)
    assert values(server.at(2.0, message("NDATA", change(0, 5.0), seq=1))) == [("Ramp", 5.0)]


@pytest.mark.parametrize(("sent_ms", "trusted"), [(-1, True), (0, True), (1, False)])
def test_after_a_lost_connection_a_newer_birth_says_that_aliases_are_not_to_be_trusted(
    sent_ms, trusted
):
    """Else a node that was born anew, and by chance continues the seq, would be believed."""
    server = Server()
    server.at(0.0, nbirth(timestamp=SENT_MS))
    server.lost(1.0, ARRIVED)
    warm(server, nbirth(session=2, timestamp=SENT_MS + sent_ms), now=2.0)
    rows = server.at(3.0, message("NDATA", change(0, 5.0), seq=1))
    assert values(rows) == ([("Ramp", 5.0)] if trusted else [])


@pytest.mark.parametrize(("sent_ms", "trusted"), [(0, True), (1, False)])
def test_the_same_holds_for_what_is_remembered_over_a_restart(sent_ms, trusted):
    server = Server()
    memory = BirthMemory(0, "Plant", "Edge", None, nbirth(timestamp=SENT_MS))
    server.fleet.memory.restore([RememberedBirth(memory, True, False)], b"\x01\x00")
    warm(server, nbirth(session=2, timestamp=SENT_MS + sent_ms))
    rows = server.at(3.0, message("NDATA", change(0, 5.0), seq=1))
    assert values(rows) == ([("Ramp", 5.0)] if trusted else [])


def test_a_newer_birth_of_a_device_says_so_too():
    server = Server()
    server.at(0.0, nbirth(), dbirth())
    server.lost(1.0, ARRIVED)
    warm(server, nbirth(), dbirth(timestamp=SENT_MS), now=2.0)
    assert server.at(3.0, message("NDATA", change(0, 5.0), seq=2)) == []


def test_births_from_before_a_death_do_not_wake_the_dead():
    server = Server()
    server.at(0.0, nbirth(), message("NDEATH", bd_seq(), seq=None))
    warm(server, nbirth(), now=1.0)
    assert server.at(2.0, message("NDATA", named(), seq=1)) == []


def test_births_from_after_a_death_tell_of_the_session_that_follows():
    server = Server()
    server.at(0.0, nbirth(), message("NDEATH", bd_seq(), seq=None))
    warm(server, nbirth(session=2, timestamp=ARRIVED // 1000 + 1), now=1.0)
    assert values(server.at(2.0, message("NDATA", named(), seq=1))) == [("Ramp", 5.0)]


@pytest.mark.parametrize("off_ms", [-3_600_000, 3_600_000])
def test_whether_a_birth_is_from_after_a_death_is_judged_by_the_clock_of_the_node(off_ms):
    """The death is dated by the clock of the host: the two cannot be compared."""
    server = Server()
    known_ms = ARRIVED // 1000 + off_ms
    server.at(0.0, nbirth(timestamp=known_ms), message("NDEATH", bd_seq(), seq=None))
    warm(server, nbirth(timestamp=known_ms), now=1.0)
    assert server.at(2.0, message("NDATA", named(), seq=1)) == []
    warm(server, nbirth(session=2, timestamp=known_ms + 1), now=3.0)
    assert values(server.at(4.0, message("NDATA", named(), seq=1))) == [("Ramp", 5.0)]


def test_a_kept_birth_of_the_bd_seq_of_a_death_just_before_is_no_late_birth():
    server = Server()
    server.at(0.0, nbirth(), message("NDEATH", bd_seq(), seq=None))
    warm(server, nbirth(timestamp=SENT_MS), now=0.5)
    assert server.fleet.gauges.held_messages == 0
    assert server.tick(10.0) == []
    assert server.counts == {"certificate": 1}


def test_a_device_that_its_nodes_birth_outlived_is_not_known():
    server = Server()
    warm(server, nbirth(timestamp=SENT_MS), dbirth(timestamp=SENT_MS - 1))
    assert server.at(1.0, message("DDATA", named("Level"), seq=7)) == []


@pytest.mark.parametrize("together", [True, False])
def test_devices_may_come_before_their_node(together):
    server = Server()
    if together:
        warm(server, dbirth(), nbirth())
    else:
        warm(server, dbirth())
        warm(server, nbirth())
    assert values(server.at(1.0, message("DDATA", named("Level"), seq=7))) == [
        ("Boiler/Level", 5.0)
    ]


def test_devices_that_wait_for_their_node_are_bounded():
    server = Server()
    for number in range(30):
        warm(server, *(dbirth(node=f"E{number}", device=f"D{n}") for n in range(50)))
    assert len(server.fleet.memory._restoration.early_certificates) == 1000


def test_large_births_of_devices_that_wait_for_their_node_are_bounded_by_their_bytes():
    server = Server()
    birth = dbirth(node="Nowhere")
    filling = birth.payload + b"\x2a\x80\x80\x40" + bytes(1 << 20)  # a body of a mebibyte
    for _ in range(9):
        warm(server, birth._replace(payload=filling))
    kept_bytes = [len(each.payload) for each in server.fleet.memory._restoration.early_certificates]
    assert 3 << 20 < sum(kept_bytes) <= 4 << 20


# What cannot be used


@pytest.mark.parametrize(
    "useless",
    [
        pytest.param(nbirth()._replace(payload=b"\xff\xff"), id="no payload"),
        pytest.param(nbirth(timestamp=None), id="without time"),
        pytest.param(nbirth()._replace(topic="spBv1.0/Plant/NDATA/Edge"), id="no birth"),
        pytest.param(nbirth()._replace(topic="spBv1.0/NBIRTH"), id="no topic"),
        pytest.param(nbirth()._replace(topic="spBv1.0/STATE/host"), id="a host"),
    ],
)
def test_what_is_no_usable_birth_changes_nothing(useless):
    server = Server()
    server.at(0.0, nbirth(timestamp=SENT_MS))
    server.lost(1.0, ARRIVED)
    warm(server, useless, nbirth(node="Other"), now=2.0)
    assert values(server.at(3.0, message("NDATA", change(0, 5.0), seq=1))) == [("Ramp", 5.0)]
    assert values(server.at(4.0, message("NDATA", named(), node="Other"))) == [("Ramp", 5.0)]


def test_a_certificate_takes_nothing_out_of_the_hold():
    server = Server()
    server.at(0.0, message("NDATA", change(0, 5.0), seq=7))
    warm(server, nbirth(), dbirth(), now=1.0)
    assert server.fleet.gauges.held_messages == 1
    assert values(server.at(2.0, nbirth(session=2, timestamp=SENT_MS + 9)))[-1] == ("Ramp", 5.0)


def test_an_open_gap_stays_open():
    server = Server()
    server.at(0.0, nbirth(), message("NDATA", change(0, 5.0), seq=4))
    server.lost(1.0, ARRIVED)
    server.told()
    warm(server, nbirth(session=2, timestamp=SENT_MS), now=2.0)
    server.at(3.0, nbirth(session=2, timestamp=SENT_MS))
    [event] = server.told(EventKind.GAP)
    assert event.healing == "rebirth_snapshot"
