"""Targets that need no session: topics, STATE messages, and payloads in JSON."""

from __future__ import annotations

import json
import math

from oracle import Arrival
from oracle.arrivals import Topic as OraclesTopic
from oracle.arrivals import parse_topic as oracle_parse_topic

from fuzz.bounded import assert_bounded
from fuzz.payloads import START_US, arrival, births
from sparkplug.host import host_state
from sparkplug.host.host_state import HostState
from sparkplug.topics import MAX_TOPIC_CHARACTERS, StateTopic, Topic, parse_topic


def topics(data: bytes) -> None:
    """A topic is read as the oracle reads it, and what was read is the topic again."""
    # Servers refuse to publish to wildcards, and what is not UTF-8.
    text = data.decode("utf-8", errors="replace").translate({ord("+"): None, ord("#"): None})
    read = parse_topic(text)
    expected = oracle_parse_topic(text)
    if isinstance(read, Topic):
        assert str(read) == text
        assert isinstance(expected, OraclesTopic)
        found = (read.group_id, read.message_type, read.edge_node_id, read.device_id)
        assert found == (expected.group, expected.verb, expected.node, expected.device)
    elif isinstance(read, StateTopic):
        assert str(read) == text
        assert expected is None
    elif len(text) > MAX_TOPIC_CHARACTERS:
        assert read == "bad_topic"
    else:
        assert read == expected
    # And in a fleet: with and without neighbours, as first and as last.
    odd = Arrival(text, births()[0].payload, START_US)
    assert_bounded([[odd], births(), [*births(), odd, *births()]])


TOPICS = [
    b"spBv1.0/Plant/NBIRTH/Edge 1",
    b"spBv1.0/Plant/DDATA/Edge 1/Boiler",
    b"spBv1.0/STATE/host",
    b"spBv1.0/STATE/NDATA/STATE",
    b"spBv1.0/Plant/NDEATH/Edge 1/Boiler",
    b"spBv1.0//NDATA/x",
    "spBv1.0/Werk Süd/DRECORD/エッジ/x".encode(),
    b"spBv1.0/a/b/c/d/e",
    b"spBv1.0/" + b"x" * 3000 + b"/NDATA/y",
]


YEAR_9999_MS = 253_402_300_799_999


def states(data: bytes) -> None:
    """A host keeps to its rules, whatever comes on its own topic at whatever moment.

    An input is a list of events: a byte that says which, for a message the length in a byte,
    and its payload.
    """
    host = HostState("historian")
    connected = online = unanswered = False
    largest = now = position = 0
    clock, answered_at = 0.0, -math.inf
    while position < len(data):
        event = data[position] % 8
        now += data[position] // 8
        position += 1
        answer = None
        if event == 0:
            before = host.last_timestamp_ms
            will = host_state.parse(host.connect(now).payload)
            assert will is not None
            assert not will.online
            assert will.timestamp_ms > before
            online, largest = False, will.timestamp_ms
            connected = True
            unanswered, answered_at = False, -math.inf
        elif event == 1 and connected:
            birth = host_state.parse(host.birth().payload)
            assert birth == (True, largest)
            online = True
        elif event == 2:
            death = host_state.parse(host.stop(now).payload)
            assert death is not None
            assert not death.online
            online, connected = False, False
        elif event == 3:
            host.lost()
            online, connected = False, False
        else:
            length = data[position] if position < len(data) else 0
            payload = data[position + 1 : position + 1 + length]
            position += 1 + length
            before = host.last_timestamp_ms
            kept = event == 5  # by the server, from before
            clock += 60.0 if event == 7 else 0.0
            answer = host.received(payload, clock, retained=kept)
            state = host_state.parse(payload)
            believed = state is not None and state.timestamp_ms <= YEAR_9999_MS
            assert host.last_timestamp_ms == (
                max(before, state.timestamp_ms) if believed else before
            )
            says_online = state is not None and state.online
            if says_online:
                unanswered = unanswered and kept
            elif online and not kept:
                unanswered = True
            is_due = unanswered and clock - answered_at >= host_state.ANSWER_PAUSE
            assert (answer is not None) == (online and is_due and not (says_online or kept))
            if answer is not None:
                unanswered, answered_at = False, clock
        if answer is not None:
            assert json.loads(answer.payload) == {"online": True, "timestamp": largest}
            assert (answer.topic, answer.qos, answer.retain) == ("spBv1.0/STATE/historian", 1, True)


def _message(payload: bytes) -> bytes:
    return bytes([4, len(payload)]) + payload


STATES = [
    bytes([0, 1]) + _message(b'{"online":false,"timestamp":5}') + bytes([2]),
    bytes([0, 1]) + _message(b'{"online":true,"timestamp":1e308}') + bytes([3, 0, 1]),
    bytes([0]) + _message(b'{"online":false,"timestamp":9223372036854775807}') + bytes([1]),
    bytes([0, 1]) + _message(b"OFFLINE") + _message(b'{"online":0,"timestamp":-1}'),
    bytes([0, 1]) + _message(b'{"online":false,"timestamp":NaN}') + _message(b"[" * 200),
]


def json_payloads(data: bytes) -> None:
    """Any text as a payload costs no more than itself, and what is kept stays bounded."""
    for verb in ("NDATA", "DDATA", "NBIRTH", "DBIRTH", "NDEATH"):
        other = arrival("NDATA", b"\x18\x01", node="Other")
        assert_bounded([births(), [arrival(verb, data), other]])


_METRIC = {"name": "Tag 10", "alias": 10, "timestamp": 1, "dataType": "Double", "value": 1.5}
JSON = [
    json.dumps(each, ensure_ascii=False).encode()
    for each in (
        {"timestamp": 1, "seq": 2, "metrics": [_METRIC]},
        {"timestamp": "1", "seq": -1, "metrics": [{**_METRIC, "value": "NaN"}, {"isNull": True}]},
        {"metrics": [{**_METRIC, "dataType": "Int8Array", "value": [1, -2, 3]}]},
        {
            "metrics": [
                {
                    "name": "Set",
                    "type": "DataSet",
                    "value": {
                        "columnNames": ["a", "b"],
                        "types": ["Int32", "String"],
                        "rows": [[1, "x"], [None, "Grüße"]],
                    },
                },
                {
                    "name": "Machine",
                    "type": "Template",
                    "value": {"reference": "M", "isDefinition": False, "metrics": [_METRIC]},
                },
                {
                    "name": "Level",
                    "type": 10,
                    "value": 1,
                    "properties": {"Quality": {"type": "Int32", "value": 192}, "engUnit": "bar"},
                    "metaData": {"fileName": "x", "size": 3, "md5": "00"},
                },
            ]
        },
        {"uuid": "SPBV1.0_COMPRESSED", "body": "eJwDAAAAAAE=", "metrics": []},
        {"timestamp": 10**30, "seq": 2**64, "metrics": [{"name": "x", "value": 10**400}]},
    )
]
