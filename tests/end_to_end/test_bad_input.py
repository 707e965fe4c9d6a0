"""Whatever is published, the consumer lives on, neighbours land, and reasons are counted."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from oracle.messages import metric as raw_metric
from oracle.messages import payload
from support import peer
from support.peer import PeerType
from support.services import wait_until

from end_to_end.gateway import MEASURED_MS, Gateway, metric, now_ms
from end_to_end.world import world

# Every message that makes the consumer ask for a rebirth comes back to it as a command,
# and its own STATE does: both are counted, neither is what these tests are about.
ORDINARY = {"command", "host_state"}
BIG = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    # Who gives the same reason again and again is asked once, however long that takes.
    host = {"rebirth": {"per_node": "1h"}}
    with world(tmp_path_factory.mktemp("bad-input"), host=host) as system:
        system.consumer.start_ready()
        yield system
        status = system.consumer.status()
        assert status["servers"] == [
            {
                "name": "plant-a",
                "connected": True,
                "connections": 1,
                "last_error": "",
                "broker_dropped_messages": 0,
                "state_answers": 0,
                "foreign_host_births": 0,
            }
        ]
        assert system.consumer.stop() == 0


@pytest.fixture
def gateway(running, request):
    """An edge node of a group of its own, born, with one value of "Level"."""
    group = f"Group {request.node.nodeid.rpartition('::')[2]}".replace("/", "-")
    return Gateway(running.publish, group.replace("+", "plus").replace("#", "hash"))


def counted_since(system, before):
    now = Counter(system.consumer.reasons())
    now.subtract(before)
    return {reason: count for reason, count in now.items() if count and reason not in ORDINARY}


@pytest.mark.parametrize(
    ("topic", "content", "reason"),
    [
        ("spBv1.0/{group}/NDATA/{node}", b"no Sparkplug \xff\xff", "bad_payload"),
        ("spBv1.0/{group}/NDATA/{node}", b"\x0a\xff", "bad_payload"),
        ("spBv1.0/{group}/NDATA/{node}", b'{"metrics": [{"name": 5}]}', "json_payload"),
        ("spBv1.0/{group}/NDATA/{node}", bytes(BIG), "too_large"),
        ("spBv1.0/{group}/DRECORD/{node}/Pump", b"", "unknown_verb"),
        ("spBv1.0/{group}/DATA/{node}", b"\x18\x01", "unknown_verb"),
        ("spBv1.0/{group}", b"", "bad_topic"),
        ("spBv1.0/{group}/NDATA", b"", "bad_topic"),
        ("spBv1.0/{group}/DDATA/{node}", b"", "bad_topic"),
        ("spBv1.0/{group}/NDATA/{node}/Pump", b"", "bad_topic"),
        ("spBv1.0/{group}/NDATA//Pump", b"", "bad_topic"),
        ("spBv1.0/{group}/DDATA/{node}/Pump/Rotor", b"", "bad_topic"),
        ("spBv1.0/{group}/NDEATH/{node}", b"\xff", "bad_payload"),
        ("spBv1.0/{group}/DDATA/{node}/Never born", b"\x18\x02", "device_data_before_birth"),
        ("spBv1.0/{group}/NDATA/Never born", b"\x18\x01", "data_before_birth"),
        ("spBv1.0/{group}/NDEATH/Never born", b"", "death_of_other_session"),
    ],
    ids=itertools.count(),
)
def test_a_message_that_cannot_be_read_is_counted_and_its_neighbours_land(
    running, gateway, topic, content, reason
):
    before = running.consumer.reasons()
    gateway.born(metric("Level", value=0.0))
    gateway.data(metric("Level", value=1.0, timestamp=MEASURED_MS + 1))
    running.publish(topic.format(group=gateway.group, node=gateway.node), content)
    if reason == "device_data_before_birth":
        gateway.skip_seq()  # it had a seq, which counts
    gateway.data(metric("Level", value=2.0, timestamp=MEASURED_MS + 2))

    rows = running.table.wait_for(3, group_id=gateway.group)
    assert [row["numeric_value"] for row in rows] == [0.0, 1.0, 2.0]
    assert counted_since(running, before) == {reason: 1}


def test_the_state_of_another_host_is_neither_read_as_payload_nor_answered(running, gateway):
    before = running.consumer.reasons()
    topic = "spBv1.0/STATE/other"
    gateway.born(metric("Level", value=0.0))
    for content in (b'{"online":false,"timestamp":99999999999999}', b"OFFLINE", b"\xff", b"{"):
        running.publish(topic, content, retain=True)
    gateway.data(metric("Level", value=1.0, timestamp=MEASURED_MS + 1))

    running.table.wait_for(2, group_id=gateway.group)
    assert running.consumer.reasons()["host_state"] == before["host_state"] + 4
    assert counted_since(running, before) == {}
    assert len([each for each in running.client.arrivals if each.topic == topic]) == 4


def test_an_alias_that_nobody_declared_costs_nothing_but_itself_and_asks_for_one_rebirth(
    running, gateway
):
    before, before_ms = running.consumer.reasons(), now_ms()
    gateway.born(metric("Level", value=0.0, alias=0))
    for number in range(1, 51):
        gateway.data(
            metric(None, value=-1.0, alias=7, timestamp=MEASURED_MS + number),
            metric(None, value=float(number), alias=0, timestamp=MEASURED_MS + number),
        )

    rows = running.table.wait_for(51, group_id=gateway.group)
    assert [row["numeric_value"] for row in rows] == [float(number) for number in range(51)]
    assert {row["metric_name"] for row in rows} == {"Level"}
    assert counted_since(running, before) == {"unknown_alias": 50}

    topic = gateway.topic("NCMD")
    wait_until(lambda: any(each.topic == topic for each in running.client.arrivals), what="NCMD")
    # What is asked for is answered; the answer declares the alias.
    gateway.born(
        metric("Level", value=50.0, alias=0, timestamp=MEASURED_MS + 50),
        metric("Flow", value=5.0, alias=7, timestamp=MEASURED_MS + 50),
    )
    gateway.data(metric(None, value=6.0, alias=7, timestamp=MEASURED_MS + 60))
    # What it meant before, nobody knows: that is kept as dead letters.
    rows = running.table.wait_for(2, group_id=gateway.group, metric_name="Flow")
    found = [(row["numeric_value"], row["event_time"].timestamp() * 1000) for row in rows]
    assert found == [(5.0, MEASURED_MS + 50), (6.0, MEASURED_MS + 60)]
    dead = 'sparkplug_zerobus_dead_messages_total{reason="alias_of_unseen_birth"}'
    running.consumer.wait_for(lambda: running.consumer.metric(dead) == 50, "dead letters")

    commands = [each for each in running.client.arrivals if each.topic == topic]
    assert len(commands) == 1
    assert not commands[0].retained
    assert b"bdSeq" not in commands[0].payload
    command = peer.NCmd.decode(commands[0].payload)
    assert before_ms <= command.timestamp <= commands[0].received_at_us / 1000
    [rebirth] = command.metrics
    assert (rebirth.name, rebirth.datatype, rebirth.value, rebirth.alias) == (
        "Node Control/Rebirth",
        PeerType.BOOLEAN,
        True,
        None,
    )
    log = running.consumer.log()
    # Of many requests at once, such as those of the other tests, some are left out of the log.
    assert log.count(f"asked {gateway.group}/Edge for a rebirth: unknown alias") <= 1


def test_a_value_that_does_not_fit_its_datatype_lands_as_bad_and_its_neighbours_as_good(
    running, gateway
):
    before = running.consumer.reasons()
    gateway.born(
        metric("Count", PeerType.INT8, 1, alias=1),
        metric("Level", value=0.0, alias=2),
        metric("Name", PeerType.STRING, "a", alias=3),
    )
    running.publish(
        gateway.topic("NDATA"),
        payload(
            raw_metric(alias=1, int_value=300),
            raw_metric(alias=2, string_value="full"),
            raw_metric(alias=3, string_value="b"),
            seq=1,
        ),
    )
    rows = running.table.wait_for(3, group_id=gateway.group, message_type="NDATA")

    assert [
        (row["metric_name"], row["quality"], row["numeric_value"], row["string_value"])
        for row in rows
    ] == [
        ("Count", "BAD", None, "300"),
        ("Level", "BAD", None, "full"),
        ("Name", "GOOD", None, "b"),
    ]
    assert counted_since(running, before) == {"value_does_not_fit": 2}


def test_thousands_of_bad_messages_mixed_with_good_ones_cost_not_one_good_one(running):
    good, rounds = Gateway(running.publish_quickly, "Group mixed"), 3_000
    bad = itertools.cycle(
        [
            ("bad_payload", good.topic("NDATA"), b"\xff\xfe"),
            ("bad_payload", good.topic("DDATA", "Pump"), b"\x12\x02\x18"),
            ("json_payload", good.topic("NDATA"), b'{"seq": 1'),
            ("bad_topic", "spBv1.0/Group mixed", b""),
            ("unknown_verb", good.topic("DRECORD", "Pump"), b"x"),
            ("unknown_alias", None, b""),
        ]
    )
    before, expected = running.consumer.reasons(), Counter()
    good.born(metric("Level", value=0.0, alias=0))
    for number, (reason, topic, content) in zip(range(1, rounds + 1), bad, strict=False):
        metrics = [metric(None, value=float(number), alias=0, timestamp=MEASURED_MS + number)]
        if topic is None:
            metrics.append(metric(None, alias=9))
        else:
            running.publish_quickly(topic, content)
        expected[reason] += 1
        good.data(*metrics)

    rows = running.table.wait_for(rounds + 1, group_id=good.group)
    assert [row["numeric_value"] for row in rows] == [float(number) for number in range(rounds + 1)]
    wait_until(lambda: counted_since(running, before) == expected, what="the counts")
    for reason in expected:
        # One line per ten seconds, not one per message.
        assert 1 <= running.consumer.log().count(f"{reason}: ") < 10


def test_what_the_server_kept_from_the_past_is_no_news(tmp_path):
    with world(tmp_path) as system:
        past = Gateway(lambda *each: system.publish(*each, retain=True), "Plant")
        past.born(metric("Level", value=-1.0))
        past.data(metric("Level", value=-2.0))
        system.consumer.start_ready()
        present = Gateway(system.publish, "Plant")
        present.born(metric("Level", value=0.0))
        present.data(metric("Level", value=1.0, timestamp=MEASURED_MS + 1))

        rows = system.table.wait_for(2)
        assert [row["numeric_value"] for row in rows] == [0.0, 1.0]
        assert system.consumer.reasons()["retained"] == 2
