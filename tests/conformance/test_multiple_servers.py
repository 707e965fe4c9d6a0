"""One host at two MQTT servers (the kit's MultipleBrokerTest)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest
from end_to_end.consumer_process import configuration, consumer
from end_to_end.world import local_zerobus
from support.services import PATIENCE, mosquitto, wait_until

from conformance.assertions import Seen, tck
from conformance.mqtt_packets import Publish, Subscribe
from conformance.observer import Arrival, Observer, kept, observing, state_of
from conformance.plant import HOST_ID, STATE
from conformance.recording_proxy import Connection, RecordingProxy, recording_proxy
from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget

WIRE = (Seen.WIRE,)
BOTH = (Seen.WIRE, Seen.SUBSCRIBER)


@dataclass
class Site:
    """One of the servers, and what the host said there."""

    port: int
    proxy: RecordingProxy
    observer: Observer
    before_the_loss: Arrival | None = None
    after_the_loss: Arrival | None = None

    @property
    def sessions(self) -> list[Connection]:
        """The sessions of the host at this server."""
        return self.proxy.connections


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Two servers. The second session at the second one is after a loss of the connection."""
    directory = tmp_path_factory.mktemp("servers")
    with contextlib.ExitStack() as stack:
        zerobus = stack.enter_context(local_zerobus(directory / "lake"))
        both = []
        for _ in range(2):
            server = stack.enter_context(mosquitto(directory))
            proxy = stack.enter_context(recording_proxy(server.port))
            both.append(Site(server.port, proxy, stack.enter_context(observing(server.port))))
        servers = [
            {"name": name, "url": site.proxy.url}
            for name, site in zip(("one", "two"), both, strict=True)
        ]
        config = configuration(directory, "", zerobus, servers=servers, host={"id": HOST_ID})
        process = stack.enter_context(consumer(directory, config))
        process.start_ready()
        for index, site in enumerate(both, start=1):
            fleet = Gateways(
                MqttTarget(f"mqtt://127.0.0.1:{site.port}"),
                2,
                10,
                gateway_index=index,
                options=EdgeNodeOptions(primary_host_id=HOST_ID),
            )
            fleet.start()
            stack.callback(fleet.stop, PATIENCE)
            assert fleet.wait_online(PATIENCE)
        for site in both:
            site.before_the_loss = kept(site.port, STATE)

        both[1].sessions[0].cut()
        wait_until(lambda: len(both[1].sessions) == 2, what="a second session")
        process.wait_for(lambda: process.answers("/readyz"), "ready again")
        wait_until(
            lambda: (
                kept(both[1].port, STATE).payload != both[1].before_the_loss.payload
                and state_of(kept(both[1].port, STATE).payload)["online"]
            ),
            what="a new STATE",
        )
        for site in both:
            site.after_the_loss = kept(site.port, STATE)
        assert process.stop() == 0
        wait_until(lambda: all(each.ended for site in both for each in site.sessions), what="ends")
        yield both


def published(session):
    """What the host published in a session."""
    return [each.packet for each in session.sent if isinstance(each.packet, Publish)]


def timestamp(payload):
    """The timestamp of a STATE."""
    at_ms = state_of(payload)["timestamp"]
    assert type(at_ms) is int
    return at_ms


@tck(
    "operational-behavior-host-application-multi-server-timestamp",
    seen=BOTH,
    checks="Each server has its own timestamp: that of the will of its session. When the "
    "connection to one is lost, a new session there begins with a newer one; session, timestamp "
    "and retained STATE at the other stay as they are.",
)
def test_every_server_has_its_own_timestamp(sites):
    one, two = sites
    assert [len(site.sessions) for site in sites] == [1, 2]
    for site in sites:
        wills = [timestamp(session.connect.will.payload) for session in site.sessions]
        assert wills == sorted(set(wills))
        for session, will_ms in zip(site.sessions, wills, strict=True):
            births = [each for each in published(session) if state_or_none(each) is True]
            assert {timestamp(each.payload) for each in births} == {will_ms}
    assert one.before_the_loss.payload == one.after_the_loss.payload
    assert timestamp(two.after_the_loss.payload) > timestamp(two.before_the_loss.payload)


def state_or_none(packet):
    """What a packet says about the host: online, offline, or nothing."""
    return state_of(packet.payload)["online"] if packet.topic == STATE else None


@tck(
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
    seen=BOTH,
    checks="The host has a retained STATE birth at each server, and is subscribed to STATE there; "
    "edge nodes at each that wait for it as their primary host come online.",
)
def test_every_server_has_a_state(sites):
    for index, site in enumerate(sites, start=1):
        for session in site.sessions:
            [asked] = [each.packet for each in session.sent if isinstance(each.packet, Subscribe)]
            assert STATE in {topic for topic, _ in asked.filters}
        assert site.before_the_loss.retain
        assert state_of(site.before_the_loss.payload)["online"] is True
        topic = f"spBv1.0/Plant {index}/NBIRTH/Line A"
        births = [each for each in site.observer.arrivals if each.topic == topic]
        online = site.observer.on(STATE)[0]
        assert births
        assert online.at <= births[0].at


@tck(
    "operational-behavior-primary-application-state-with-multiple-servers-state",
    seen=WIRE,
    checks="In every session at every server, also in one after a loss of the connection, the "
    "STATE birth is the first message that the host publishes.",
)
def test_the_birth_is_first_at_every_server(sites):
    sessions = [session for site in sites for session in site.sessions]
    assert len(sessions) == 3
    for session in sessions:
        first = published(session)[0]
        assert (first.topic, first.qos, first.retain) == (STATE, 1, True)
        assert state_of(first.payload)["online"] is True
