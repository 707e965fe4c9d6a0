"""How the host begins a session (the kit's SessionEstablishmentTest), over both protocols."""

from __future__ import annotations

import pytest

from conformance.assertions import Seen, tck
from conformance.mqtt_packets import (
    SESSION_EXPIRY_INTERVAL,
    VERSION_5,
    VERSION_311,
    Connack,
    Puback,
    Publish,
    Suback,
    Subscribe,
)
from conformance.observer import state_of
from conformance.plant import STATE

WIRE = (Seen.WIRE,)
BOTH = (Seen.WIRE, Seen.SUBSCRIBER)


def sessions(lives):
    """All sessions of all lives: each assertion holds for every one of them."""
    found = [session for life in lives for session in life.sessions]
    assert len(found) == 6
    return found


def check_state(payload, *, online):
    """A STATE has exactly the two keys that the specification names, and UTC milliseconds."""
    content = state_of(payload)
    assert content.keys() == {"online", "timestamp"}
    assert content["online"] is online
    assert type(content["timestamp"]) is int
    return content["timestamp"]


# ---------------------------------------------------------------------- CONNECT and its will


@tck(
    "operational-behavior-host-application-connect-will",
    "payloads-state-will-message",
    "host-topic-phid-death-required",
    seen=WIRE,
    checks="The CONNECT of every session carries a will; after a crash the server publishes it.",
)
def test_every_connect_carries_a_will(lives):
    assert all(session.connect.will is not None for session in sessions(lives))
    for life in lives:
        assert life.kept["crashed"].payload == life.crashed.connect.will.payload


@tck(
    "host-topic-phid-death-topic",
    "operational-behavior-host-application-connect-will-topic",
    seen=WIRE,
    checks="The will's topic is `spBv1.0/STATE/` and the configured host id.",
)
def test_the_will_is_for_the_hosts_state_topic(lives):
    assert {session.connect.will.topic for session in sessions(lives)} == {STATE}


@tck(
    "host-topic-phid-death-payload",
    "operational-behavior-host-application-connect-will-payload",
    "payloads-state-will-message-payload",
    seen=WIRE,
    checks="The will is UTF-8 JSON with the keys `online`, false, and `timestamp`, an integer, "
    "and no others.",
)
def test_the_will_says_offline(lives):
    for session in sessions(lives):
        check_state(session.connect.will.payload, online=False)


@tck(
    "host-topic-phid-death-qos",
    "operational-behavior-host-application-connect-will-qos",
    "payloads-state-will-message-qos",
    seen=BOTH,
    checks="The will has QoS 1 in every CONNECT, and as subscribers get it after a crash.",
)
def test_the_will_has_qos_1(lives):
    assert {session.connect.will.qos for session in sessions(lives)} == {1}
    for life in lives:
        will = life.crashed.connect.will.payload
        for seen in life.seen.values():
            assert {each.qos for each in seen if each.payload == will} == {1}


@tck(
    "host-topic-phid-death-retain",
    "operational-behavior-host-application-connect-will-retained",
    "payloads-state-will-message-retain",
    seen=BOTH,
    checks="The will is retained by every CONNECT; after a crash a new subscriber gets it.",
)
def test_the_will_is_retained(lives):
    assert {session.connect.will.retain for session in sessions(lives)} == {True}
    for life in lives:
        assert life.kept["crashed"].retain
        assert life.kept["crashed"].payload == life.crashed.connect.will.payload


@tck(
    "host-topic-phid-death-payload-timestamp-connect",
    seen=WIRE,
    checks="The will of every CONNECT has the UTC time at which CONNECT was sent, after the host "
    "was started; only where a STATE with a later time was seen before, one that is later still.",
)
def test_the_will_has_the_time_of_connect(lives):
    for life in lives:
        for session, moment in ((life.stopped, "started"), (life.renewed, "stopped")):
            will_ms = state_of(session.connect.will.payload)["timestamp"]
            assert life.moments_ms[moment] <= will_ms <= session.recorded[0].at_ms
        seen_before = [
            state["timestamp"]
            for each, state in life.states_seen("5")
            if each.at < life.crashed.recorded[0].at
        ]
        will_ms = state_of(life.crashed.connect.will.payload)["timestamp"]
        assert will_ms > max(seen_before)


@tck(
    "message-flow-phid-sparkplug-clean-session-311",
    seen=WIRE,
    checks="Over MQTT 3.1.1 every CONNECT has the Clean Session flag.",
)
def test_sessions_are_clean_over_mqtt_311(lives):
    [life] = [life for life in lives if life.protocol == "3.1.1"]
    for session in life.sessions:
        assert session.connect.version == VERSION_311
        assert session.connect.clean_start


