"""Back-pressure to the edge: the host is offline while rows cannot be stored."""

from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime

import pytest
from conformance.mqtt_packets import Disconnect, Puback, Publish, Unsubscribe
from conformance.observer import kept, state_of
from conformance.recording_proxy import recording_proxy
from support.mqtt_listener import listening
from support.services import PATIENCE, PROMPT, mosquitto, wait_until

from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget, Published
from end_to_end.consumer_process import configuration, consumer
from end_to_end.gated_world import (
    STATE,
    BulkyGateway,
    close_gate,
    gate,
    gated,
    gated_world,
    read_spool,
    states,
    wait_for_gate,
    wait_for_states,
)
from end_to_end.gateway import Gateway, metric, now_ms
from end_to_end.side_world import EVENTS, landed, side_world, told
from end_to_end.under_load import assert_nothing_lost
from end_to_end.world import world

_MANY = 20_000
"""Messages, more than can be read one at a time within some seconds."""


def offline(at_ms):
    return b'{"online":false,"timestamp":%d}' % at_ms


# nothing is lost


def test_edge_nodes_that_name_this_host_lose_nothing_while_the_sink_is_down(tmp_path):
    # Stored history comes at once: batches must be small beside the spool.
    batch = {"max_bytes": "256KiB"}
    settings = gated(gate={"min_closed": "500ms", "drain": "3s"}, batch=batch)
    with world(tmp_path, zerobus_process=True, **settings) as system:
        system.consumer.start_ready()
        # No rolling history: what an edge node has sent, it does not send again.
        fleet = Gateways(
            MqttTarget(system.server.url),
            2,
            4_000,
            options=EdgeNodeOptions(primary_host_id="historian"),
            ledger=Published(),
        )
        fleet.start()
        try:
            assert fleet.wait_online(PATIENCE)
            system.zerobus.kill()
            wait_until(lambda: fleet.online == 0, what="edge nodes that see the host offline")
            wait_for_gate(system.consumer, "closed")
            published, closed = fleet.published, datetime.now(UTC)
            wait_until(lambda: fleet.stored > 1_000, what="stored values")
            assert (fleet.published, fleet.online) == (published, 0)
            opens = datetime.now(UTC)
            system.zerobus.start()
            wait_for_gate(system.consumer, "open")
            assert_nothing_lost(system, fleet)
        finally:
            assert fleet.stop(PATIENCE)
        arrived = system.table.values("ingestion_timestamp")
        assert not [each for each in arrived if closed < each < opens]
        history = system.table.values("event_id", is_historical=True)
        assert len(history) > 1_000
        # Each observation of the history landed once: what was sent before was not again.
        assert len(set(history)) == len(history)
        assert system.consumer.status()["rows_dropped"] == 0
        assert gate(system.consumer)["closings"]["spool"] >= 1
        assert system.consumer.stop() == 0


def test_an_edge_node_that_names_another_host_loses_data_and_that_is_seen(tmp_path):
    with side_world(tmp_path, **gated()) as system:
        system.consumer.start_ready()
        other = Gateway(system.publish, "Other")
        other.born(metric("Level", value=0.0))
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        for value in (1.0, 2.0, 3.0):
            other.data(metric("Level", value=value))
        system.zerobus.faults.clear()
        wait_for_gate(system.consumer, "open")
        system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready again")
        other.data(metric("Level", value=4.0))
        # Its seq does not go on: it is asked for its births.
        system.client.wait_for("NCMD")
        other.born(metric("Level", value=4.0))
        values = {row["numeric_value"] for row in system.table.wait_for(2, group_id="Other")}
        assert values == {0.0, 4.0}
        assert system.consumer.reasons()["data_before_birth"] == 1

        events = landed(tmp_path, EVENTS)
        closed, opened = events.wait_for(2, event_type="gate")
        assert told([closed, opened], "reason", "server", "group_id") == [
            ("spool", "plant-a", None),
            ("opened", "plant-a", None),
        ]
        assert closed["event_time"] < opened["event_time"]
        [request] = events.wait_for(1, event_type="rebirth_request")
        assert told([request], "group_id", "reason") == [("Other", "data_before_birth")]


