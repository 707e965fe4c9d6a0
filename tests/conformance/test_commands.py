"""What the host commands (the kit's SendCommandTest): rebirths, and nothing else."""

from __future__ import annotations

import pytest
from support import peer
from support.services import PATIENCE, wait_until

from conformance.assertions import Kind, Seen, tck
from conformance.edge import number
from conformance.mqtt_packets import Publish
from conformance.plant import HOST_ID
from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget, Published
from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Payload

WIRE = (Seen.WIRE,)
BOTH = (Seen.WIRE, Seen.SUBSCRIBER)
ASKED = {f"spBv1.0/Plant/NCMD/{node}" for node in ("Unborn", "Alias", "Device")}
"""Who was asked for a rebirth: data before the birth, an unknown alias, an unborn device."""


@pytest.fixture(scope="module")
def commands(lives):
    """Everything that the hosts published besides STATE, with its time."""
    found = [
        each
        for life in lives
        for session in life.sessions
        for each in session.sent
        if isinstance(each.packet, Publish) and "/STATE/" not in each.packet.topic
    ]
    assert len(found) == 2 * len(ASKED)
    return found


def read(command):
    """The payload of a command."""
    payload = Payload()
    payload.ParseFromString(command.packet.payload)
    return payload


def is_data(recorded, node):
    """Whether the host was sent data of an edge node, or of a device of it."""
    if recorded.from_client or not isinstance(recorded.packet, Publish):
        return False
    levels = recorded.packet.topic.split("/")
    return levels[2:3] in (["NDATA"], ["DDATA"]) and levels[3] == node


@tck(
    "topics-ncmd-topic",
    seen=BOTH,
    checks="Every rebirth request goes to `spBv1.0/<group>/NCMD/<edge node>` of the edge node that "
    "gave a reason; those whose device gave it are asked at node level, too.",
)
def test_requests_go_to_the_edge_node(lives, commands):
    assert {each.packet.topic for each in commands} == ASKED
    for life in lives:
        for seen in life.seen.values():
            assert {each.topic for each in seen if "/NCMD/" in each.topic} == ASKED


@tck(
    "operational-behavior-data-commands-ncmd-verb",
    "operational-behavior-data-commands-ncmd-rebirth-verb",
    seen=WIRE,
    checks="Everything that the host publishes besides STATE has the verb NCMD, rebirth requests "
    "included.",
)
def test_requests_have_the_verb_ncmd(commands):
    assert {each.packet.topic.split("/")[2] for each in commands} == {"NCMD"}


@tck(
    "payloads-ncmd-qos",
    seen=BOTH,
    checks="Every rebirth request has QoS 0, as published and as subscribers get it.",
)
def test_requests_have_qos_0(lives, commands):
    assert {each.packet.qos for each in commands} == {0}
    for life in lives:
        for seen in life.seen.values():
            assert {each.qos for each in seen if each.topic in ASKED} == {0}


@tck(
    "payloads-ncmd-retain",
    seen=BOTH,
    checks="No rebirth request is retained, as published and as a subscriber gets it that asks for "
    "the flag as it was published.",
)
def test_requests_are_not_retained(lives, commands):
    assert {each.packet.retain for each in commands} == {False}
    for life in lives:
        assert {each.retain for each in life.seen["5"] if each.topic in ASKED} == {False}


@tck(
    "topics-ncmd-mqtt",
    seen=WIRE,
    checks="Every rebirth request has QoS 0 and is not retained.",
)
def test_requests_have_qos_0_and_are_not_retained(commands):
    assert {(each.packet.qos, each.packet.retain) for each in commands} == {(0, False)}


@tck(
    "payloads-ncmd-timestamp",
    "topics-ncmd-timestamp",
    seen=WIRE,
    checks="The payload of every rebirth request has a timestamp: the UTC milliseconds at which it "
    "was sent, after the message that gave the reason arrived.",
)
def test_requests_say_when_they_were_sent(lives, commands):
    for each in commands:
        assert read(each).HasField("timestamp")
        [session] = [
            session for life in lives for session in life.sessions if each in session.recorded
        ]
        node = each.packet.topic.split("/")[3]
        before = session.recorded[: session.recorded.index(each)]
        *_, reason = [arrived for arrived in before if is_data(arrived, node)]
        assert reason.at_ms <= read(each).timestamp <= each.at_ms


@tck("payloads-ncmd-seq", seen=WIRE, checks="The payload of no rebirth request has a seq.")
def test_requests_have_no_seq(commands):
    assert not any(read(each).HasField("seq") for each in commands)


@tck(
    "topics-ncmd-payload",
    seen=WIRE,
    checks="The payload of every rebirth request is a protobuf payload of exactly one metric, and "
    "an independent implementation (pysparkplug) reads the same from it.",
)
def test_requests_carry_the_metric_to_write(commands):
    for each in commands:
        [ours] = read(each).metrics
        theirs = peer.NCmd.decode(each.packet.payload, birth=None)
        assert [(m.name, m.value, m.timestamp) for m in theirs.metrics] == [
            (ours.name, ours.boolean_value, ours.timestamp)
        ]


@tck(
    "operational-behavior-data-commands-ncmd-rebirth-name",
    seen=WIRE,
    checks="The metric of every rebirth request is named `Node Control/Rebirth`, and has no alias, "
    "which a host that missed the birth cannot know.",
)
def test_requests_name_the_rebirth_metric(commands):
    for each in commands:
        [metric] = read(each).metrics
        assert metric.name == "Node Control/Rebirth"
        assert not metric.HasField("alias")


