"""How a paho client is made: which file of `tls` cannot be used, and what CONNECT says."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys

import paho.mqtt.client as mqtt
import pytest
from support.services import PATIENCE

from consumer.broker.client import mqtt_client
from consumer.broker.tap import TappedClient
from consumer.config import parse
from consumer.errors import BrokerError, TlsFileError

ENCRYPTIONS = {"PKCS 8": ("pkcs8", "-topk8"), "of old": ("ec", "-aes256")}


def server_of(url="mqtts://127.0.0.1:1", **server):
    """The configuration of one server."""
    return parse(
        {
            "servers": [{"name": "plant", "url": url, **server}],
            "zerobus": {
                "endpoint": "http://127.0.0.1:9",
                "workspace_url": "http://127.0.0.1:10",
                "table": "main.ot.tag_events",
                "client_id": "id",
                "client_secret": "secret",
            },
        }
    ).servers[0]


def unusable(**tls):
    """What is said of files that cannot be used."""
    with pytest.raises(TlsFileError) as caught:
        mqtt_client(server_of(tls={key: str(name) for key, name in tls.items()}), "id")
    return caught.value


# --- files


def test_a_missing_file_is_named_with_its_key(tmp_path, authority):
    own = authority.issue("client")
    missing = tmp_path / "missing.pem"
    for key, tls in {
        "tls.ca_file": {"ca_file": missing},
        "tls.cert_file": {"cert_file": missing, "key_file": own.key_file},
        "tls.key_file": {"cert_file": own.cert_file, "key_file": missing},
    }.items():
        error = unusable(**tls)
        assert error.key == key
        assert error.what == f"{missing} cannot be used: No such file or directory"
        assert str(error).startswith(f"{error.what}; let {key} name a PEM file")
        assert f"let servers[0].{key} name" in error.mend("servers[0]")


@pytest.mark.parametrize("content", [b"", b"no PEM at all", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_with_something_else_is_named_with_its_key(tmp_path, authority, content):
    own = authority.issue("client")
    other = tmp_path / "other.pem"
    other.write_bytes(content)
    for key, tls in {
        "tls.ca_file": {"ca_file": other},
        "tls.cert_file": {"cert_file": other, "key_file": own.key_file},
        "tls.key_file": {"cert_file": own.cert_file, "key_file": other},
    }.items():
        error = unusable(**tls)
        assert error.key == key
        assert error.what.startswith(f"{other} cannot be used: no ")


def test_a_certificate_and_a_key_in_each_others_place_are_told(authority):
    own = authority.issue("client")
    assert unusable(cert_file=own.key_file, key_file=own.cert_file).key == "tls.cert_file"


def test_the_key_of_another_certificate_is_told(authority):
    own, other = authority.issue("client"), authority.issue("another")
    error = unusable(cert_file=own.cert_file, key_file=other.key_file)
    assert error.key == "tls.key_file"
    assert f"not the key of {own.cert_file} (KEY_VALUES_MISMATCH)" in error.what


def test_a_pipe_is_not_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert unusable(ca_file=pipe).what == f"{pipe} cannot be used: is no regular file"


@pytest.mark.parametrize("form", ENCRYPTIONS)
def test_an_encrypted_key_is_told(authority, form):
    pair = authority.encrypted(authority.issue("client"), *ENCRYPTIONS[form])
    error = unusable(cert_file=pair.cert_file, key_file=pair.key_file)
    assert error.key == "tls.key_file"
    assert error.what == f"{pair.key_file} cannot be used: the key is encrypted"
    assert error.mend("servers[1]").endswith(", unencrypted")


def test_it_is_an_error_of_the_server_that_another_attempt_may_cure():
    assert issubclass(TlsFileError, BrokerError)


_ATTEMPT = """if True:
    import os, sys
    from consumer.broker.handshake import Handshake, Subscriptions
    from consumer.config import Server
    os.open(os.ttyname(0), os.O_RDWR)  # which makes it the terminal of this session
    tls = {"cert_file": sys.argv[1], "key_file": sys.argv[2]}
    server = Server(name="plant", url="mqtts://127.0.0.1:1", tls=tls)
    ignore = lambda *_: None
    try:
        Handshake(
            server, "id", will=None, subscriptions=Subscriptions([], []), announce=ignore,
            receive=ignore, plain_topic=ignore, receive_run=ignore,
        )
    except Exception as error:
        print("refused:", error)
"""


def test_on_a_terminal_nobody_is_asked_for_the_passphrase_of_a_key(authority):
    pair = authority.encrypted(authority.issue("client"), *ENCRYPTIONS["PKCS 8"])
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _ATTEMPT, str(pair.cert_file), str(pair.key_file)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    text = b""
    try:
        with contextlib.suppress(OSError):  # of a terminal that nobody has open any more
            while b"pass phrase" not in text and (more := os.read(screen, 4096)):
                text += more
        assert b"refused: " in text, text
        assert b"the key is encrypted" in text
        assert process.wait(PATIENCE) == 0
    finally:
        os.close(screen)
        process.kill()
        process.wait()


def test_without_files_the_authorities_of_the_system_are_trusted(monkeypatch, authority):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    context = mqtt_client(server_of(), "id")._ssl_context
    assert [each["subject"] for each in context.get_ca_certs()] == [
        ((("commonName", "test authority"),),)
    ]


def test_the_certificate_of_the_server_and_its_name_are_verified(authority):
    context = mqtt_client(server_of(tls={"ca_file": str(authority.ca_file)}), "id")._ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# --- CONNECT


def connect_packet(**server):
    """What is sent to a server at first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        client = mqtt_client(server_of(url, **server), "plant-client")
        client.connect("127.0.0.1", listener.getsockname()[1])
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            client.loop(0.1)
            packet = accepted.recv(4096)
        client.loop(0.1)
    assert packet[0] == 0x10
    return packet


FLAGS_AT = 9
"""Behind two bytes of a short packet's head, and 0 4 M Q T T and the version."""
USER_NAME, PASSWORD, CLEAN = 0x80, 0x40, 0x02


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_connect_says_who_it_is_and_begins_without_a_session(protocol):
    packet = connect_packet(protocol=protocol, username="u", password="s3cret")
    assert packet[8] == (5 if protocol == "5" else 4)
    assert packet[FLAGS_AT] == USER_NAME | PASSWORD | CLEAN
    assert packet.endswith(b"\0\x0cplant-client\0\1u\0\6s3cret")


def test_a_user_without_a_password_is_sent_without_one():
    packet = connect_packet(username="u")
    assert packet[FLAGS_AT] == USER_NAME | CLEAN
    assert packet.endswith(b"\0\1u")


def test_a_password_without_a_user_is_sent_nevertheless():
    packet = connect_packet(password="s3cret")
    assert packet[FLAGS_AT] == USER_NAME | PASSWORD | CLEAN
    assert packet.endswith(b"\0\x0cplant-client\0\0\0\6s3cret")


def test_without_credentials_none_are_sent():
    packet = connect_packet()
    assert packet[FLAGS_AT] == CLEAN
    assert packet.endswith(b"\0\x0cplant-client")


def test_the_client_is_of_the_class_that_is_asked_for():
    assert type(mqtt_client(server_of(), "id")) is mqtt.Client
    assert type(mqtt_client(server_of(), "id", TappedClient)) is TappedClient