# what is on the wire


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_the_host_says_offline_reads_on_and_leaves_without_a_will(tmp_path, protocol):
    with mosquitto(tmp_path) as server, recording_proxy(server.port) as proxy:
        servers = {"url": proxy.url, "protocol": protocol}
        settings = gated(servers=servers, gate={"drain": "500ms"})
        with world(tmp_path, server=server, **settings) as system:
            system.consumer.start_ready()
            gateway = BulkyGateway(system)
            gateway.start()
            before_ms = now_ms()
            close_gate(system, gateway)
            [first] = proxy.connections
            wait_until(lambda: first.ended, what="the end of the connection")

            recorded = first.recorded
            said = [
                (index, each)
                for index, each in enumerate(recorded)
                if each.from_client and isinstance(each.packet, Publish)
            ]
            # The birth and the farewell: its own offline STATE came back and was not answered.
            assert [state_of(each.packet.payload)["online"] for _, each in said] == [True, False]
            start, farewell = said[-1]
            assert before_ms <= state_of(farewell.packet.payload)["timestamp"] <= farewell.at_ms
            after = recorded[start:]
            echo = [
                each
                for each in after
                if not each.from_client
                and isinstance(each.packet, Publish)
                and each.packet.payload == farewell.packet.payload
            ]
            assert echo
            acked = next(
                each
                for each in after
                if isinstance(each.packet, Puback)
                and not each.from_client
                and each.packet.packet_id == farewell.packet.packet_id
            )
            left = [
                each
                for each in after
                if each.from_client and isinstance(each.packet, (Unsubscribe, Disconnect))
            ]
            assert [type(each.packet) for each in left] == [Unsubscribe, Disconnect]
            assert left[0].at - acked.at >= 0.5
            assert first.sent[-1] is left[1]
            assert left[1].packet.reason == 0

            system.zerobus.faults.clear()
            wait_for_gate(system.consumer, "open")
            born, gone, again = wait_for_states(system, True, False, True)
            assert first.connect.will.payload == offline(born)
            assert again > gone > born
            assert proxy.connections[1].connect.will.payload == offline(again)
            assert proxy.connections[1].connect.client_id == first.connect.client_id


def test_while_messages_come_without_a_pause_reading_goes_on(tmp_path):
    # One at a time: the server holds much of what was published before the gate closed.
    settings = {"broker": "max_inflight_messages 1", "gate": {"drain": "500ms", "min_closed": "1h"}}
    with gated_world(tmp_path, **settings) as system:
        gateway = BulkyGateway(system)
        gateway.start()
        late = Gateway(lambda *each: system.client.client.publish(*each, qos=1), "Late")
        system.zerobus.faults.delay_commits(float("inf"))
        gateway.send()
        late.born(metric("Level", value=0.0))
        for number in range(1, _MANY):
            late.data(metric("Level", value=float(number)))
        wait_for_gate(system.consumer, "closed")
        gone_ms = state_of(kept(system.server.port, STATE).payload)["timestamp"]
        system.zerobus.faults.clear()
        system.consumer.wait_delivered()
        rows = system.table.rows(group_id="Late")
        assert [row["numeric_value"] for row in rows] == list(map(float, range(len(rows))))
        went_on = rows[-1]["ingestion_timestamp"].timestamp() - gone_ms / 1000
        assert went_on > 1.0
        # It has an end, though, in the midst of it.
        assert len(rows) < _MANY


def test_what_is_sent_before_edge_nodes_know_still_lands(tmp_path):
    with gated_world(tmp_path, gate={"drain": "60s"}) as system:
        gateway = BulkyGateway(system)
        gateway.start()
        system.zerobus.faults.delay_commits(float("inf"))
        gateway.send()
        wait_for_states(system, True, False)
        late = Gateway(system.publish, "Late")
        late.born(metric("Level", value=7.0))
        system.consumer.wait_for(lambda: system.consumer.status()["spooled_rows"] == 6, "7.0")
        assert gate(system.consumer)["state"] == "closing"
        # A stop does not wait for the end of the drain, nor for anything else.
        system.zerobus.faults.clear()
        assert system.consumer.stop(timeout=PROMPT) == 0
        [row] = system.table.wait_for(1, group_id="Late")
        assert row["numeric_value"] == 7.0
        wait_for_states(system, True, False)


