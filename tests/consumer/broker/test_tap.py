"""paho with the tap under it makes of a stream what paho alone makes of it, but for the cost."""

from __future__ import annotations

import errno
import itertools
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.generated import examples
from support.mqtt_packets import CONNACK, OWN_TOPIC, publish, read, up_to_type_0, variable

from consumer.broker import tap as tap_module
from consumer.broker.publish_cutter import LONGEST_PLAIN, PublishCutter, Run
from consumer.broker.tap import Tap, TappedClient, are_plain

VERSIONS = pytest.mark.parametrize("is_5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
PINGRESP = bytes.fromhex("d0 00")
PUBREL = bytes.fromhex("62 02 00 05")


# A stream, whole and in pieces


def assert_alike(chunks, is_5):
    """Both clients read the same; returns what that was."""
    alone = read(chunks, is_5=is_5, tapped=False)
    tapped = read(chunks, is_5=is_5, tapped=True)
    assert (tapped.messages, tapped.said, tapped.end) == (alone.messages, alone.said, alone.end)
    return tapped


def story(is_5):
    """A bit of all that a server says."""
    return CONNACK[is_5] + b"".join(
        [
            publish("a", b"1", is_5=is_5),
            publish("a", b"2", is_5=is_5, qos=1, packet_id=2),
            publish(OWN_TOPIC, b"3", is_5=is_5, qos=1, packet_id=3),
            publish("b", b"4" * 200, is_5=is_5, retained=True),
            publish("b", b"5", is_5=is_5, qos=2, packet_id=5),
            publish("b", b"6", is_5=is_5, qos=1, packet_id=6, dup=True),
            PUBREL,
            PINGRESP,
            publish("spBv1.0/P/NDEATH/E", b"7", is_5=is_5),
            publish("b", b"8", is_5=is_5),
        ]
    )


@VERSIONS
def test_a_stream_may_be_cut_anywhere(is_5):
    data = story(is_5)
    for at in range(len(data)):
        found = assert_alike([data[:at], data[at:]], is_5)
        assert [payload[:1] for _, payload, _ in found.messages] == [
            *(b"1", b"2", b"3", b"4", b"6", b"5", b"7", b"8"),
        ]
        assert found.in_bulk == 5


@VERSIONS
def test_a_stream_may_come_byte_by_byte(is_5):
    found = assert_alike([bytes([byte]) for byte in story(is_5)], is_5)
    assert len(found.messages) == 8


@VERSIONS
def test_acknowledgements_go_out_in_the_order_of_arrival(is_5):
    topics = ["a", OWN_TOPIC, "a", "a", OWN_TOPIC, "spBv1.0/P/NDEATH/E", "a"]
    data = b"".join(
        publish(topic, is_5=is_5, qos=1, packet_id=number)
        for number, topic in enumerate(topics, start=1)
    )
    found = assert_alike([CONNACK[is_5] + data], is_5)
    assert found.said == b"".join(b"\x40\x02\x00%c" % number for number in range(1, 8))
    assert found.in_bulk == 4


@VERSIONS
@pytest.mark.parametrize("size", [LONGEST_PLAIN - 40, LONGEST_PLAIN, LONGEST_PLAIN + 40, 300_000])
def test_packets_of_every_size_come_through_between_others(is_5, size):
    data = CONNACK[is_5] + b"".join(
        publish("a", part, is_5=is_5) for part in (b"before", b"x" * size, b"behind")
    )
    found = assert_alike([data[at : at + 50_000] for at in range(0, len(data), 50_000)], is_5)
    assert [len(payload) for _, payload, _ in found.messages] == [6, size, 6]


@VERSIONS
@pytest.mark.parametrize(
    "odd",
    [
        publish(is_5=True, least=5),
        b"\x30\xff\xff\xff\xff\x7f",
        b"\x30\x00",
        b"\x30\x01a",
        b"\x30\x03\x00\x05a",
        b"\x32\x03\x00\x01a",
        b"\x36\x05\x00\x01a\x00\x01",
        b"\x38\x05\x00\x01a\x00x",
        b"\x00\x00",
        b"\xf0\x00",
        b"\xd0\x01x",
        publish("", is_5=True),
        publish(b"\xff\xfe", is_5=True),
        publish("a/+", is_5=True),
        publish("a\0b", is_5=True),
        publish("a", is_5=True, qos=1, packet_id=0),
        publish("a", is_5=True, properties=bytes.fromhex("23 00 01")),
        publish("a", is_5=True, properties=b"\x7f\x01"),
        publish("a", is_5=True, properties=b"\x02\x00"),
    ],
    ids=lambda odd: odd[:12].hex(),
)
def test_what_is_malformed_is_judged_by_paho_and_what_came_before_it_counts(is_5, odd):
    data = CONNACK[is_5] + publish("a", b"before", is_5=is_5) + odd
    found = assert_alike([data, publish("a", b"behind", is_5=is_5)], is_5)
    assert found.messages[0][1] == b"before"


def packets(is_5):
    """Packets of a server, most of them as they should be."""
    plain = st.builds(
        publish,
        st.sampled_from(["a", "spBv1.0/Plant/DDATA/Edge/Device", "Größe"]),
        st.sampled_from([b"", b"x", b"y" * 125, b"z" * 300]),
        is_5=st.just(is_5),
        qos=st.sampled_from([0, 0, 0, 1]),
        packet_id=st.integers(1, 65_535),
        retained=st.booleans(),
    )
    odd = st.builds(
        publish,
        st.sampled_from(["a", "", "a/#", OWN_TOPIC, "$SYS/x", b"\xff", "x" * 600, "P/NDEATH/E"]),
        st.sampled_from([b"x", b"z" * 17_000, b"z" * 70_000]),
        is_5=st.just(is_5),
        qos=st.sampled_from([0, 1, 2]),
        packet_id=st.integers(0, 65_535),
        retained=st.booleans(),
        dup=st.booleans(),
        properties=st.sampled_from(
            [
                b"",
                bytes.fromhex("02 00 00 00 3c"),
                bytes.fromhex("23 00 01"),
                b"\x26\0\1a\0\1b" * 20,
            ]
        ),
        least=st.integers(1, 5),
    )
    others = st.sampled_from(
        [PINGRESP, PUBREL, b"\x90\x04\x00\x01\x00\x01", b"\xe0\x00", b"\xf0\x00"]
    )
    raw = st.builds(
        lambda first, body: bytes([first]) + variable(len(body)) + body,
        st.integers(0, 255),
        st.binary(max_size=20),
    )
    usual = st.lists(plain, min_size=1, max_size=30).map(b"".join)
    return st.lists(st.one_of(usual, usual, odd, others, raw), max_size=8).map(b"".join)


@VERSIONS
@given(data=st.data())
@examples(60)
def test_any_stream_gives_the_same_messages_answers_and_end(is_5, data):
    stream = CONNACK[is_5] + up_to_type_0(data.draw(packets(is_5)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    edges = [0, *cuts, len(stream)]
    assert_alike([stream[a:b] for a, b in itertools.pairwise(edges)], is_5)


# The tap itself


class Scripted:
    """A socket that gives these pieces, and takes so many bytes at a time."""

    def __init__(self, *pieces, takes=()):
        self.pieces = list(pieces)
        self.takes = list(takes)
        self.sent = b""

    def recv(self, size):
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        assert len(piece) <= size
        return piece

    def send(self, data):
        count = self.takes.pop(0) if self.takes else len(data)
        if count == 0:
            raise BlockingIOError
        self.sent += data[:count]
        return min(count, len(data))


class Clock:
    def __init__(self, step=0.0):
        self.now, self.step = 100.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def tapped(sock, clock=None):
    runs: list[Run] = []
    cutter = PublishCutter(is_5=False, plain_topic=bytes.decode, are_plain=are_plain)
    return Tap(sock, cutter, runs.append, clock or Clock()), runs


def number_of(runs):
    return sum(len(run.topics) for run in runs)


def drained(tap):
    """What the tap gives to paho until it has nothing."""
    found = b""
    try:
        while piece := tap.recv(1000):
            found += piece
    except BlockingIOError:
        pass
    return found


PLAIN = publish("a", b"x", is_5=False)


def test_paho_hears_a_sign_of_life_once_a_second_while_something_comes():
    clock = Clock()
    sock = Scripted()
    tap, runs = tapped(sock, clock)
    heard = []
    for _ in range(30):  # a tenth of a second each
        sock.pieces.append(PLAIN)
        heard.append(drained(tap))
        clock.now += 0.1
    assert number_of(runs) == 30
    assert set(heard) == {b"", PINGRESP}
    assert heard.count(PINGRESP) == 3


def test_paho_hears_nothing_when_nothing_comes():
    clock = Clock()
    tap, _ = tapped(Scripted(PLAIN), clock)
    assert drained(tap) == PINGRESP
    clock.now += 60
    assert drained(tap) == b""


def test_a_turn_ends_when_a_read_took_all_that_was_there():
    sock = Scripted(*[PLAIN] * 3)  # as from a server that has written one more each time
    tap, runs = tapped(sock)
    assert tap.recv(1000) == PINGRESP
    for number in range(1, 4):
        assert number_of(runs) == number
        with pytest.raises(BlockingIOError):
            tap.recv(1000)


def test_a_turn_ends_though_more_can_be_read_and_nothing_is_lost_by_it(monkeypatch):
    monkeypatch.setattr(tap_module, "_CHUNK", len(PLAIN))  # so there may be more behind each
    sock = Scripted(*[PLAIN] * 100)
    tap, runs = tapped(sock, Clock(step=0.003))
    turns = 0
    while sock.pieces:
        drained(tap)
        turns += 1
    assert number_of(runs) == 100
    assert 5 < turns < 40


def test_what_the_socket_does_not_take_of_acknowledgements_goes_later_and_before_all_else():
    data = b"".join(publish("a", is_5=False, qos=1, packet_id=number) for number in (1, 2, 3))
    sock = Scripted(data, takes=[5, 0, 2, 0])
    tap, _ = tapped(sock)
    drained(tap)
    tap.acknowledge()
    assert sock.sent == bytes.fromhex("40 02 00 01 40")
    tap.acknowledge()  # the socket takes nothing
    with pytest.raises(BlockingIOError):
        tap.send(b"PINGREQ")
    with pytest.raises(BlockingIOError):
        tap.send(b"PINGREQ")
    assert tap.send(b"PINGREQ") == 7
    assert sock.sent == bytes.fromhex("40020001 40020002 40020003") + b"PINGREQ"


def test_what_comes_behind_a_packet_of_paho_is_acknowledged_behind_it():
    first, third = (publish("a", is_5=False, qos=1, packet_id=number) for number in (1, 3))
    own = publish(OWN_TOPIC, is_5=False, qos=2, packet_id=2)
    sock = Scripted(first + own, takes=[0, 0])
    tap, _ = tapped(sock)
    drained(tap)
    tap.acknowledge()  # the socket takes nothing
    assert drained(tap).startswith(own)
    of_own = bytes.fromhex("50 02 00 02")
    with pytest.raises(BlockingIOError):
        tap.send(of_own)
    sock.pieces.append(third)
    drained(tap)
    tap.send(of_own)
    tap.acknowledge()
    assert sock.sent == bytes.fromhex("40020001 50020002 40020003")


def test_paho_hears_of_a_socket_that_takes_nothing_because_it_is_broken():
    sock = Scripted(publish("a", is_5=False, qos=1, packet_id=1), takes=[0])
    tap, _ = tapped(sock)
    drained(tap)
    tap.acknowledge()  # the socket takes nothing

    def broken(_data):
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    sock.send = broken
    tap.acknowledge()
    with pytest.raises(ConnectionResetError):
        tap.send(b"PINGREQ")


def test_paho_gets_nothing_while_something_before_it_is_not_acknowledged():
    data = publish("a", is_5=False, qos=1, packet_id=1) + b"\x20\x02\x00\x00"
    tap, runs = tapped(Scripted(data))
    assert drained(tap) == b""
    assert number_of(runs) == 1
    assert tap.pending() == 0  # it would be asked again and again without that
    tap.acknowledge()
    assert tap.pending() == 4
    assert drained(tap).startswith(b"\x20\x02\x00\x00")


def test_a_server_that_sends_more_than_there_are_packet_ids_is_left(monkeypatch):
    monkeypatch.setattr(tap_module, "_MOST_UNACKNOWLEDGED", 10)
    data = b"".join(publish("a", is_5=False, qos=1, packet_id=number) for number in range(1, 7))
    sock = Scripted(data, takes=[0])
    tap, runs = tapped(sock)
    drained(tap)
    tap.acknowledge()  # the socket takes nothing
    sock.pieces.append(data)
    drained(tap)
    with pytest.raises(ConnectionError):
        drained(tap)
    assert number_of(runs) == 12


@pytest.mark.parametrize("end", [b"", ConnectionResetError(errno.ECONNRESET, "reset")])
def test_what_came_before_the_end_of_a_connection_counts(end):
    sock = Scripted(PLAIN + PLAIN[:-1], end, end)
    tap, runs = tapped(sock, Clock(step=0.001))
    try:
        while tap.recv(1000):
            pass
        assert end == b""
    except ConnectionResetError:
        assert end != b""
    assert number_of(runs) == 1


class SecretRecords(Scripted, ssl.SSLSocket):
    """A TLS connection: a record with each call, and some of them read already."""

    def __init__(self, *pieces):  # without a connection
        Scripted.__init__(self, *pieces)

    def pending(self):
        return len(self.pieces[0]) if self.pieces else 0

    def __del__(self):
        pass


def test_records_of_tls_are_gathered_until_there_are_no_more():
    sock = SecretRecords(PLAIN, PLAIN, ssl.SSLWantReadError(), PLAIN, b"")
    tap, runs = tapped(sock)
    tap._fill()
    tap._take_plain()
    assert [len(run.topics) for run in runs] == [2]
    assert tap.pending() == len(PLAIN)
    tap._fill()  # the end is told by the next call
    tap._take_plain()
    assert number_of(runs) == 3


def test_a_client_that_paho_makes_otherwise_works_without_the_tap(monkeypatch):
    """`_create_socket` is private to paho, and may be gone one day."""
    monkeypatch.delattr(TappedClient, "_create_socket")
    for is_5 in (True, False):
        found = read([story(is_5)], is_5=is_5, tapped=True)
        assert (len(found.messages), found.in_bulk) == (8, 0)


def test_the_socket_that_paho_uses_is_the_tap():
    """Else everything would go on, and be slow."""
    assert read([story(True)], is_5=True, tapped=True).in_bulk == 5
