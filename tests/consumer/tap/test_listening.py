"""Listening beside a consumer: everything is heard, nothing is published, nobody gets less."""

import re
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from support.check_cases import PROTOCOLS, mapping
from support.mqtt_listener import listening as subscribed
from support.services import PATIENCE, free_port, mosquitto, password_line, wait_until

from consumer.config import parse
from consumer.errors import BrokerError, ConfigurationError
from consumer.tap.listening import listen

TOPIC = "spBv1.0/G/NDATA/Edge 1"


def configuration(tmp_path, *servers):
    """A configuration with these servers, called a, b, ..."""
    made = mapping(tmp_path)
    made["servers"] = [{"name": "abc"[n]} | server for n, server in enumerate(servers)]
    return parse(made)


@pytest.fixture
def server(tmp_path):
    with mosquitto(tmp_path, "log_type all") as started:
        yield started


def connected_client(server):
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    return client


@pytest.fixture
def publish(server):
    client = connected_client(server)

    def say(topic, content=b"x", *, retain=False):
        published = client.publish(topic, content, 1, retain)
        published.wait_for_publish(PATIENCE)
        assert published.is_published()

    yield say
    client.disconnect()
    client.loop_stop()


def taken(heard, count):
    """The batches until so many messages came."""
    batches = []
    for batch in heard.batches(PATIENCE):
        batches.append(batch)
        if sum(len(each.messages) for each in batches) >= count:
            return batches
    raise AssertionError(f"not {count} messages: {batches}")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_comes_is_heard_in_order_with_server_and_time(tmp_path, server, publish, protocol):
    publish("spBv1.0/G/NDATA/kept", b"k", retain=True)
    begun_us = time.time_ns() // 1000
    with listen(configuration(tmp_path, {"url": server.url, "protocol": protocol})) as heard:
        kept = taken(heard, 1)
        for number in range(3):
            publish(TOPIC, str(number).encode())
        batches = taken(heard, 3)
    assert {batch.server for batch in [*kept, *batches]} == {"a"}
    assert [m.retained for batch in kept for m in batch.messages] == [True]
    messages = [message for batch in batches for message in batch.messages]
    assert [(m.topic, m.payload, m.retained) for m in messages] == [
        (TOPIC, b"0", False),
        (TOPIC, b"1", False),
        (TOPIC, b"2", False),
    ]
    assert all(begun_us <= m.received_us <= time.time_ns() // 1000 for m in messages)
    assert heard.lost == {}


def test_it_has_a_client_id_of_its_own_and_no_will_and_publishes_nothing(tmp_path, server, publish):
    own = {"url": server.url, "client_id": "the-consumer"}
    with subscribed(server) as others, listen(configuration(tmp_path, own)) as heard:
        publish(TOPIC)
        taken(heard, 1)
        others.wait_for("NDATA")
    assert [each.topic for each in others.arrivals] == [TOPIC]
    ids = re.findall(r"as (the-consumer\S*) \(p\d, c(\d)", server.log())
    assert [(re.sub(r"[0-9a-f]{8}$", "", name), clean) for name, clean in ids] == [
        ("the-consumer-tail-", "1")
    ]
    assert f"Received PUBLISH from {ids[0][0]}" not in server.log()
    assert "No will message specified" in server.log()


def test_nothing_is_taken_from_consumers_that_share_a_subscription(tmp_path, server, publish):
    heard_by_consumer = []
    consumer = mqtt.Client(CallbackAPIVersion.VERSION2)
    consumer.on_message = lambda _c, _u, message: heard_by_consumer.append(message.payload)
    subscribed_to = []
    consumer.on_subscribe = lambda *_: subscribed_to.append(1)
    consumer.connect("127.0.0.1", server.port)
    consumer.subscribe("$share/group/spBv1.0/#")
    consumer.loop_start()
    wait_until(lambda: subscribed_to, what="SUBACK")
    shared = {"url": server.url, "topics": ["$share/group/spBv1.0/#"]}
    with listen(configuration(tmp_path, shared)) as heard:
        for number in range(10):
            publish(TOPIC, str(number).encode())
        messages = [m for batch in taken(heard, 10) for m in batch.messages]
        wait_until(lambda: len(heard_by_consumer) == 10, what="all of it at the consumer")
    consumer.disconnect()
    consumer.loop_stop()
    assert len(messages) == 10


def test_what_is_not_taken_in_time_is_let_go_and_counted(tmp_path, server, publish):
    with listen(configuration(tmp_path, {"url": server.url}), queue_bytes=100_000) as heard:
        for _ in range(30):
            publish(TOPIC, b"x" * 10_000)
        publish("spBv1.0/G/NDATA/Edge 2", b"last")
        wait_until(lambda: heard.lost["a"], what="a full queue")
        batches = taken(heard, 1)
        while not any(m.payload == b"last" for batch in batches for m in batch.messages):
            batches += taken(heard, 1)
    count = sum(len(batch.messages) for batch in batches)
    assert count + heard.lost["a"] == 31


def test_a_connection_that_ends_is_said_and_made_again(tmp_path, server):
    with listen(configuration(tmp_path, {"url": server.url})) as heard:
        server.stop()
        batches = iter(heard.batches(PATIENCE))
        lost = next(batch for batch in batches if batch.lost_us is not None)
        assert lost.server == "a"
        wait_until(lambda: "nobody listens" in heard.problems.get("a", ""), what="a problem")
        server.start()
        wait_until(lambda: not heard.problems, what="a connection")
        client = connected_client(server)
        client.publish(TOPIC, b"again", 1).wait_for_publish(PATIENCE)
        assert [m.payload for m in taken(heard, 1)[0].messages] == [b"again"]
        client.disconnect()
        client.loop_stop()


def test_a_server_that_is_away_does_not_keep_from_listening_to_the_others(
    tmp_path, server, publish
):
    port = free_port()
    servers = {"url": f"mqtt://127.0.0.1:{port}"}, {"url": server.url}
    with listen(configuration(tmp_path, *servers)) as heard:
        assert heard.problems == {
            "a": f"nobody listens on 127.0.0.1:{port}; start the server, or correct the port in "
            "servers[0].url"
        }
        publish(TOPIC)
        assert taken(heard, 1)[0].server == "b"
    with listen(configuration(tmp_path, *servers), ["b"]) as heard:
        assert heard.problems == {}


def test_no_server_at_all_is_an_error_that_says_why(tmp_path):
    port = free_port()
    away = configuration(tmp_path, {"url": f"mqtt://127.0.0.1:{port}"})
    with pytest.raises(BrokerError, match=rf"^a: nobody listens on 127\.0\.0\.1:{port}; start"):
        listen(away).__enter__()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_password_is_an_error_that_says_so(tmp_path, protocol):
    passwords = tmp_path / "passwords"
    passwords.write_text(password_line("tail", "right"))
    passwords.chmod(0o600)
    config = f"allow_anonymous false\npassword_file {passwords}"
    with mosquitto(tmp_path, config) as server:
        wrong = {"url": server.url, "username": "tail", "password": "wrong", "protocol": protocol}
        with pytest.raises(BrokerError, match="refused: Not authorized; check username, password"):
            listen(configuration(tmp_path, wrong)).__enter__()


def test_a_server_of_another_name_is_an_error_that_names_those_there_are(tmp_path):
    known = configuration(tmp_path, {"url": "mqtt://127.0.0.1:1"}, {"url": "mqtt://127.0.0.1:2"})
    with pytest.raises(ConfigurationError, match="no server is called c; there is a, b"):
        listen(known, ["c"]).__enter__()