@tck(
    "message-flow-phid-sparkplug-clean-session-50",
    seen=WIRE,
    checks="Over MQTT 5 every CONNECT has the Clean Start flag and a Session Expiry Interval of 0, "
    "which is what the absent property means.",
)
def test_sessions_are_clean_over_mqtt_5(lives):
    [life] = [life for life in lives if life.protocol == "5"]
    for session in life.sessions:
        assert session.connect.version == VERSION_5
        assert session.connect.clean_start
        assert session.connect.properties.get(SESSION_EXPIRY_INTERVAL, 0) == 0


# ---------------------------------------------------------------------- order


@tck(
    "message-flow-phid-sparkplug-subscription",
    "host-topic-phid-birth-sub-required",
    "payloads-state-subscribe",
    seen=WIRE,
    checks="Right after CONNACK one SUBSCRIBE names the own STATE topic and `spBv1.0/#`; the "
    "server has granted both before the host publishes anything.",
)
def test_the_host_subscribes_before_it_publishes(lives):
    for session in sessions(lives):
        [connack] = session.positions(Connack)
        [asked] = session.positions(Subscribe)
        [granted] = session.positions(Suback)
        own = [each for each in session.positions(Publish) if session.recorded[each].from_client]
        assert connack < asked < granted < own[0]
        assert session.recorded.index(session.sent[1]) == asked
        request, answer = (session.recorded[at].packet for at in (asked, granted))
        # Births that Sparkplug-aware servers keep, and the count of what the server discards,
        # are asked for beside what must be.
        topics = [topic for topic, _ in request.filters]
        assert set(topics) == {
            STATE,
            "spBv1.0/#",
            "$sparkplug/certificates/spBv1.0/#",
            "$SYS/broker/publish/messages/dropped",
        }
        assert answer.packet_id == request.packet_id
        assert len(answer.reasons) == len(topics)
        assert all(reason <= 2 for reason in answer.reasons)


@tck(
    "principles-birth-certificates-order",
    "host-topic-phid-birth-message",
    seen=WIRE,
    checks="The first message that the host publishes in a session is its birth: no command and "
    "no other STATE comes before.",
)
def test_the_birth_is_the_first_message(lives):
    for session in sessions(lives):
        assert session.published[0] == session.births[0]


@tck(
    "host-topic-phid-birth-required",
    "message-flow-phid-sparkplug-state-publish",
    "operational-behavior-host-application-connect-birth",
    "payloads-state-birth",
    seen=BOTH,
    checks="Every session has a birth, which is what the host sends next after the server's "
    "SUBACK; subscribers of both protocol versions get it.",
)
def test_every_session_has_a_birth(lives):
    for session in sessions(lives):
        [granted] = session.positions(Suback)
        said_next = next(each for each in session.recorded[granted:] if each.from_client)
        assert said_next.packet == session.births[0]
    for life in lives:
        for protocol in life.seen:
            births = {
                state["timestamp"] for _, state in life.states_seen(protocol) if state["online"]
            }
            assert births == {
                state_of(session.births[0].payload)["timestamp"] for session in life.sessions
            }
            assert len(births) == 3


# ---------------------------------------------------------------------- the birth itself


@tck(
    "host-topic-phid-birth-topic",
    "operational-behavior-host-application-connect-birth-topic",
    seen=BOTH,
    checks="Every birth, also one that is repeated, is published on `spBv1.0/STATE/` and the "
    "configured host id; the host publishes on no other STATE topic.",
)
def test_the_birth_is_published_on_the_hosts_state_topic(lives):
    for session in sessions(lives):
        assert session.births
        assert {each.topic for each in session.states} == {STATE}
    for life in lives:
        for seen in life.seen.values():
            assert {each.topic for each in seen if "STATE" in each.topic} == {STATE}


@tck(
    "host-topic-phid-birth-payload",
    "operational-behavior-host-application-connect-birth-payload",
    "payloads-state-birth-payload",
    "message-flow-phid-sparkplug-state-publish-payload",
    seen=BOTH,
    checks="Every birth is UTF-8 JSON with the keys `online`, true, and `timestamp`, an integer, "
    "and no others; subscribers get exactly these bytes.",
)
def test_the_birth_says_online(lives):
    for life in lives:
        published = {each.payload for session in life.sessions for each in session.births}
        for payload in published:
            check_state(payload, online=True)
        for protocol in life.seen:
            assert {
                each.payload for each, state in life.states_seen(protocol) if state["online"]
            } == published


