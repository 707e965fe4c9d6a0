"""`tail` beside a running consumer: it changes nothing for anybody."""

from __future__ import annotations

import json
import re
import signal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from support.services import PATIENCE, wait_until
from support.tailing import tailing

from end_to_end.gateway import Gateway, metric
from end_to_end.world import world

GROUP = "Beside"


def everything(server):
    """A client that keeps every topic on which something is published."""
    topics = []
    ready = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _c, _u, message: topics.append(message.topic)
    client.on_subscribe = lambda *_: ready.append(1)
    client.connect("127.0.0.1", server.port)
    client.subscribe("#")
    client.loop_start()
    wait_until(lambda: ready, what="SUBACK")
    return client, topics


def test_beside_a_consumer_it_shows_the_same_rows_and_publishes_nothing(tmp_path):
    # Of a shared subscription each message goes to one: it must not be taken from the consumer.
    shared = {"topics": ["$share/plant/spBv1.0/#"], "client_id": "the-consumer"}
    with world(tmp_path, broker="log_type all", servers=shared) as system:
        system.consumer.start_ready()
        wait_until(lambda: any("/STATE/" in each.topic for each in system.client.arrivals))
        client, topics = everything(system.server)
        begun = len(topics)  # what is retained
        config = system.consumer.config_file
        with tailing(config, "--rows", GROUP) as rows, tailing(config, "--messages") as messages:
            gateway = Gateway(system.publish, GROUP)
            gateway.data(metric("Ramp", value=0.5))
            messages.wait_for_text("NCMD")  # nobody but the consumer asks for its birth
            gateway.born(metric("Ramp", value=1.0))
            for number in range(20):
                gateway.data(
                    metric("Ramp", value=float(number), timestamp=1_795_443_215_000 + number)
                )
            landed = system.table.wait_for(22, group_id=GROUP)
            rows.wait_lines(22)
            shown = [json.loads(line) for line in rows.lines]
            wait_until(lambda: len(topics) - begun >= 23, PATIENCE, "what was published")
            assert (rows.end(signal.SIGINT), messages.end(signal.SIGINT)) == (130, 130)
        client.disconnect()
        client.loop_stop()
        status = system.consumer.status()
        log = system.server.log()
    assert sorted(row["event_id"] for row in shown) == sorted(row["event_id"] for row in landed)
    assert status["servers"][0]["connections"] == 1
    # The births and data of the gateway, and one request of the consumer, which alone asks.
    published = [topic for topic in topics[begun:] if topic.startswith("spBv1.0/")]
    assert published.count(f"spBv1.0/{GROUP}/NCMD/Edge") == 1
    assert len(published) == 23
    tails = set(re.findall(r"as (the-consumer-tail-[0-9a-f]{8}) ", log))
    assert len(tails) == 2
    assert not [each for each in tails if f"Received PUBLISH from {each}" in log]
    assert [line for line in log.splitlines() if "$share" in line and "-tail-" in line] == []