# timestamps


def test_after_the_clock_was_set_back_the_host_still_comes_back_later_than_ever(tmp_path):
    with gated_world(tmp_path) as system:
        # As if it had said so itself, before its clock was set back by an hour.
        [born] = wait_for_states(system, True)
        hour = born + 3_600_000
        system.publish(STATE, offline(hour), retain=True)
        wait_until(lambda: states(system)[-1] == (True, hour + 1), what="a newer STATE")
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        wait_until(lambda: states(system)[-1] == (False, hour + 1), what="offline")
        system.zerobus.faults.clear()
        wait_for_gate(system.consumer, "open")
        wait_until(lambda: states(system)[-1] == (True, hour + 2), what="online")

        # What it only heard of, from another one, is remembered over a crash as well.
        system.publish(STATE, offline(hour + 1_000))
        wait_until(lambda: states(system)[-1] == (True, hour + 2), what="the answer")
        remembered = "SELECT value FROM state WHERE key = 'state_timestamp/plant-a'"
        wait_until(
            lambda: read_spool(tmp_path, remembered) == [(hour + 1_000,)], what="its timestamp"
        )
        system.consumer.kill()
        wait_until(lambda: states(system)[-1] == (False, hour + 2), what="the will")
        system.publish(STATE, b"", retain=True)
        before = len(states(system))
        system.consumer.start_ready()
        wait_until(lambda: len(states(system)) > before, what="the next STATE")
        assert states(system)[-1] == (True, hour + 1_001)


def test_who_announces_itself_while_the_gate_is_closed_is_outdone_when_it_opens(tmp_path):
    with gated_world(tmp_path) as system:
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        later = now_ms() + 3_600_000
        system.publish(STATE, offline(later), retain=True)
        system.zerobus.faults.clear()
        wait_until(lambda: states(system)[-1] == (True, later + 1), what="a newer STATE")


# how long


def test_a_sink_that_comes_back_at_once_does_not_open_the_gate_before_its_time(tmp_path):
    with gated_world(tmp_path, gate={"min_closed": "1500ms", "drain": "0s"}) as system:
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        system.zerobus.faults.clear()
        system.consumer.wait_for(lambda: system.consumer.status()["spooled_rows"] == 0, "room")
        state, seen_ms = gate(system.consumer)["state"], now_ms()
        _, gone, again = wait_for_states(system, True, False, True)
        assert again - gone >= 1_500
        # Unless we looked so late that its time was over.
        assert state == "closed" or seen_ms - gone >= 1_500
        found = wait_for_gate(system.consumer, "open")
        assert (found["reason"], found["why"], found["opens"]) == ("", "", "")
        assert found["closed_seconds"] >= 1.5
        assert found["closings"]["spool"] == 1


def test_without_acknowledgements_the_gate_closes_though_there_is_room(tmp_path):
    spool = {"high_watermark": 0.9, "low_watermark": 0.8}
    with gated_world(tmp_path, gate={"ack_timeout": "300ms"}, spool=spool) as system:
        # From the first row on: on a busy machine others may be acknowledged as late as that.
        system.zerobus.faults.delay_commits(float("inf"))
        Gateway(system.publish, "Plant").born(metric("Level"))
        found = wait_for_gate(system.consumer, "closed")
        assert found["reason"] == "no_acknowledgement"
        assert "while 1 rows wait" in found["why"]
        system.zerobus.faults.clear()
        wait_for_gate(system.consumer, "open")
        wait_for_states(system, True, False, True)


# what is seen


