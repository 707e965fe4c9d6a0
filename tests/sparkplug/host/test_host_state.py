"""STATE messages and the rebirth request; tests carry the specification's ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import peer

from sparkplug.host.commands import rebirth_command
from sparkplug.host.host_state import HostState
from sparkplug.pb import sparkplug_b_pb2 as pb
from sparkplug.state_message import State, encode, parse

NOW = 1_700_000_000_000
TOPIC = "spBv1.0/STATE/historian"


def content(publish):
    return json.loads(publish.payload)


def connected() -> HostState:
    host = HostState("historian")
    host.connect(NOW)
    host.birth()
    return host


def test_payloads_state_birth_payload_has_exactly_the_two_keys():
    assert json.loads(encode(State(True, NOW))) == {"online": True, "timestamp": NOW}
    assert json.loads(encode(State(False, 0))) == {"online": False, "timestamp": 0}


def test_the_payload_is_what_another_implementation_reads():
    found = peer.State.decode(encode(State(True, NOW)))
    assert (found.online, found.timestamp) == (True, NOW)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"online":true,"timestamp":5}', State(True, 5)),
        (b' {"timestamp": 5.9, "online": false, "more": [1]}', State(False, 5)),
        (b'{"online":true,"timestamp":1.7e12}', State(True, 1_700_000_000_000)),
    ],
)
def test_state_is_read_leniently(payload, expected):
    assert parse(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"ONLINE",
        b"null",
        b"[]",
        b"{}",
        b'{"online":true}',
        b'{"timestamp":5}',
        b'{"online":1,"timestamp":5}',
        b'{"online":"true","timestamp":5}',
        b'{"online":true,"timestamp":"5"}',
        b'{"online":true,"timestamp":true}',
        b'{"online":true,"timestamp":null}',
        b'{"online":true,"timestamp":-1}',
        b'{"online":true,"timestamp":NaN}',
        b'{"online":true,"timestamp":1e999}',
        b'{"online":true,"timestamp":99999999999999999999}',
        b"\xff\xfe\x00",
        b"[" * 4000,
        b'{"online":true,"timestamp":5,"x":"' + b"a" * 5000 + b'"}',
    ],
)
def test_what_is_no_state_is_none_and_never_an_error(payload):
    assert parse(payload) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(payload):
    result = parse(payload)
    assert result is None or isinstance(result, State)


@given(st.booleans(), st.integers(0, 2**63 - 1))
def test_what_is_written_is_read_back(online, timestamp_ms):
    assert parse(encode(State(online, timestamp_ms))) == State(online, timestamp_ms)


def test_operational_behavior_host_application_connect_will_topic_payload_qos_retained():
    will = HostState("historian").connect(NOW)
    assert (will.topic, will.qos, will.retain) == (TOPIC, 1, True)
    assert content(will) == {"online": False, "timestamp": NOW}


def test_host_topic_phid_birth_payload_timestamp_equals_that_of_the_will():
    host = HostState("historian")
    will = host.connect(NOW)
    birth = host.birth()
    assert (birth.topic, birth.qos, birth.retain) == (TOPIC, 1, True)
    assert content(birth) == {"online": True, "timestamp": content(will)["timestamp"]}


def test_there_is_no_birth_without_a_connection():
    host = HostState("historian")
    with pytest.raises(RuntimeError):
        host.birth()
    host.connect(NOW)
    host.stop(NOW)
    with pytest.raises(RuntimeError):
        host.birth()


def test_host_topic_phid_death_payload_timestamp_connect_is_new_for_every_connection():
    host = HostState("historian")
    times = [content(host.connect(now))["timestamp"] for now in (NOW, NOW, NOW - 60_000, NOW + 5)]
    assert times == [NOW, NOW + 1, NOW + 2, NOW + 5]


def test_a_timestamp_of_an_earlier_process_is_never_undercut():
    assert content(HostState("historian", NOW + 100).connect(NOW))["timestamp"] == NOW + 101


def test_a_retained_state_of_the_past_pushes_the_next_connection_beyond_it():
    host = HostState("historian")
    host.connect(NOW)
    assert host.received(encode(State(False, NOW + 500))) is None
    assert host.outdated
    assert content(host.connect(NOW + 1))["timestamp"] == NOW + 501
    assert not host.outdated


def test_a_timestamp_after_the_year_9999_is_not_surpassed_but_answered():
    host = connected()
    nonsense = encode(State(online=False, timestamp_ms=2**63 - 1))
    assert parse(host.received(nonsense).payload) == (True, NOW)
    assert parse(host.connect(NOW).payload) == (False, NOW + 1)


def test_a_retained_offline_before_the_birth_is_not_answered():
    host = HostState("historian")
    host.connect(NOW)
    assert host.received(encode(State(False, NOW - 1000))) is None
    assert not host.outdated


def test_message_flow_hid_sparkplug_state_message_delivered_is_answered_with_the_birth():
    host = connected()
    answer = host.received(encode(State(False, NOW - 1000)))
    assert answer == host.birth()
    assert content(answer) == {"online": True, "timestamp": NOW}


def test_the_second_copy_of_an_offline_message_gives_the_same_answer():
    host = connected()
    first = host.received(encode(State(False, NOW)))
    assert first is not None
    assert host.received(encode(State(False, NOW))) == first


def test_its_own_birth_is_not_answered():
    host = connected()
    assert host.received(host.birth().payload) is None
    assert not host.outdated


def test_garbage_on_the_own_topic_is_ignored():
    assert connected().received(b"OFFLINE") is None


def test_host_topic_phid_death_payload_timestamp_disconnect_clean_is_the_present():
    host = connected()
    death = host.stop(NOW + 7_000)
    assert (death.topic, death.qos, death.retain) == (TOPIC, 1, True)
    assert content(death) == {"online": False, "timestamp": NOW + 7_000}


def test_the_timestamp_of_a_stop_is_never_smaller_than_one_before():
    host = connected()
    assert content(host.stop(NOW - 7_000))["timestamp"] == NOW


def test_a_host_that_stops_does_not_answer_its_own_offline_message():
    host = connected()
    death = host.stop(NOW + 1)
    assert host.received(death.payload) is None


def test_after_a_stop_a_new_connection_goes_online_again():
    host = connected()
    host.stop(NOW + 1)
    host.connect(NOW + 2)
    assert content(host.birth()) == {"online": True, "timestamp": NOW + 2}


def test_a_lost_connection_answers_nothing():
    host = connected()
    host.lost()
    assert host.received(encode(State(False, NOW))) is None
    assert not host.outdated


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["connect", "stop", "offline seen", "lost"]), st.integers(0, 1_000)
        )
    )
)
def test_own_timestamps_never_go_backwards_whatever_the_clock_does(steps):
    host = HostState("historian")
    last = 0
    for step, now in steps:
        publish = None
        if step == "connect":
            publish = host.connect(now)
            assert content(publish)["timestamp"] > last or last == 0
        elif step == "stop":
            publish = host.stop(now)
        elif step == "offline seen":
            host.received(encode(State(False, now)))
            last = max(last, now)
        else:
            host.lost()
        if publish is not None:
            assert content(publish)["timestamp"] >= last
            last = content(publish)["timestamp"]


@pytest.mark.parametrize("host_id", ["", "a/b", "a+b", "#"])
def test_a_host_id_that_cannot_be_in_a_topic_is_refused(host_id):
    with pytest.raises(ValueError, match="host id"):
        HostState(host_id)


def test_operational_behavior_data_commands_ncmd_rebirth_verb_name_value():
    topic, payload = rebirth_command("Plant 1", "Line A", NOW)
    assert topic == "spBv1.0/Plant 1/NCMD/Line A"
    command = peer.NCmd.decode(payload)
    assert command.timestamp == NOW  # payloads-ncmd-timestamp
    (found,) = command.metrics
    assert (found.name, found.alias, found.timestamp) == ("Node Control/Rebirth", None, NOW)
    assert (int(found.datatype), found.value) == (11, True)


def test_payloads_ncmd_seq_is_absent():
    raw = pb.Payload.FromString(rebirth_command("Plant 1", "Line A", NOW)[1])
    assert not raw.HasField("seq")
    assert [each.name for each in raw.metrics] == ["Node Control/Rebirth"]