@tck(
    "operational-behavior-data-commands-ncmd-rebirth-value",
    seen=WIRE,
    checks="The metric of every rebirth request is a Boolean with the value true.",
)
def test_requests_write_true(commands):
    for each in commands:
        [metric] = read(each).metrics
        assert metric.datatype == DataType.Boolean
        assert metric.WhichOneof("value") == "boolean_value"
        assert metric.boolean_value is True


@tck(
    "payloads-name-cmd-requirement",
    seen=WIRE,
    checks="The metric of every rebirth request has a timestamp, as it may: that of the payload.",
)
def test_the_metric_of_a_request_has_a_timestamp(commands):
    for each in commands:
        [metric] = read(each).metrics
        assert metric.HasField("timestamp")
        assert metric.timestamp == read(each).timestamp


@tck(
    "operational-behavior-data-commands-ncmd-metric-name",
    seen=WIRE,
    checks="An edge node whose NBIRTH was seen is sent no metric that its NBIRTH does not declare.",
)
def test_requests_name_a_metric_of_the_nbirth(lives, commands):
    for life in lives:
        topic = life.alias.topic("NBIRTH")
        [birth] = [each.payload for each in life.seen["5"] if each.topic == topic]
        declared = {metric.name for metric in Payload.FromString(birth).metrics}
        assert "Node Control/Rebirth" in declared
        asked = [each for each in commands if each.packet.topic == life.alias.topic("NCMD")]
        assert asked
        for each in asked:
            assert {metric.name for metric in read(each).metrics} <= declared


@tck(
    "operational-behavior-data-commands-ncmd-metric-value",
    seen=(Seen.WIRE, Seen.ROWS),
    checks="The value has the datatype that the NBIRTH declares for `Node Control/Rebirth`; a "
    "simulated edge node obeys the request, and its births land.",
)
def test_an_edge_node_obeys_a_request(running, commands, lives):
    topic = lives[0].alias.topic("NBIRTH")
    [birth] = [each.payload for each in lives[0].seen["5"] if each.topic == topic]
    declared = {metric.name: metric.datatype for metric in Payload.FromString(birth).metrics}
    for each in commands:
        [metric] = read(each).metrics
        assert metric.datatype == declared[metric.name]

    fleet = Gateways(
        MqttTarget(running.server.url),
        1,
        20,
        options=EdgeNodeOptions(primary_host_id=HOST_ID),
        ledger=Published(),
    )
    fleet.start()
    try:
        assert fleet.wait_online(PATIENCE)
        group, _, node = fleet.gateways[0].partition("/")
        running.table.wait_for(1, group_id=group, message_type="NDATA")
        running.observer.publish(f"spBv1.0/{group}/NDATA/{node}", b"\xff")
        wait_until(lambda: fleet.rebirths == 1, what="the rebirth")
        assert len(running.observer.wait_for(f"spBv1.0/{group}/NBIRTH/{node}", 2)) == 2
    finally:
        assert fleet.stop(PATIENCE)
    wait_until(
        lambda: not fleet.ledger.missing(set(running.table.event_ids())), what="all of it landed"
    )


# ---------------------------------------------------------------------- device commands


@tck(
    "payloads-dcmd-timestamp",
    "payloads-dcmd-seq",
    "payloads-dcmd-qos",
    "payloads-dcmd-retain",
    "topics-dcmd-mqtt",
    "topics-dcmd-timestamp",
    "topics-dcmd-payload",
    "topics-dcmd-topic",
    "operational-behavior-data-commands-dcmd-verb",
    "operational-behavior-data-commands-dcmd-metric-name",
    "operational-behavior-data-commands-dcmd-metric-value",
    kind=Kind.NOT_APPLICABLE,
    seen=WIRE,
    checks="This host only reads: it never sends a DCMD. Checked: not one over whole sessions, "
    "also when a device gives a reason for a rebirth.",
)
def test_the_host_sends_no_device_commands(lives):
    published = [each for life in lives for session in life.sessions for each in session.published]
    assert any(each.topic == "spBv1.0/Plant/NCMD/Device" for each in published)
    assert not [each for each in published if "/DCMD/" in each.topic]


# ---------------------------------------------------------------------- the edge node's will


@tck(
    "message-flow-edge-node-birth-publish-will-message-topic",
    kind=Kind.EDGE,
    seen=(Seen.SUBSCRIBER, Seen.ROWS),
    checks="A will on `spBv1.0/<group>/NDEATH/<edge node>` that the server publishes ends the "
    "session of that edge node; one with another topic does not.",
)
def test_the_will_of_an_edge_node_ends_its_session(running, edge):
    edge.born(number("Level", 1.0))
    elsewhere = f"spBv1.0/{edge.group}/NDEATH/{edge.node}/Pump"
    running.observer.publish(elsewhere, edge.death())
    edge.data(number("Level", 2.0))
    rows = running.table.wait_for(2, group_id=edge.group)
    assert [row["quality"] for row in rows] == ["GOOD", "GOOD"]

    edge.break_off()
    [death] = running.observer.wait_for(edge.topic("NDEATH"))
    assert (death.qos, death.retain) == (1, False)
    rows = running.table.wait_for(3, group_id=edge.group)
    assert [row["quality"] for row in rows] == ["GOOD", "GOOD", "STALE"]