def test_a_closed_gate_is_not_ready_but_alive_and_says_why(tmp_path):
    with gated_world(tmp_path) as system:
        process = system.consumer
        assert process.metric("sparkplug_zerobus_gate_closed") == 0
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        assert process.get("/healthz").status_code == 200
        answer = process.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["gate"].startswith("closed: the spool ")
        assert answer.json()["not_connected"] == ["plant-a"]
        assert process.metric("sparkplug_zerobus_gate_closed") == 1
        assert process.metric('sparkplug_zerobus_gate_closings_total{reason="spool"}') == 1
        assert process.metric('sparkplug_zerobus_gate_closings_total{reason="disk"}') == 0
        assert process.metric("sparkplug_zerobus_gate_closed_seconds_total") > 0
        system.zerobus.faults.clear()
        wait_for_gate(process, "open")
        process.wait_for(lambda: process.answers("/readyz"), "ready again")
        assert process.metric("sparkplug_zerobus_gate_closed") == 0
        warned, closes, closed, opens = (
            line for line in process.log().splitlines() if " the gate " in line
        )
        assert "configuration: host.gate_on_sink: the spool has 6MiB" in warned
        assert "the gate closes: the spool " in closes
        assert "It opens when the spool is less than 10% full" in closes
        assert "the gate is closed: nothing is connected" in closed
        assert "the gate opens after" in opens
        assert "connection to plant-a ended" not in process.log()


def test_a_full_spool_begins_with_a_closed_gate_and_a_stop_does_not_wait_for_it(tmp_path):
    with gated_world(tmp_path, gate={"min_closed": "1h"}, shutdown_timeout="100ms") as system:
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        assert system.consumer.stop(timeout=PROMPT) == 0
        told_before = wait_for_states(system, True, False)

        system.consumer.start()
        system.consumer.wait_for_log("the gate is closed from the start: the spool is")
        assert gate(system.consumer)["state"] == "closed"
        assert system.consumer.get("/readyz").status_code == 503
        # Room alone does not open it, its time is not over: nothing was ever connected.
        system.zerobus.faults.clear()
        system.consumer.wait_for(lambda: system.consumer.status()["spooled_rows"] == 0, "room")
        assert system.consumer.status()["servers"][0]["connections"] == 0
        assert wait_for_states(system, True, False) == told_before
        assert system.consumer.stop(timeout=PROMPT) == 0


def test_a_full_spool_connects_once_there_is_room(tmp_path):
    with gated_world(tmp_path) as system:
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        system.consumer.kill()
        system.consumer.start()
        wait_for_gate(system.consumer, "closed")
        system.zerobus.faults.clear()
        wait_for_gate(system.consumer, "open")
        system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready")
        wait_for_states(system, True, False, True)


def test_all_servers_are_left_and_come_back_together(tmp_path):
    with contextlib.ExitStack() as stack:
        system = stack.enter_context(world(tmp_path))
        two = stack.enter_context(mosquitto(tmp_path))
        at_two = stack.enter_context(listening(two))
        servers = [
            {"name": "one", "url": system.server.url},
            {"name": "two", "url": two.url},
            {"name": "nowhere", "url": "mqtt://127.0.0.1:9"},
        ]
        config = configuration(tmp_path / "own", "", system.zerobus, **gated(servers=servers))
        process = stack.enter_context(consumer(tmp_path / "own", config))
        process.start()
        system.consumer = process

        def connected():
            return [each["connected"] for each in process.status()["servers"]]

        process.wait_for(lambda: connected() == [True, True, False], "both servers")
        gateway = BulkyGateway(system)
        gateway.start()
        close_gate(system, gateway)
        assert connected() == [False, False, False]
        assert [each["connections"] for each in process.status()["servers"]] == [1, 1, 0]
        system.zerobus.faults.clear()
        process.wait_for(lambda: connected() == [True, True, False], "both servers again")
        wait_for_states(system, True, False, True)
        wait_until(lambda: len(two_states(at_two)) == 3, what="the same at the other")
        assert [online for online, _ in two_states(at_two)] == [True, False, True]


def two_states(client):
    found = [state_of(each.payload) for each in client.arrivals if each.topic == STATE]
    told_once = [(each["online"], each["timestamp"]) for each in found]
    return [state for state, _ in itertools.groupby(told_once)]
