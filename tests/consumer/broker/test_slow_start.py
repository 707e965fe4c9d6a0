"""More comes than can be read, from a real server: who floods loses, and it is told who that is."""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict

from end_to_end.gateway import Gateway, metric
from support.mqtt_listener import listening
from support.peer import PeerType
from support.services import mosquitto, wait_until
from support.unconnected import configuration

from consumer.monitor import status_of
from consumer.pb.tag_event_pb2 import TagEvent
from consumer.pipeline import make_consumer
from consumer.pipeline.composition import open_spool

QUIET = ("Quiet 1", "Quiet 2", "Quiet 3")
FLOOD = 1_500
ROOM = 1 << 20


def of_server(directory, url):
    return configuration(
        directory,
        servers=[{"name": "plant", "url": url}],
        limits={"queue_bytes": ROOM, "max_payload": 1 << 16},
        host={"mode": "passive"},
        shutdown_timeout="1ms",
    )


def values_in(configured):
    """Values of Level in the spool, by edge node, in their order."""
    found = defaultdict(list)
    with contextlib.closing(open_spool(configured)) as spool:
        for batch in spool.batches_after(0, 1 << 30, table="main.ot.tag_events"):
            for row in batch.rows.slice(0, len(batch.rows)):
                event = TagEvent.FromString(row)
                if event.HasField("numeric_value"):
                    found[event.edge_node_id].append(event.numeric_value)
    return found


def flood(server):
    """Births of all, and data of which one node's alone is more than fits; how many in all."""
    with listening(server) as listener:
        sent = []

        def publish(topic, payload):
            sent.append(listener.client.publish(topic, payload, 1))

        loud, *quiet = nodes = [Gateway(publish, "Plant", node) for node in ("Loud", *QUIET)]
        text = metric("Text", PeerType.STRING, "x" * 1_000)
        for each in nodes:
            each.born(metric("Level"), text)
        for number in range(FLOOD):
            loud.data(metric("Level", value=float(number)), text)
            if number % 30 == 0:
                for each in quiet:
                    each.data(metric("Level", value=float(number)))
        wait_until(lambda: all(each.is_published() for each in sent), what="all with the server")
    return len(sent)


def test_quiet_nodes_lose_nothing_while_one_floods_a_consumer_that_starts_slowly(tmp_path, caplog):
    # The server sends what is of QoS 1 as fast as it comes, and keeps nothing back.
    unbound = "max_queued_messages 0\nmax_inflight_messages 0"
    with caplog.at_level(logging.WARNING), mosquitto(tmp_path, unbound) as server:
        configured = of_server(tmp_path, server.url)
        consumer = make_consumer(configured)
        (connection,) = consumer.connections
        try:
            connection.start()
            wait_until(connection.connected.is_set, what="a connection")
            count = flood(server)
            wait_until(lambda: connection._received == count, what="all messages")
            assert consumer.intake.queued_bytes <= ROOM
            queue = status_of(consumer)["queue"]
            consumer.decoding.thread.start()
        finally:
            consumer.stop()
    refused = queue["messages_refused"]
    assert FLOOD / 4 < refused < FLOOD
    assert queue["most_refused"] == [
        {"messages": refused, "server": "plant", "group_id": "Plant", "edge_node_id": "Loud"}
    ]
    assert "from plant, for example on Plant/Loud" in caplog.text

    balance = consumer.balance()
    assert balance.balanced, balance.lines()
    messages = balance.messages["plant"]
    assert messages.received == count
    assert messages.discarded == {"queue_full": refused}
    # What is missing of the one that flooded shows in its seq, if anything came behind it.
    assert messages.decoded + messages.held == count - refused

    values = values_in(configured)
    for node in QUIET:
        assert values[node] == [1.0, *map(float, range(0, FLOOD, 30))]
    loud = values["Loud"]
    assert loud == [1.0, *map(float, range(len(loud) - 1))]
