"""What is cut out of a stream of MQTT packets, and where the cutter stops."""

import itertools

import pytest
from support.mqtt_packets import is_plain_topic, publish, variable

from consumer.broker import publish_cutter
from consumer.broker.publish_cutter import LONGEST_PLAIN, PublishCutter, packet_size
from consumer.broker.tap import are_plain

EXPIRY = bytes.fromhex("02 00 00 00 3c")
USER_PROPERTY = b"\x26\x00\x01a\x00\x01b"
TOPIC_ALIAS = bytes.fromhex("23 00 01")
VERSIONS = pytest.mark.parametrize("is_5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])


def cutter(is_5, plain_topic=is_plain_topic):
    return PublishCutter(is_5=is_5, plain_topic=plain_topic, are_plain=are_plain)


def all_runs(is_5, data, at=0):
    """What is cut until the cutter stops, and where it does."""
    cuts, found = cutter(is_5), []
    while True:
        run, at = cuts.cut(data, at)
        if run is None:
            return found, at
        found.append(run)


@VERSIONS
def test_packets_of_one_kind_are_one_run_and_each_has_its_topic_and_payload(is_5):
    data = b"".join(publish(f"a/{number}", b"x" * number, is_5=is_5) for number in range(5))
    [run], at = all_runs(is_5, data)
    assert run.topics == [f"a/{number}" for number in range(5)]
    assert run.payloads == [b"x" * number for number in range(5)]
    assert (run.retained, run.packet_ids, at) == (False, [], len(data))


@VERSIONS
def test_packets_of_quality_1_have_their_ids_in_order(is_5):
    data = b"".join(
        publish("a", b"%d" % number, is_5=is_5, qos=1, packet_id=number) for number in (7, 300, 1)
    )
    [run], _ = all_runs(is_5, data)
    assert run.packet_ids == [b"\x00\x07", b"\x01\x2c", b"\x00\x01"]
    assert run.payloads == [b"7", b"300", b"1"]


@VERSIONS
def test_a_change_of_what_the_server_keeps_begins_another_run(is_5):
    kept = publish("a", b"kept", is_5=is_5, retained=True)
    live = publish("a", b"live", is_5=is_5)
    runs, at = all_runs(is_5, kept + live + live)
    assert [(run.retained, run.payloads) for run in runs] == [
        (True, [b"kept"]),
        (False, [b"live", b"live"]),
    ]
    assert at == len(kept + live + live)


@VERSIONS
@pytest.mark.parametrize("size", [0, 100, 130, 16_300, 16_400, 40_000])
@pytest.mark.parametrize("least", [1, 2, 3, 4])
def test_a_length_may_have_one_byte_or_up_to_four(is_5, size, least):
    data = publish("a", b"x" * size, is_5=is_5, least=least) + publish("b", is_5=is_5)
    [run], at = all_runs(is_5, data)
    assert (run.topics, len(run.payloads[0]), at) == (["a", "b"], size, len(data))


@VERSIONS
def test_a_length_of_five_bytes_is_left_to_others(is_5):
    good = publish(is_5=is_5)
    data = good + publish(is_5=is_5, least=5)
    [run], at = all_runs(is_5, data)
    assert (len(run.topics), at) == (1, len(good))
    assert packet_size(data, at) == -1


@VERSIONS
def test_a_packet_of_which_a_part_is_missing_is_not_cut_wherever_it_ends(is_5):
    first = publish("a", b"1" * 20, is_5=is_5)
    for size, qos in itertools.product((10, 200, 20_000), (0, 1)):
        data = publish("b", b"2" * size, is_5=is_5, qos=qos)
        for end in {*range(min(40, len(data))), len(data) - 1}:
            runs, at = all_runs(is_5, first + data[:end])
            assert (sum(len(run.topics) for run in runs), at) == (1, len(first)), (size, end)


@VERSIONS
def test_large_packets_are_left_to_others(is_5):
    _, at = all_runs(is_5, publish("a", bytes(LONGEST_PLAIN), is_5=is_5))
    assert at == 0


@VERSIONS
def test_only_what_begins_as_a_publish_of_quality_0_or_1_is_cut(is_5):
    cut = set()
    for first in range(256):
        packet = bytes([first]) + publish(is_5=is_5, qos=int(first & 0x06 == 0x02))[1:]
        _, at = all_runs(is_5, packet)
        assert at in (0, len(packet))
        if at:
            cut.add(first)
    # DUP is malformed without an id (3.3.1-2).
    assert cut == {0x30, 0x31, 0x32, 0x33, 0x3A, 0x3B}


@VERSIONS
def test_quality_2_is_left_to_others(is_5):
    assert all_runs(is_5, publish(is_5=is_5, qos=2)) == ([], 0)


@VERSIONS
def test_an_id_that_no_packet_has_is_left_to_others(is_5):
    assert all_runs(is_5, publish(is_5=is_5, qos=1, packet_id=0)) == ([], 0)


@VERSIONS
@pytest.mark.parametrize(
    "topic",
    [
        *("", "a/+/b", "a/#", "a\0b", "x" * 600),
        *("spBv1.0/P/NDEATH/E", "spBv1.0/P/DDEATH/E/D", "spBv1.0/STATE/host"),
        *("$SYS/broker/x", "$sparkplug/certificates/spBv1.0/P/NBIRTH/E"),
        b"\xff\xfe",
    ],
)
def test_topics_that_need_more_than_handing_on_are_left_to_others(is_5, topic):
    plain = publish("a", is_5=is_5)
    [run], at = all_runs(is_5, plain + publish(topic, is_5=is_5) + plain)
    assert (run.topics, at) == (["a"], len(plain))


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
def test_a_packet_that_ends_within_its_topic_or_its_id_is_left_to_others(is_5, qos):
    whole = publish("abc", b"", is_5=is_5, qos=qos)[2:]
    for length in range(len(whole)):
        packet = bytes([0x30 | qos << 1]) + variable(length) + whole[:length] + b"\0\0\0\0"
        assert all_runs(is_5, packet) == ([], 0), length


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("properties", [b"", EXPIRY, USER_PROPERTY, EXPIRY + 2 * USER_PROPERTY])
def test_properties_that_are_of_no_account_are_passed_over(qos, properties):
    data = 2 * publish("a", b"x", is_5=True, qos=qos, properties=properties)
    [run], at = all_runs(True, data)
    assert (run.payloads, at) == ([b"x", b"x"], len(data))


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    "properties",
    [
        TOPIC_ALIAS,
        EXPIRY + TOPIC_ALIAS,
        EXPIRY + EXPIRY,  # once at most (3.3.2.3.3)
        EXPIRY[:3],
        b"\x11\0\0\0\x05",  # not one of PUBLISH
        b"\x7f\x01",  # there is none with this number
        20 * USER_PROPERTY,  # too long to be looked at
    ],
)
def test_other_properties_are_left_to_others(qos, properties):
    packet = publish("a", b"x", is_5=True, qos=qos, properties=properties)
    assert all_runs(True, packet) == ([], 0)


