"""`sparkplug-zerobus check`: what it says of MQTT servers."""

import re
import threading

import paho.mqtt.client as mqtt
import pytest
from oracle.messages import metric, payload
from paho.mqtt.enums import CallbackAPIVersion
from support.check_cases import PROTOCOLS, SECRET, findings, mapping
from support.scripted_server import scripted
from support.services import PATIENCE, free_port, mosquitto, wait_until


@pytest.fixture
def mqtt_findings(tmp_path):
    def look(url, listen=0.2, timeout=PATIENCE, host=None, **server):
        config = mapping(tmp_path, url)
        config["servers"][0] |= server
        config["host"] = host or {}
        return findings(config, "mqtt plant-a", listen=listen, timeout=timeout)

    return look


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_without_traffic_is_fine_and_noted_as_quiet(tmp_path, mqtt_findings, protocol):
    with mosquitto(tmp_path) as server:
        ok, note = mqtt_findings(server.url, protocol=protocol)
    assert ok.startswith("ok   mqtt plant-a  connected in ")
    assert ok.endswith("subscribed (spBv1.0/#)")
    assert note.startswith("note mqtt plant-a  nothing heard in 0.2 s -> ")


def test_listening_can_be_left_out(tmp_path, mqtt_findings):
    with mosquitto(tmp_path) as server:
        assert len(mqtt_findings(server.url, listen=0)) == 1


@pytest.fixture
def publisher(tmp_path):
    with mosquitto(tmp_path, "log_type all") as server:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, "publisher")
        client.connect("127.0.0.1", server.port)
        client.loop_start()
        yield server, client
        client.disconnect()
        client.loop_stop()


def test_a_shared_subscription_loses_nothing_to_a_check(publisher, mqtt_findings):
    server, client = publisher
    heard = []
    member = mqtt.Client(CallbackAPIVersion.VERSION2, "member")
    member.on_message = lambda _client, _data, message: heard.append(message.payload)
    subscribed = threading.Event()
    member.on_subscribe = lambda *_: subscribed.set()
    member.connect("127.0.0.1", server.port)
    member.loop_start()
    member.subscribe("$share/consumers/spBv1.0/#", qos=1)
    assert subscribed.wait(PATIENCE)
    stopping = threading.Event()
    sent = []

    def publish():
        while not stopping.wait(0.01):
            sent.append(b"%d" % len(sent))
            client.publish("spBv1.0/G/NDATA/Edge 1", sent[-1], qos=1).wait_for_publish(PATIENCE)

    publishing = threading.Thread(target=publish)
    publishing.start()
    ok, *_ = mqtt_findings(server.url, listen=0.5, topics=["$share/consumers/spBv1.0/#"])
    stopping.set()
    publishing.join()
    assert ok.endswith("by its plain filter, to take nothing from a running consumer")
    wait_until(lambda: len(heard) == len(sent), what="all messages at the one member")
    member.disconnect()
    member.loop_stop()


def retain(client, topic, payload):
    """Retained: what is there before the check subscribes, it hears at once."""
    published = client.publish(topic, payload, qos=1, retain=True)
    published.wait_for_publish(PATIENCE)
    assert published.is_published()


def test_the_first_message_is_reported(publisher, mqtt_findings):
    server, client = publisher
    retain(client, "spBv1.0/G/NDATA/Edge 1", b"\x10\x01")
    _, note = mqtt_findings(server.url, listen=1.0)
    assert note.startswith("note mqtt plant-a  first message after ")
    assert note.endswith(" s: spBv1.0/G/NDATA/Edge 1")


def test_how_much_comes_is_told_and_what_is_too_much_for_the_spool(tmp_path, publisher):
    server, client = publisher
    over = threading.Event()
    many = payload(*(metric(alias=number, double_value=1.0) for number in range(20_000)))

    def publish():
        while not over.wait(0.02):
            client.publish("spBv1.0/G/NDATA/Edge 1", many)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        config = mapping(tmp_path, server.url)
        lines = findings(config, "", listen=1.0, timeout=PATIENCE)
    finally:
        over.set()
        thread.join()
    [told] = [line for line in lines if "values/s in" in line]
    assert re.fullmatch(
        r"note mqtt plant-a  [\d,]+ values/s in [\d,]+ messages/s, over 1 s", told
    ), told
    assert any(line.startswith("warn spool  16MiB last for an outage of ") for line in lines)


def test_a_topic_is_one_line_and_steers_no_terminal(mqtt_findings):
    topic = "spBv1.0/G\u202e\u2028\x07/NDATA/Edge\x1b[2J\nok   mqtt plant-a".encode()
    packet = len(topic).to_bytes(2, "big") + topic + b"\x10\x01"
    heard = b"\x90\x03\0\x01\0" + b"\x30" + bytes([len(packet)]) + packet
    # Many servers refuse such topics, not all of them.
    with scripted(b"\x20\x02\0\0", heard) as port:
        url = f"mqtt://127.0.0.1:{port}"
        # Whether it counts as heard while listening depends on when it is read.
        _, note, *_ = mqtt_findings(url, listen=1.0, protocol="3.1.1")
    assert note.endswith(r"spBv1.0/G\u202e\u2028\x07/NDATA/Edge\x1b[2J\nok   mqtt plant-a")


