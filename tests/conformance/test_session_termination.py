"""How the host ends a session (the kit's SessionTerminationTest), over both protocols.

The kit also lists operational-behavior-host-application-connect-birth here; its test is
with the beginning of a session.
"""

from __future__ import annotations

from conformance.assertions import Seen, tck
from conformance.mqtt_packets import Disconnect, Puback, Publish
from conformance.observer import state_of
from conformance.plant import STATE

WIRE = (Seen.WIRE,)
BOTH = (Seen.WIRE, Seen.SUBSCRIBER)


def ended_by_the_host(lives):
    """Sessions that the host ended itself: told to stop, and to begin a new one."""
    return [session for life in lives for session in (life.stopped, life.renewed)]


@tck(
    "operational-behavior-host-application-termination",
    seen=BOTH,
    checks="Whenever the host ends a session itself, by a stop or to begin a new one, it publishes "
    "a death before, and subscribers get it.",
)
def test_whenever_the_host_leaves_it_says_so_before(lives):
    for session in ended_by_the_host(lives):
        assert len(session.deaths) == 1
    for life in lives:
        for session in (life.stopped, life.renewed):
            for protocol in life.seen:
                payloads = [each.payload for each, _ in life.states_seen(protocol)]
                assert session.deaths[0].payload in payloads


@tck(
    "operational-behavior-host-application-disconnect-intentional",
    seen=WIRE,
    checks="After the death, acknowledged by the server, the host publishes nothing more; its last "
    "packet is DISCONNECT with reason 0, so that the server drops the will.",
)
def test_disconnect_follows_the_death(lives):
    for session in ended_by_the_host(lives):
        [death] = session.deaths
        died = next(i for i, each in enumerate(session.recorded) if each.packet == death)
        later = session.recorded[died + 1 :]
        assert not [each for each in later if each.from_client and isinstance(each.packet, Publish)]
        acknowledged = [
            i
            for i, each in enumerate(later)
            if not each.from_client
            and isinstance(each.packet, Puback)
            and each.packet.packet_id == death.packet_id
        ]
        left = [i for i, each in enumerate(later) if isinstance(each.packet, Disconnect)]
        assert len(acknowledged) == len(left) == 1
        assert acknowledged < left
        assert session.disconnect == Disconnect(0)


@tck(
    "host-topic-phid-death-payload-timestamp-disconnect-clean",
    seen=WIRE,
    checks="The death of a stop has the UTC time of the stop as its timestamp; no death of the "
    "host has one that is earlier than a STATE before it.",
)
def test_the_death_has_the_time_of_the_stop(lives):
    for life in lives:
        [death] = life.stopped.deaths
        died_ms = state_of(death.payload)["timestamp"]
        assert life.moments_ms["stop"] <= died_ms <= life.moments_ms["stopped"]
    for session in ended_by_the_host(lives):
        died_ms = state_of(session.deaths[0].payload)["timestamp"]
        assert all(state_of(each.payload)["timestamp"] <= died_ms for each in session.states)


@tck(
    "host-topic-phid-death-payload-timestamp-disconnect-with-no-disconnect-packet",
    seen=BOTH,
    checks="Where the host ends a session itself, by a stop or to begin a new one, it sends "
    "DISCONNECT. A session that a crash ends without one has no death of the host; the will says "
    "it, with the timestamp of CONNECT.",
)
def test_only_a_crash_ends_a_session_without_disconnect(lives):
    for session in ended_by_the_host(lives):
        assert session.disconnect is not None
    for life in lives:
        crashed = life.crashed
        assert crashed.disconnect is None
        assert crashed.deaths == []
        for protocol in life.seen:
            last, _ = life.states_seen(protocol)[-1]
            assert last.payload == crashed.connect.will.payload


@tck(
    "operational-behavior-host-application-death-topic",
    seen=BOTH,
    checks="Every death is published on `spBv1.0/STATE/` and the configured host id.",
)
def test_the_death_is_published_on_the_hosts_state_topic(lives):
    for session in ended_by_the_host(lives):
        assert [each.topic for each in session.deaths] == [STATE]
    for life in lives:
        for seen in life.seen.values():
            died = [each.topic for each in seen if each.payload == life.stopped.deaths[0].payload]
            assert died == [STATE]


@tck(
    "operational-behavior-host-application-death-payload",
    seen=BOTH,
    checks="Every death is UTF-8 JSON with the keys `online`, false, and `timestamp`, an integer, "
    "and no others.",
)
def test_the_death_says_offline(lives):
    for session in ended_by_the_host(lives):
        for each in session.deaths:
            content = state_of(each.payload)
            assert content.keys() == {"online", "timestamp"}
            assert content["online"] is False
            assert type(content["timestamp"]) is int
        assert session.deaths
    for life in lives:
        assert state_of(life.kept["stopped"].payload) == state_of(life.stopped.deaths[0].payload)


@tck(
    "operational-behavior-host-application-death-qos",
    seen=BOTH,
    checks="Every death has QoS 1, as published and as subscribers get it.",
)
def test_the_death_has_qos_1(lives):
    for session in ended_by_the_host(lives):
        assert [each.qos for each in session.deaths] == [1]
    for life in lives:
        for seen in life.seen.values():
            death = life.stopped.deaths[0].payload
            assert [each.qos for each in seen if each.payload == death] == [1]


@tck(
    "operational-behavior-host-application-death-retained",
    seen=BOTH,
    checks="Every death is published with the retain flag; after a stop a new subscriber gets it.",
)
def test_the_death_is_retained(lives):
    for session in ended_by_the_host(lives):
        assert [each.retain for each in session.deaths] == [True]
    for life in lives:
        death = life.stopped.deaths[0].payload
        assert [each.retain for each in life.seen["5"] if each.payload == death] == [True]
        assert life.kept["stopped"].retain
        assert life.kept["stopped"].payload == death
