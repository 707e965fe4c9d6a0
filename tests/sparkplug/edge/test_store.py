"""The edge node's store and forward, and how it obeys its primary host."""

from __future__ import annotations

import pytest
from support.edge_node_world import HOST, NOW, edge_node, online, read, values, verbs

from sparkplug.actions import Disconnect, Publish
from sparkplug.edge import Session, Update
from sparkplug.names import BD_SEQ
from sparkplug.state_message import State, encode


def speed(value: float, at: int) -> list[Update]:
    return [Update("Speed", value, at)]


def history_of(actions) -> list[tuple[float, int, bool]]:
    """Value, time and is_historical of every DDATA metric after the births."""
    birth = next(read(each) for each in actions if "/DBIRTH/" in each.topic)
    return [
        (each.value, each.timestamp, each.is_historical)
        for action in actions
        if "/DDATA/" in action.topic
        for each in read(action, birth).metrics
    ]


def obeying() -> tuple:
    """An edge node that waits for its host, and what the host's birth made it publish."""
    node = edge_node(primary_host_id="historian")
    node.connect(NOW)
    assert node.connected(NOW) == []
    return node, node.message(HOST, encode(State(online=True, timestamp_ms=NOW)), NOW + 1)


def test_what_changes_without_connection_is_flushed_after_the_births_as_history():
    node, _ = online()
    node.disconnected()
    for i in range(3):
        assert node.update("Pump", speed(float(i), NOW + i), NOW + i) == []
    assert len(node.store) == 3
    node.connect(NOW + 10)
    actions = node.connected(NOW + 10)

    assert verbs(actions) == ["NBIRTH", "DBIRTH", "DDATA"]
    assert values(read(actions[1]))["Speed"] == 2.0
    assert history_of(actions) == [(float(i), NOW + i, True) for i in range(3)]
    assert [read(each, read(actions[1])).seq for each in actions] == [0, 1, 2]
    assert len(node.store) == 0


def test_the_flush_comes_in_messages_of_bounded_size():
    node = edge_node(max_metrics_per_message=10)
    for i in range(25):
        node.update("Pump", speed(float(i), NOW + i), NOW + i)
    node.connect(NOW)
    actions = node.connected(NOW)
    assert [len(each.observations) for each in actions[2:]] == [10, 10, 5]
    assert [each[0] for each in history_of(actions)] == [float(i) for i in range(25)]


def test_a_full_store_drops_the_oldest_and_counts_them():
    node = edge_node(store_capacity=5)
    for i in range(8):
        node.update("Pump", speed(float(i), NOW + i), NOW + i)
    assert (len(node.store), node.store.dropped) == (5, 3)
    node.connect(NOW)
    assert [each[0] for each in history_of(node.connected(NOW))] == [3.0, 4.0, 5.0, 6.0, 7.0]


def test_data_that_was_not_sent_is_history_of_the_next_connection_in_order_of_time():
    node, _ = online()
    (first,) = node.update("Pump", speed(1.0, NOW + 1), NOW + 1)
    (second,) = node.update("Pump", speed(2.0, NOW + 2), NOW + 2)
    node.disconnected()
    node.update("Pump", speed(3.0, NOW + 3), NOW + 3)
    node.not_sent(second)
    node.not_sent(first)
    node.connect(NOW + 4)
    assert [each[0] for each in history_of(node.connected(NOW + 4))] == [1.0, 2.0, 3.0]


def test_births_that_were_not_sent_are_not_stored():
    node, births = online()
    node.disconnected()
    for birth in births:
        node.not_sent(birth)
    assert len(node.store) == 0


@pytest.mark.parametrize(("rolling_ms", "repeated"), [(0, []), (1_000, [2.0, 3.0])])
def test_a_rolling_history_sends_again_what_may_have_been_lost(rolling_ms, repeated):
    node, _ = online(rolling_history_ms=rolling_ms)
    for value, at in ((1.0, NOW), (2.0, NOW + 1_500), (3.0, NOW + 2_000)):
        (publish,) = node.update("Pump", speed(value, at), at)
        node.sent(publish, at)
    node.disconnected()
    node.connect(NOW + 3_000)
    assert [each[0] for each in history_of(node.connected(NOW + 3_000))] == repeated


def test_without_its_primary_host_a_node_subscribes_to_state_and_waits():
    node = edge_node(primary_host_id="historian")
    assert [each.topic_filter for each in node.connect(NOW).subscriptions][-1] == HOST
    assert node.connected(NOW) == []
    assert node.session is Session.CONNECTING
    assert node.update("Pump", speed(1.0, NOW), NOW) == []
    assert len(node.store) == 1


def test_message_flow_edge_node_birth_publish_phid_wait_births_when_the_host_is_online():
    node, actions = obeying()
    assert verbs(actions) == ["NBIRTH", "DBIRTH"]
    assert node.session is Session.ONLINE


def test_another_hosts_state_is_ignored():
    node = edge_node(primary_host_id="historian")
    node.connect(NOW)
    state = encode(State(online=True, timestamp_ms=NOW))
    assert node.message("spBv1.0/STATE/other", state, NOW) == []


def test_message_flow_edge_node_birth_publish_phid_offline_ends_the_session():
    node, _ = obeying()
    ndeath, disconnect = node.message(HOST, encode(State(False, NOW)), NOW + 2)

    assert verbs([ndeath]) == ["NDEATH"]
    assert read(ndeath).bd_seq_metric.value == 0
    assert isinstance(disconnect, Disconnect)
    assert node.session is Session.OFFLINE


def test_an_offline_state_older_than_the_last_known_is_ignored():
    node, _ = obeying()
    assert node.message(HOST, encode(State(False, NOW - 1)), NOW + 2) == []
    assert node.session is Session.ONLINE


def test_an_online_state_older_than_the_last_known_is_ignored():
    node, _ = obeying()
    node.message(HOST, encode(State(False, NOW + 50)), NOW + 50)
    node.connect(NOW + 60)
    assert node.message(HOST, encode(State(True, NOW + 49)), NOW + 60) == []
    assert node.session is Session.CONNECTING


@pytest.mark.parametrize("payload", [b"", b"OFFLINE", b'{"online":false}', b"\xff\xfe"])
def test_a_state_that_cannot_be_read_changes_nothing(payload):
    node, _ = obeying()
    assert node.message(HOST, payload, NOW + 2) == []
    assert node.session is Session.ONLINE


def test_data_of_the_hosts_absence_follows_the_next_births_with_a_new_bdseq():
    node, _ = obeying()
    node.message(HOST, encode(State(False, NOW + 10)), NOW + 10)
    node.disconnected()
    node.update("Pump", speed(1.0, NOW + 11), NOW + 11)
    node.connect(NOW + 12)
    assert node.message(HOST, encode(State(False, NOW + 10)), NOW + 13) == []  # retained
    node.update("Pump", speed(2.0, NOW + 14), NOW + 14)
    actions = node.message(HOST, encode(State(True, NOW + 15)), NOW + 15)

    assert verbs(actions) == ["NBIRTH", "DBIRTH", "DDATA"]
    assert values(read(actions[0]))[BD_SEQ] == 1
    assert history_of(actions) == [(1.0, NOW + 11, True), (2.0, NOW + 14, True)]
    assert all(isinstance(each, Publish) for each in actions)


def test_the_hosts_repeated_birth_causes_no_second_births():
    node, _ = obeying()
    assert node.message(HOST, encode(State(True, NOW)), NOW + 2) == []