def test_a_topic_that_is_no_text_is_not_sparkplug(mqtt_findings):
    heard = b"\x90\x03\0\x01\0" + b"\x30\x06\0\x03\xffab\x01"
    with scripted(b"\x20\x02\0\0", heard) as port:
        _, note = mqtt_findings(f"mqtt://127.0.0.1:{port}", listen=0.5, protocol="3.1.1")
    assert "1 messages in 0.5 s, none of them Sparkplug B" in note


def test_a_state_that_is_nested_without_end_says_nothing(publisher, mqtt_findings):
    server, client = publisher
    retain(client, "spBv1.0/STATE/sparkplug-zerobus", b"[" * 100_000)
    first, note = mqtt_findings(server.url, listen=0.5)
    assert first.startswith("ok ")
    assert "nothing heard" in note


def test_traffic_that_is_not_sparkplug_is_reported(publisher, mqtt_findings):
    server, client = publisher
    retain(client, "zigbee2mqtt/lamp", b"on")
    _, note = mqtt_findings(server.url, topics=["#"], listen=2)
    assert "1 messages in 2 s, none of them Sparkplug B -> correct servers[0].topics" in note


@pytest.mark.parametrize(
    ("state", "is_noted"),
    [
        (b'{"online":true,"timestamp":1}', True),
        (b'{"online":false,"timestamp":1}', False),
        (b"ONLINE", False),
        (b"[]", False),
    ],
)
def test_another_host_of_the_same_id_is_reported(publisher, mqtt_findings, state, is_noted):
    server, client = publisher
    retain(client, "spBv1.0/STATE/me", state)
    text = "a host me says that it is online"
    listen = 2 if is_noted else 0.2
    found = mqtt_findings(server.url, host={"id": "me"}, listen=listen)
    assert any(text in line for line in found) == is_noted
    assert not any(text in line for line in mqtt_findings(server.url, host={"id": "other"}))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_publishes_nothing_and_has_no_will(tmp_path, mqtt_findings, protocol):
    with mosquitto(tmp_path, "log_type all") as server:
        mqtt_findings(server.url, protocol=protocol, client_id="consumer")
        wait_until(lambda: "DISCONNECT from consumer-check-" in server.log(), what="DISCONNECT")
        assert "No will message specified" in server.log()
        assert "Received PUBLISH" not in server.log()


def test_it_does_not_end_the_connection_of_the_consumer(publisher, mqtt_findings):
    server, client = publisher
    assert mqtt_findings(server.url, client_id="publisher")[0].startswith("ok ")
    assert client.is_connected()
    assert "already connected" not in server.log()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refused_login_is_reported(tmp_path, mqtt_findings, protocol):
    with mosquitto(tmp_path, "allow_anonymous false") as server:
        (fail,) = mqtt_findings(server.url, protocol=protocol, username="u", password=SECRET)
    assert fail == (
        "FAIL mqtt plant-a  CONNECT refused: Not authorized (code 135) -> "
        "check username and password, and that the server knows this user"
    )


# CONNACK and SUBACK of MQTT 5 (packet, length, flags or message id, properties, code).
CONNACK = b"\x20\x03\x00\x00\x00"
SUBACK = b"\x90\x04\x00\x01\x00"


@pytest.mark.parametrize(
    ("answers", "stay", "timeout", "words"),
    [
        (
            [b"\x20\x03\x00\x84\x00"],
            True,
            PATIENCE,
            ["Unsupported protocol version (code 132)", '"3.1.1"'],
        ),
        (
            [b"\x20\x03\x00\x85\x00"],
            True,
            PATIENCE,
            ["Client identifier not valid (code 133)", "client_id"],
        ),
        (
            [b"\x20\x03\x00\x86\x00"],
            True,
            PATIENCE,
            ["Bad user name or password", "check username"],
        ),
        ([b"\x20\x03\x00\x8a\x00"], True, PATIENCE, ["Banned (code 138)", "administrator"]),
        (
            [b"\x20\x03\x00\x80\x00"],
            True,
            PATIENCE,
            ["Unspecified error", "look at the server's log"],
        ),
        ([], True, 0.5, ["did not answer CONNECT within 0.5 s", "mqtts:// if this is a TLS port"]),
        ([], False, PATIENCE, ["ended the connection instead of answering CONNECT", '"3.1.1"']),
        (
            [CONNACK, SUBACK + b"\x87"],
            True,
            PATIENCE,
            ["subscription to spBv1.0/# refused: Not authorized (code 135)", "right to read"],
        ),
        ([CONNACK], True, 2, ["did not answer SUBSCRIBE within 2 s"]),
        (
            [CONNACK],
            False,
            PATIENCE,
            ["ended the connection on SUBSCRIBE", "right to read servers[0].topics"],
        ),
        ([CONNACK, SUBACK + b"\x01"], False, PATIENCE, ["ended the connection: "]),
    ],
)
def test_what_a_server_refuses_is_named_with_its_mend(mqtt_findings, answers, stay, timeout, words):
    with scripted(*answers, stay=stay) as port:
        *_, fail = mqtt_findings(f"mqtt://127.0.0.1:{port}", timeout=timeout, listen=1.0)
    assert fail.startswith("FAIL mqtt plant-a  ")
    assert [word for word in words if word not in fail] == []