def test_properties_that_are_longer_than_the_packet_are_left_to_others():
    packet = bytearray(publish("a", b"", is_5=True, properties=EXPIRY))
    packet[5] += 1
    assert all_runs(True, bytes(packet) + publish("a", is_5=True)) == ([], 0)


def test_a_topic_is_asked_for_once_and_is_the_same_text_each_time():
    asked = []

    def plain_topic(raw):
        asked.append(raw)
        return raw.decode()

    cuts = cutter(False, plain_topic)
    data = publish("abc", is_5=False)
    first, _ = cuts.cut(data, 0)
    second, _ = cuts.cut(data, 0)
    assert first.topics[0] is second.topics[0]
    assert asked == [b"abc"]


def test_what_is_remembered_of_topics_and_properties_is_bounded(monkeypatch):
    monkeypatch.setattr(publish_cutter, "_MOST_TOPIC_BYTES", 3_000)
    monkeypatch.setattr(publish_cutter, "_MOST_PROPERTIES", 10)
    cuts = cutter(True)
    for number in range(100):
        user = b"\x26\x00\x03%03d\x00\x01b" % number
        run, _ = cuts.cut(publish(f"a/{number}", is_5=True, properties=user), 0)
        assert run.topics == [f"a/{number}"]
        assert len(cuts._topics) <= 15
        assert len(cuts._properties) <= 10


@pytest.mark.parametrize(
    "length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 2**28 - 1]
)
def test_the_size_of_a_packet_is_known_when_its_length_is_there(length):
    header = b"\xd0" + variable(length)
    for end in range(len(header)):
        assert packet_size(header[:end], 0) == 0
    assert packet_size(header, 0) == len(header) + length
    assert packet_size(b"xyz" + header + b"more", 3) == len(header) + length