@tck(
    "host-topic-phid-birth-qos",
    "operational-behavior-host-application-connect-birth-qos",
    seen=BOTH,
    checks="Every birth has QoS 1, as published and as subscribers get it.",
)
def test_the_birth_has_qos_1(lives):
    for session in sessions(lives):
        assert {each.qos for each in session.births} == {1}
    for life in lives:
        for protocol in life.seen:
            states = life.states_seen(protocol)
            assert {each.qos for each, state in states if state["online"]} == {1}


@tck(
    "host-topic-phid-birth-retain",
    "operational-behavior-host-application-connect-birth-retained",
    seen=BOTH,
    checks="Every birth is published with the retain flag; a new subscriber gets it.",
)
def test_the_birth_is_retained(lives):
    for session in sessions(lives):
        assert {each.retain for each in session.births} == {True}
    for life in lives:
        births = [each for each, state in life.states_seen("5") if state["online"]]
        assert {each.retain for each in births} == {True}
        for moment in ("online", "online again", "renewed"):
            assert life.kept[moment].retain
            assert state_of(life.kept[moment].payload)["online"] is True


@tck(
    "host-topic-phid-birth-payload-timestamp",
    "message-flow-phid-sparkplug-state-publish-payload-timestamp",
    seen=WIRE,
    checks="Every birth of a session has the timestamp of the will in that session's CONNECT, and "
    "every CONNECT a new one.",
)
def test_the_birth_has_the_timestamp_of_the_will(lives):
    for session in sessions(lives):
        will_ms = state_of(session.connect.will.payload)["timestamp"]
        assert {state_of(each.payload)["timestamp"] for each in session.births} == {will_ms}
    for life in lives:
        wills = [state_of(each.connect.will.payload)["timestamp"] for each in life.sessions]
        assert wills == sorted(set(wills))


@tck(
    "message-flow-hid-sparkplug-state-message-delivered",
    seen=BOTH,
    checks="When its STATE arrives with `online` false, the host publishes its birth again: "
    "retained, with the timestamp of the session, and before it sends anything else but "
    "acknowledgements.",
)
def test_a_false_offline_is_answered_with_the_birth(lives):
    for life in lives:
        session = life.stopped
        told = [
            index
            for index, each in enumerate(session.recorded)
            if not each.from_client
            and isinstance(each.packet, Publish)
            and each.packet.topic == STATE
            and state_of(each.packet.payload)["online"] is False
        ]
        answer = next(
            each
            for each in session.recorded[told[0] :]
            if each.from_client and not isinstance(each.packet, Puback)
        )
        assert answer.packet.payload == session.births[0].payload
        assert answer.packet.retain
        for protocol in life.seen:
            said = [state["online"] for _, state in life.states_seen(protocol)]
            assert said[:3] == [True, False, True]


# ---------------------------------------------------------------------- the whole life


@tck(
    "intro-sparkplug-host-state",
    "conformance-primary-host",
    seen=(Seen.SUBSCRIBER,),
    checks="A subscriber is told of each beginning and each end: by a stop, by a new session, by "
    "a crash.",
)
def test_subscribers_are_told_of_every_beginning_and_end(lives):
    for life in lives:
        for protocol in life.seen:
            states = [state for _, state in life.states_seen(protocol)]
            for session in life.sessions:
                born_ms = state_of(session.births[0].payload)["timestamp"]
                about = [
                    index
                    for index, each in enumerate(states)
                    if each["online"] and each["timestamp"] == born_ms
                ]
                after = [each["online"] for each in states[about[-1] + 1 :]]
                assert after[:1] == [False]


@tck(
    "components-ph-state",
    seen=(Seen.SUBSCRIBER,),
    checks="Whoever subscribes at any time is told by the retained STATE whether the host is "
    "online: while it runs, after a stop, in the next run, in a new session, after a crash.",
)
def test_the_kept_state_is_right_at_any_time(lives):
    expected = {
        "online": True,
        "stopped": False,
        "online again": True,
        "renewed": True,
        "crashed": False,
    }
    for life in lives:
        found = {moment: state_of(each.payload)["online"] for moment, each in life.kept.items()}
        assert found == expected
        assert all(each.retain for each in life.kept.values())


@pytest.mark.parametrize("name", ["stopped", "renewed", "crashed"])
def test_what_was_recorded_are_whole_sessions(lives, name):
    for life in lives:
        session = getattr(life, name)
        assert session.sent[0].packet == session.connect
        assert [
            each.packet.reason for each in session.recorded if isinstance(each.packet, Connack)
        ] == [0]
        assert life.exit_code == 0