def test_a_server_that_cannot_be_reached_is_reported(mqtt_findings):
    port = free_port()
    (fail,) = mqtt_findings(f"mqtt://127.0.0.1:{port}")
    assert fail.startswith(f"FAIL mqtt plant-a  nobody listens on 127.0.0.1:{port} -> start")


def test_an_unknown_name_is_reported(mqtt_findings):
    (fail,) = mqtt_findings("mqtt://broker.invalid")
    assert "the name broker.invalid is not known -> correct servers[0].url" in fail


def tls_listener(authority, certificate, *, ask=False):
    return (
        f"listener {{port}} 127.0.0.1\ncertfile {certificate.cert_file}\n"
        f"keyfile {certificate.key_file}\ncafile {authority.ca_file}\n"
        f"require_certificate {'true' if ask else 'false'}\n"
    )


def encrypted(server):
    return server.url.replace("mqtt://", "mqtts://")


def test_tls_with_the_right_authority_works(tmp_path, authority, mqtt_findings):
    config = tls_listener(authority, authority.issue("good"))
    with mosquitto(tmp_path, config) as server:
        tls = {"ca_file": str(authority.ca_file)}
        assert mqtt_findings(encrypted(server), tls=tls)[0].startswith("ok ")
        (fail,) = mqtt_findings(encrypted(server))
        assert "is not trusted: self-signed certificate" in fail
        assert "-> set servers[0].tls.ca_file to the PEM file" in fail
        (fail,) = mqtt_findings(server.url)
        assert "write mqtts:// if this is a TLS port" in fail


@pytest.mark.parametrize(
    ("issued", "words"),
    [
        (("elsewhere", "DNS:elsewhere.example", 1), "is for another host: "),
        (("expired", "IP:127.0.0.1", -1), "is not valid now: certificate has expired"),
    ],
)
def test_a_wrong_certificate_is_reported(tmp_path, authority, mqtt_findings, issued, words):
    config = tls_listener(authority, authority.issue(*issued))
    with mosquitto(tmp_path, config) as server:
        (fail,) = mqtt_findings(encrypted(server), tls={"ca_file": str(authority.ca_file)})
    assert words in fail


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_asks_for_a_client_certificate(tmp_path, authority, mqtt_findings, protocol):
    own = authority.issue("client")
    config = tls_listener(authority, authority.issue("server"), ask=True)
    tls = {"ca_file": str(authority.ca_file)}
    pair = {"cert_file": str(own.cert_file), "key_file": str(own.key_file)}
    with mosquitto(tmp_path, config) as server:
        (fail,) = mqtt_findings(encrypted(server), tls=tls, protocol=protocol)
        assert "set tls.cert_file and tls.key_file if it asks for a client certificate" in fail
        ok, _ = mqtt_findings(encrypted(server), tls=tls | pair, protocol=protocol)
        assert ok.startswith("ok ")


def test_tls_to_a_port_without_it_is_reported(tmp_path, mqtt_findings):
    with mosquitto(tmp_path) as server:
        (fail,) = mqtt_findings(encrypted(server))
    assert "-> check that servers[0].url has the" in fail


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be used: No such file"),
        ({"ca_file": __file__}, "test_mqtt.py cannot be used: "),
        (
            {"cert_file": "/nowhere/c.pem", "key_file": "/nowhere/k.pem"},
            "/nowhere/c.pem cannot be used: No such file",
        ),
    ],
)
def test_certificates_that_cannot_be_used_are_named(mqtt_findings, tls, words):
    (fail,) = mqtt_findings("mqtts://127.0.0.1:1", tls=tls)
    assert words in fail
    assert "-> let servers[0].tls." in fail


def test_an_encrypted_key_is_named(authority, mqtt_findings):
    own = authority.encrypted(authority.issue("own"), "pkcs8", "-topk8")
    pair = {"cert_file": str(own.cert_file), "key_file": str(own.key_file)}
    (fail,) = mqtt_findings("mqtts://127.0.0.1:1", tls=pair)
    assert fail == (
        f"FAIL mqtt plant-a  {own.key_file} cannot be used: the key is encrypted -> "
        "let servers[0].tls.key_file name a PEM file that this user may read, "
        "with the key of the certificate, unencrypted"
    )


def test_every_server_is_checked(tmp_path):
    with mosquitto(tmp_path) as server:
        config = mapping(tmp_path)
        config["servers"].append({"name": "plant-b", "url": server.url})
        assert findings(config, "mqtt plant-a")[0].startswith("FAIL mqtt plant-a  nobody listens")
        assert findings(config, "mqtt plant-b")[0].startswith("ok   mqtt plant-b  connected")
