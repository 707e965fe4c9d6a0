"""The STATE of the host application, as an MQTT client and the server's log see it."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import sys
from typing import Final

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.mqtt_listener import listening
from support.services import PATIENCE, PROMPT, mosquitto, wait_until

from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget
from end_to_end.consumer_process import configuration, consumer
from end_to_end.gateway import Gateway, metric, now_ms
from end_to_end.rude_server import rude_server
from end_to_end.world import LandedTable, local_zerobus, world

STATE = "spBv1.0/STATE/historian"
EVERYTHING = "log_type all\nconnection_messages true"


def states(client):
    """(online, timestamp) of every STATE message of the host, in order.

    Repetitions count once: a host's two subscriptions overlap, so it is told twice.
    """
    result = []
    for each in client.arrivals:
        if each.topic == STATE:
            content = json.loads(each.payload)
            assert content.keys() == {"online", "timestamp"}
            assert isinstance(content["online"], bool)
            assert isinstance(content["timestamp"], int)
            result.append((content["online"], content["timestamp"]))
    return [state for state, _ in itertools.groupby(result)]


def wait_for_states(client, *expected):
    """Wait until STATE messages with these values of `online` arrived, and no others."""
    wait_until(lambda: len(states(client)) >= len(expected), what=f"STATE {expected}")
    found = states(client)
    assert [online for online, _ in found] == list(expected), found
    return [timestamp for _, timestamp in found]


def kept_state(server):
    """The STATE that a new client is told."""
    kept = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda each, *_: each.subscribe(STATE, qos=1)
    client.on_message = lambda _client, _userdata, message: kept.append(message)
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    wait_until(lambda: kept, what="a retained STATE")
    client.disconnect()
    client.loop_stop()
    [message] = kept
    assert (message.retain, message.qos) == (True, 1)
    return json.loads(message.payload)


def packets_of_the_consumer(server):
    """What the server received from it, in order."""
    [name] = set(re.findall(r" as (sparkplug-zerobus-\w+) ", server.log()))
    return re.findall(rf"Received (\w+) from {name}\b(?: \((.*)\))?", server.log())


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_birth_comes_after_the_subscriptions_and_a_clean_stop_is_the_last_word(tmp_path, protocol):
    with world(tmp_path, broker=EVERYTHING, servers={"protocol": protocol}) as system:
        before_ms = now_ms()
        system.consumer.start_ready()
        [born_ms] = wait_for_states(system.client, True)
        assert before_ms <= born_ms <= now_ms()
        assert kept_state(system.server) == {"online": True, "timestamp": born_ms}

        stopped_ms = now_ms()
        assert system.consumer.stop() == 0
        ended_ms = now_ms()
        first_ms, last_ms = wait_for_states(system.client, True, False)
        assert first_ms == born_ms
        assert stopped_ms <= last_ms <= ended_ms
        assert kept_state(system.server) == {"online": False, "timestamp": last_ms}

        # `CONNECT` itself is logged before the server knows the client's name.
        packets = packets_of_the_consumer(system.server)
        assert [kind for kind, _ in packets if kind not in ("PUBACK", "PINGREQ")] == [
            "SUBSCRIBE",
            "PUBLISH",
            "PUBLISH",
            "UNSUBSCRIBE",
            "DISCONNECT",
        ]
        publishes = [text for kind, text in packets if kind == "PUBLISH"]
        assert all("q1, r1, m" in text and STATE in text for text in publishes)
        will = re.findall(
            rf"Will message specified \((\d+) bytes\) \(r1, q1\)\.\s.*?{STATE}",
            system.server.log(),
            re.DOTALL,
        )
        assert will == [
            str(len(json.dumps({"online": False, "timestamp": born_ms}, separators=(",", ":"))))
        ]
        assert system.server.log().index("Sending SUBACK to sparkplug") < system.server.log().index(
            "Received PUBLISH from sparkplug"
        )
        # Nothing follows, not even after the server has seen the end of the connection.
        wait_until(lambda: "disconnected" in system.server.log(), what="the end")
        wait_for_states(system.client, True, False)


def test_a_crash_leaves_the_will_with_the_timestamp_of_the_birth_and_the_next_run_a_newer_one(
    tmp_path,
):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        system.consumer.kill()
        first, will = wait_for_states(system.client, True, False)
        assert will == first
        system.consumer.start_ready()
        *_, second = wait_for_states(system.client, True, False, True)
        assert second > first


SOON: Final = 2.0
HURRIED = f"from sparkplug.host import host_state; host_state.ANSWER_PAUSE = {SOON}; "


def test_a_false_offline_is_answered_with_the_same_birth_and_after_a_pause_again(tmp_path):
    # Its own STATE reaches the host although what it reads does not include it.
    with world(tmp_path, servers={"topics": ["spBv1.0/Plant/#"]}) as system:
        system.consumer.program = [
            sys.executable,
            "-c",
            f"{HURRIED}from consumer.cli import main; main()",
        ]
        system.consumer.start_ready()
        [born_ms] = wait_for_states(system.client, True)
        false = json.dumps({"online": False, "timestamp": born_ms}).encode()
        system.publish(STATE, false, retain=True)
        wait_for_states(system.client, True, False, True)
        answered_us = system.client.arrivals[-1].received_at_us
        system.publish(STATE, false, retain=True)
        found = wait_for_states(system.client, True, False, True, False, True)
        # Half of it is left to a machine that was slow with the first answer.
        assert system.client.arrivals[-1].received_at_us - answered_us >= SOON / 2 * 1_000_000
        assert system.consumer.status()["servers"][0]["state_answers"] == 2
        counted = 'sparkplug_zerobus_state_answers_total{server="plant-a"}'
        assert system.consumer.metric(counted) == 2
        assert set(found) == {born_ms}
        assert kept_state(system.server) == {"online": True, "timestamp": born_ms}
        assert system.consumer.status()["servers"][0]["connections"] == 1
        assert system.consumer.stop() == 0
        wait_for_states(system.client, True, False, True, False, True, False)


def test_a_false_offline_that_is_newer_makes_the_host_announce_itself_anew(tmp_path):
    # Edge nodes ignore what is older than the last STATE they know: they would wait for ever.
    with world(tmp_path) as system:
        system.consumer.start_ready()
        [born_ms] = wait_for_states(system.client, True)
        fleet = Gateways(
            MqttTarget(system.server.url),
            1,
            50,
            options=EdgeNodeOptions(primary_host_id="historian"),
        )
        fleet.start()
        try:
            assert fleet.wait_online(PATIENCE)
            later = born_ms + 60_000
            system.publish(STATE, b'{"online":false,"timestamp":%d}' % later, retain=True)
            # It leaves to come back with a newer timestamp, and who leaves says so.
            found = wait_for_states(system.client, True, False, True, False, True)
            assert found == [born_ms, later, born_ms, later, later + 1]
            wait_until(lambda: fleet.connections == 2, what="the edge node's second connection")
            assert fleet.wait_online(PATIENCE)
            assert system.consumer.status()["servers"][0]["connections"] == 2
            assert "a new connection announces this host anew" in system.consumer.log()

            # Two hosts that share an id must not outdo each other without end.
            system.publish(STATE, b'{"online":false,"timestamp":%d}' % (later + 60_000))
            wait_for_states(system.client, True, False, True, False, True, False, True)
        finally:
            assert fleet.stop(PATIENCE)
        assert system.consumer.stop() == 0
        assert system.consumer.log().count("connected to plant-a") == 2


def test_a_passive_host_publishes_nothing_whatever_happens(tmp_path):
    with world(tmp_path, broker=EVERYTHING, host={"mode": "passive"}) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        gateway.data(metric("Level", value=-1.0))
        gateway.born(metric("Level", value=0.0))
        gateway.data(metric(None, alias=77))
        system.publish(gateway.topic("NDATA"), b"\xff")
        system.publish(STATE, b'{"online":false,"timestamp":1}')
        system.table.wait_for(1)
        system.consumer.wait_for(
            lambda: len(system.consumer.reasons()) >= 4, "four reasons to ask for a rebirth"
        )
        assert system.consumer.stop() == 0
        packets = packets_of_the_consumer(system.server)
        system.consumer.start_ready()
        system.consumer.kill()
        wait_until(lambda: "closed its connection" in system.server.log(), what="the end")

        assert {kind for kind, _ in packets} <= {"SUBSCRIBE", "PUBACK", "UNSUBSCRIBE", "DISCONNECT"}
        assert "Received PUBLISH from sparkplug-zerobus" not in system.server.log()
        assert "Will message specified" not in system.server.log()
        assert [each.topic for each in system.client.arrivals if "NCMD" in each.topic] == []
        assert [each.payload for each in system.client.arrivals if each.topic == STATE] == [
            b'{"online":false,"timestamp":1}'
        ]


def test_every_server_has_a_state_of_its_own_and_data_of_both_lands(tmp_path):
    with (
        mosquitto(tmp_path) as one,
        mosquitto(tmp_path) as two,
        local_zerobus(tmp_path / "lake") as zerobus,
        listening(one) as at_one,
        listening(two) as at_two,
    ):
        servers = [
            {"name": name, "url": each.url, "source_system_id": "{server}:{group_id}"}
            for name, each in (("one", one), ("two", two))
        ]
        config = configuration(tmp_path, one.url, zerobus, servers=servers)
        with consumer(tmp_path, config) as process:
            process.start_ready()
            [at_one_ms] = wait_for_states(at_one, True)
            [at_two_ms] = wait_for_states(at_two, True)
            table = LandedTable(tmp_path / "lake")
            for client, group in ((at_one, "Plant 1"), (at_two, "Plant 2")):
                Gateway(client.publish, group).born(metric("Level"))
            assert {row["source_system_id"] for row in table.wait_for(2)} == {
                "one:Plant 1",
                "two:Plant 2",
            }

            two.kill()
            process.wait_for(lambda: not process.answers("/readyz"), "the loss")
            # One is not disturbed by what happens at two.
            Gateway(at_one.publish, "Plant 3").born(metric("Level"))
            table.wait_for(1, group_id="Plant 3")
            two.restart()
            process.wait_for(lambda: process.answers("/readyz"), "ready again")
            wait_until(lambda: at_two.subscriptions == 2, what="the listener at two")
            again = kept_state(two)
            assert again["online"]
            assert again["timestamp"] > max(at_one_ms, at_two_ms)
            assert kept_state(one) == {"online": True, "timestamp": at_one_ms}
            assert [each["connections"] for each in process.status()["servers"]] == [1, 2]
            assert process.stop() == 0
        assert kept_state(one)["online"] is False
        assert kept_state(two)["online"] is False
        assert [online for online, _ in states(at_one)] == [True, False]


GARBAGE = {
    "a-packet-of-an-unknown-kind": bytes.fromhex("00 00"),
    "a-topic-longer-than-its-packet": bytes.fromhex("30 03 ff ff 61"),
    "properties-longer-than-their-packet": bytes.fromhex("30 05 00 01 61 7f 01"),
    "a-property-that-does-not-exist": bytes.fromhex("30 07 00 01 61 02 7e 00 00"),
    "an-acknowledgement-without-content": bytes.fromhex("40 00"),
    "a-second-SUBACK-with-an-unknown-reason": bytes.fromhex("90 04 00 09 00 7e"),
    "a-length-without-end": bytes.fromhex("30 ff ff ff ff ff ff"),
}


def test_servers_that_send_garbage_are_left_and_tried_again_and_the_others_go_on(tmp_path):
    with contextlib.ExitStack() as stack:
        rude = {
            name: stack.enter_context(rude_server(content)) for name, content in GARBAGE.items()
        }
        # Not UTF-8, but a packet for all that: no reason to leave.
        polite = stack.enter_context(rude_server(bytes.fromhex("30 04 00 01 ff 00")))
        system = stack.enter_context(world(tmp_path))
        servers = [{"name": "plant-a", "url": system.server.url}] + [
            {"name": name, "url": f"mqtt://127.0.0.1:{each.server_address[1]}"}
            for name, each in {**rude, "polite": polite}.items()
        ]
        config = configuration(tmp_path / "own", "", system.zerobus, servers=servers)
        process = stack.enter_context(consumer(tmp_path / "own", config))
        process.start()
        process.wait_for(
            lambda: all(each.greeted >= 2 for each in rude.values()), "second attempts everywhere"
        )
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.table.wait_for(1)
        assert process.get("/healthz").status_code == 200
        assert process.status()["servers"][0]["connections"] == 1
        assert process.reasons()["bad_topic"] == 1
        assert process.stop() == 0
        assert "Traceback" not in process.log()
        assert polite.greeted == 1
        for name in rude:
            assert f"connection to {name} ended: " in process.log()


PATIENT = "from consumer.broker import connection; connection._HANDSHAKE_TIMEOUT = 600.0; "


def test_a_stop_in_the_middle_of_a_handshake_does_not_wait_for_its_end(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        local_zerobus(tmp_path / "lake") as zerobus,
    ):
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        with consumer(tmp_path, configuration(tmp_path, url, zerobus)) as process:
            process.program = [
                sys.executable,
                "-c",
                f"{PATIENT}from consumer.cli import main; main()",
            ]
            process.start()
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(1) == b"\x10"  # CONNECT
                process.wait_for_log("stream to main.plant.tag_events opened")
                assert process.stop(timeout=PROMPT) == 0
                assert "was not left in time" not in process.log()
