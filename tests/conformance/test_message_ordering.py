"""Messages that arrive in another order than they were sent (the kit's MessageOrderingTest).

Two hosts at one server, with different ids and Reorder Timeouts, see the same edge nodes:
one whose missing message comes late, and one whose messages are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from oracle.messages import payload
from support.services import wait_until

from conformance.assertions import Seen, tck
from conformance.edge import Edge, edge_node, now_ms, number
from conformance.mqtt_packets import Publish
from conformance.observer import state_of
from conformance.plant import HOST_ID, STATE, Plant, plant
from sparkplug.pb.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from conformance.recording_proxy import Recorded

WIRE_AND_ROWS = (Seen.WIRE, Seen.ROWS)
QUICK_S = 0.3
PATIENT_S = 6.0
"""Long enough to look at its table while it waits, on a busy machine, too."""
CLOCKS_S = 0.02
"""The hosts measure with another clock than the proxies."""


@dataclass
class Story:
    """What both hosts saw, and what the patient one had in its table on the way."""

    quick: Plant
    patient: Plant
    late: Edge
    lost: Edge
    while_waiting: list[dict[str, Any]]
    """Rows of `lost` at the patient host when the quick one had asked for the rebirth."""


def recorded(system: Plant, *, from_host: bool) -> list[tuple[Recorded, Publish]]:
    """What a host published, or was sent."""
    [connection] = system.proxy.connections
    return [
        (each, each.packet)
        for each in connection.recorded
        if each.from_client is from_host and isinstance(each.packet, Publish)
    ]


def requests(system: Plant, edge: Edge) -> list[tuple[Recorded, Publish]]:
    """The rebirth requests of one host to one edge node."""
    topic = edge.topic("NCMD")
    return [each for each in recorded(system, from_host=True) if each[1].topic == topic]


def waited(system: Plant, edge: Edge) -> float:
    """Seconds from the first message behind the hole to the rebirth request, at one host."""
    data = [
        each.at
        for each, packet in recorded(system, from_host=False)
        if packet.topic == edge.topic("NDATA")
    ]
    [(asked, _)] = requests(system, edge)
    return asked.at - data[1]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ordering")
    with (
        plant(directory / "quick", host={"reorder_timeout": f"{QUICK_S}s"}) as quick,
        plant(
            directory / "patient",
            server=quick.server,
            host={"id": "patient", "reorder_timeout": f"{PATIENT_S}s"},
        ) as patient,
        edge_node(quick.server.port, "Late") as late,
        edge_node(quick.server.port, "Lost") as lost,
    ):
        for each in (quick, patient):
            each.consumer.start()
        for each in (quick, patient):
            each.consumer.wait_for(lambda host=each: host.consumer.answers("/readyz"), "/readyz")

        late.born(number("Level", 0.0, alias=0))
        late.skip_seq()
        late.data(number(None, 2.0, alias=1), device="Pump")
        late.data(number(None, 3.0, alias=0))
        birth = payload(number("Speed", 1.0, alias=1), seq=1, timestamp=now_ms())
        late.send("DBIRTH", birth, "Pump")
        late.data(number(None, 4.0, alias=0))

        lost.born(number("Level", 0.0))
        lost.data(number("Level", 1.0))
        patient.table.wait_for(2, group_id="Lost")
        for value in (3.0, 5.0):
            lost.skip_seq()
            lost.data(number("Level", value))
        lost.data(number("Level", 6.0))

        wait_until(lambda: requests(quick, lost), what="the quick host's request")
        while_waiting = patient.table.rows(group_id="Lost")
        wait_until(lambda: requests(patient, lost), what="the patient host's request")
        quick.table.wait_for(5, group_id="Lost")
        patient.table.wait_for(5, group_id="Lost")
        patient.table.wait_for(5, group_id="Late")
        yield Story(quick, patient, late, lost, while_waiting)


@tck(
    "operational-behavior-host-reordering-param",
    seen=(Seen.WIRE,),
    checks="`host.reorder_timeout` is how long a host waits: of two with 0.3 s and 6 s that miss "
    "the same message, each asks for a rebirth no earlier than after its own, the first one first.",
)
def test_the_timeout_is_configurable(story):
    assert waited(story.quick, story.lost) >= QUICK_S - CLOCKS_S
    assert waited(story.patient, story.lost) >= PATIENT_S - CLOCKS_S
    [(quick, _)], [(patient, _)] = (
        requests(system, story.lost) for system in (story.quick, story.patient)
    )
    assert quick.at < patient.at


@tck(
    "operational-behavior-host-reordering-start",
    seen=WIRE_AND_ROWS,
    checks="A message behind a hole starts the timer: it and those after it wait, while what came "
    "before it has landed; a host with a longer timeout still waits when another has given up.",
)
def test_a_hole_starts_the_timer(story):
    assert [row["numeric_value"] for row in story.while_waiting] == [0.0, 1.0]
    assert waited(story.patient, story.lost) > waited(story.quick, story.lost)


@tck(
    "operational-behavior-host-reordering-rebirth",
    seen=WIRE_AND_ROWS,
    checks="When the timer has run out, the edge node gets one NCMD with `Node Control/Rebirth` "
    "true, however many messages are missing; what waited lands in the order of seq.",
)
def test_a_rebirth_is_requested_when_the_time_is_over(story):
    for system in (story.quick, story.patient):
        [(_, request)] = requests(system, story.lost)
        [metric] = Payload.FromString(request.payload).metrics
        assert (metric.name, metric.boolean_value) == ("Node Control/Rebirth", True)
        rows = system.table.rows(group_id="Lost")
        assert [row["numeric_value"] for row in rows] == [0.0, 1.0, 3.0, 5.0, 6.0]
        assert [row["seq"] for row in rows] == [0, 1, 3, 5, 6]


@tck(
    "operational-behavior-host-reordering-success",
    seen=WIRE_AND_ROWS,
    checks="When the missing message, here a DBIRTH, comes in time, messages are read in the order "
    "of seq: the DDATA that overtook it lands under its aliases. No rebirth is asked for, not by "
    "the time at which a hole that came later has led to a request.",
)
def test_nothing_is_asked_when_the_missing_message_comes(story):
    arrived = [
        Payload.FromString(packet.payload).seq
        for _, packet in recorded(story.patient, from_host=False)
        if packet.topic.startswith("spBv1.0/Late/")
    ]
    assert arrived == [0, 2, 3, 1, 4]
    rows = story.patient.table.rows(group_id="Late")
    found = sorted((row["seq"], row["metric_name"], row["numeric_value"]) for row in rows)
    assert found == [
        (0, "Level", 0.0),
        (1, "Speed", 1.0),
        (2, "Speed", 2.0),
        (3, "Level", 3.0),
        (4, "Level", 4.0),
    ]
    assert requests(story.patient, story.late) == []


@tck(
    "operational-behavior-host-application-host-id",
    seen=(Seen.WIRE, Seen.SUBSCRIBER),
    checks="The id is the configured one: of two hosts at one server, each publishes STATE on the "
    "topic of its own id only, and leaves the other's alone. That ids are unique is up to those "
    "who configure them; a newer offline STATE of its own id makes the host begin a new session.",
)
def test_hosts_are_told_apart_by_their_ids(story, lives):
    for system, topic in ((story.quick, STATE), (story.patient, "spBv1.0/STATE/patient")):
        states = [each for _, each in recorded(system, from_host=True) if "STATE" in each.topic]
        assert {each.topic for each in states} == {topic}
        others = [each for _, each in recorded(system, from_host=False) if "STATE" in each.topic]
        assert len({each.topic for each in others}) == 2
        # A contradiction of the other's STATE is no business of this host.
    before = len(recorded(story.quick, from_host=True))
    story.patient.observer.publish(
        "spBv1.0/STATE/patient", b'{"online":false,"timestamp":1}', retain=True
    )
    answers = story.patient.observer.wait_for("spBv1.0/STATE/patient", 3)
    assert [state_of(each.payload)["online"] for each in answers][:3] == [True, False, True]
    assert len(recorded(story.quick, from_host=True)) == before
    assert HOST_ID in STATE

    for life in lives:
        first, second = (
            state_of(each.connect.will.payload)["timestamp"]
            for each in (life.renewed, life.crashed)
        )
        foreign = {state["timestamp"] for _, state in life.states_seen("5") if not state["online"]}
        assert second > max(each for each in foreign if each != second) > first
