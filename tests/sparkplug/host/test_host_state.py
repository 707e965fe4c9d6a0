"""STATE messages and the rebirth request; tests carry the specification's ids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import peer

from sparkplug.host.commands import rebirth_command
from sparkplug.host.host_state import ANSWER_PAUSE, HostState, OwnTimestamps
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


def test_what_others_write_is_answered_once_and_then_once_a_minute():
    host = connected()
    assert host.received(encode(State(False, NOW)), 100.0) == host.birth()
    for second in (100.0, 101.0, 130.0):  # the copy of an overlapping subscription, and more
        assert host.received(encode(State(False, NOW)), second) is None
    assert host.due(100.0 + ANSWER_PAUSE - 0.001) is None
    assert host.due(100.0 + ANSWER_PAUSE) == host.birth()
    assert host.due(1_000.0) is None
    assert host.received(encode(State(False, NOW)), 100.0 + 2 * ANSWER_PAUSE) == host.birth()
    assert host.answers == 3


def test_an_answer_that_waits_is_dropped_when_the_topic_says_online_again():
    host = connected()
    host.received(b"", 0.0)
    host.received(b"", 1.0)
    host.received(host.birth().payload, 1.1)  # the first answer comes back
    assert host.due(100.0) is None


def test_an_answer_that_waits_is_not_given_on_another_connection_nor_while_stopping():
    for end in ("stop", "lost", "connect"):
        host = connected()
        host.received(b"", 0.0)
        host.received(b"", 1.0)
        if end == "lost":
            host.lost()
        else:
            getattr(host, end)(NOW + 1)
        assert host.due(100.0) is None
        if end == "connect":
            host.birth()
            assert host.due(100.0) is None


UNREADABLE = [
    b"",
    b"OFFLINE",
    b"ONLINE",
    b'{"online":false}',
    b'{"online":true}',
    b'{"online":false,"timestamp":"2026-01-01T00:00:00Z"}',
    b"\xff",
    b'{"online":false,"timestamp":5,"x":"' + b"a" * 5000 + b'"}',
]


@pytest.mark.parametrize("payload", UNREADABLE, ids=lambda each: each[:20].decode("latin-1"))
def test_what_does_not_read_on_the_own_topic_is_answered_like_an_offline(payload):
    host = connected()
    assert host.received(payload) == host.birth()
    assert not host.outdated
    host.stop(NOW + 1)
    assert host.received(payload, 1_000.0) is None
    assert HostState("historian").received(payload) is None


@pytest.mark.parametrize("payload", [*UNREADABLE, encode(State(False, NOW - 1000))])
def test_what_the_server_kept_is_not_answered_whenever_it_is_delivered(payload):
    host = HostState("historian")
    host.connect(NOW)
    assert host.received(payload, retained=True) is None
    host.birth()
    assert host.received(payload, retained=True) is None  # two subscriptions overlap
    assert host.received(payload, retained=True) is None
    assert host.due(1_000.0) is None
    assert host.answers == 0


def test_another_hosts_birth_is_counted_and_not_answered():
    host = connected()
    assert host.received(encode(State(True, NOW + 5))) is None
    assert host.received(encode(State(True, NOW - 5))) is None
    assert host.due(1_000.0) is None
    assert (host.foreign_births, host.last_foreign_ms) == (2, NOW - 5)


def test_another_hosts_birth_does_not_make_this_one_outdated_but_its_end_does():
    host = connected()
    host.received(encode(State(True, NOW + 5)))
    assert not host.outdated
    assert host.received(encode(State(False, NOW + 9)), 1.0) == host.birth()
    assert host.outdated
    # Edge nodes ignore an answer of the other one that is older than its end.
    host.received(encode(State(True, NOW + 5)))
    assert host.outdated
    host.received(encode(State(True, NOW + 9)))
    assert not host.outdated
    assert content(host.connect(NOW))["timestamp"] == NOW + 10


def test_own_births_are_known_from_every_connection_and_every_server():
    own = OwnTimestamps()
    own.add(NOW - 1_000)  # of an earlier process
    one, two = HostState("historian", 0, own), HostState("historian", 0, own)
    for host in (one, two):
        host.connect(NOW)
        host.birth()
        host.lost()
        host.connect(NOW + 7)
        host.birth()
    for timestamp_ms in (NOW - 1_000, NOW, NOW + 7):
        one.received(encode(State(True, timestamp_ms)))
    one.received(encode(State(True, NOW - 1_000)), retained=True)
    assert one.foreign_births == 0
    one.received(encode(State(True, NOW + 1)), retained=True)
    assert one.foreign_births == 1


def test_two_hosts_of_one_id_never_start_a_war():
    """All that each says reaches both; each renews its connection when it has to."""
    hosts = [HostState("historian"), HostState("historian")]
    said = []

    def say(publish):
        said.append(publish)
        for host in hosts:
            answer = host.received(publish.payload, clock)
            if answer is not None:
                say(answer)

    clock = 0.0
    for later, host in enumerate(hosts):
        host.connect(NOW + later)
    for host in hosts:
        say(host.birth())
    assert [host.foreign_births for host in hosts] == [1, 1]
    for _ in range(20):  # an hour of looks
        clock += 180.0
        for host in hosts:
            due = host.due(clock)
            if due is not None:
                say(due)
            if host.outdated:
                say(host.stop(NOW + int(clock)))
                host.connect(NOW + int(clock))
                say(host.birth())
    assert len(said) == 2
    # One leaves in order and comes back: the other answers, and no more comes of it.
    say(hosts[0].stop(NOW + 4_000_000))
    hosts[0].connect(NOW + 4_000_001)
    say(hosts[0].birth())
    assert [parse(each.payload).online for each in said[2:]] == [False, True, True]
    assert not any(host.outdated for host in hosts)


def test_its_own_birth_is_not_answered():
    host = connected()
    assert host.received(host.birth().payload) is None
    assert not host.outdated


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


# Two hosts with one MQTT client id, of which the server keeps one connected


def again(kept, *, first=True):
    """A host that connects again, and hears what the server kept meanwhile."""
    host = connected() if first else HostState("historian")
    host.lost()
    host.connect(NOW + 10)
    host.received(kept, retained=True)
    return host


def offline(timestamp_ms):
    return encode(State(online=False, timestamp_ms=timestamp_ms))


def test_a_host_knows_that_it_has_thrown_another_one_out_by_the_will_of_that():
    assert again(offline(NOW + 5)).displaced


@pytest.mark.parametrize(
    "kept",
    [offline(NOW), offline(NOW - 1), encode(State(online=True, timestamp_ms=NOW + 5)), b"OFFLINE"],
    ids=["its own will", "one from before", "one that lives", "no STATE"],
)
def test_what_else_the_server_keeps_does_not_say_so(kept):
    assert not again(kept).displaced


def test_nor_does_anything_before_the_first_connection_or_the_own_end():
    assert not again(offline(NOW + 5), first=False).displaced
    host = connected()
    own = host.stop(NOW + 5)
    host.connect(NOW + 10)
    host.received(own.payload, retained=True)
    assert not host.displaced


def test_nor_does_the_end_of_the_host_at_another_server_that_a_bridge_carries():
    own = OwnTimestamps()
    here, there = (HostState("historian", own=own) for _ in range(2))
    here.connect(NOW)
    there.connect(NOW + 1)
    ended = there.stop(NOW + 5)
    here.lost()
    here.connect(NOW + 10)
    here.received(ended.payload, retained=True)
    assert not here.displaced


def test_it_is_forgotten_with_the_connection():
    host = again(offline(NOW + 5))
    host.connect(NOW + 20)
    assert not host.displaced
