"""Drills over HTTP: who may ask for one, what is refused, and what is told."""

from __future__ import annotations

import logging

import pytest
from support.columnar import message, tag
from support.http_side import INGEST, KEYS, OPERATOR, READER, http_side

from consumer.broker import InboxBatch
from consumer.spool import DrillResult
from sparkplug import MessageBatch

NOON_MS = 1_796_040_000_000


@pytest.fixture
def plant(tmp_path):
    """An operator's client of a consumer that knows two edge nodes; as if it were connected."""
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        operator = client.with_key(OPERATOR)
        operator.consumer = client.consumer
        births = [message("NBIRTH", tag("Ramp", 0), node=node) for node in ("Edge-1", "Edge-2")]
        client.consumer.decoding._take(InboxBatch({0: MessageBatch(births)}))
        [connection] = client.consumer.connections
        connection.connected.set()
        yield operator


def result(node, verdict, at_ms=NOON_MS):
    kept_ms = at_ms if verdict == "kept" else None
    return DrillResult("plant", "Plant", node, at_ms, verdict, "why", 7, 1, 2, 45.0, kept_ms)


def know(plant, *results):
    plant.consumer.drill._results["plant"] = {
        (each.group_id, each.edge_node_id): each for each in results
    }


def test_before_it_is_told_who_may_lose_data_and_that_nothing_is_done_without_a_yes(plant, caplog):
    caplog.set_level(logging.INFO, "consumer.audit")
    told = plant.get("/api/drill").json()
    assert (told["state"], told["refusal"], told["last"]) == ("idle", "", None)
    assert told["may_lose"] == {
        "total": 2,
        "items": [
            {"server": "plant", "group": "Plant", "node": node} for node in ("Edge-1", "Edge-2")
        ],
    }
    refused = plant.post("/api/actions/drill", {"seconds": 30})
    assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")
    assert refused.json()["detail"] == (
        "2 edge nodes may lose what they publish in the 30 s (GET /api/drill names them): say yes"
    )
    assert plant.get("/api/drill").json()["state"] == "idle"
    [record] = [each for each in caplog.records if each.name == "consumer.audit"]
    assert "on-call (operator, 127.0.0.1): drill: plant for 30 s: refused: " in record.getMessage()


def test_it_begins_is_shown_is_one_at_a_time_and_may_be_ended(plant, caplog):
    caplog.set_level(logging.INFO, "consumer.audit")
    begun = plant.post("/api/actions/drill", {"seconds": 30, "wait": 20, "yes": True})
    assert begun.status_code == 202
    told = plant.get("/api/drill").json()
    assert told["begun_ms"] == begun.json()["begun_ms"]
    assert (
        told.items()
        >= {
            "state": "listening",
            "by": "on-call",
            "servers": ["plant"],
            "seconds": 30.0,
            "wait_seconds": 20.0,
            "offline_until_ms": None,
        }.items()
    )
    assert 0 < told["left_seconds"] <= 30
    again = plant.post("/api/actions/drill", {"yes": True})
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    assert "a drill of on-call is on (listening)" in again.json()["detail"]
    assert plant.get("/status").json()["drill"] == {"state": "listening", "why": ""}
    assert plant.post("/api/actions/drill/end").json() == {"ended": True}
    plant.consumer.drill.tend()
    assert plant.get("/api/drill").json()["last"]["outcome"] == "ended"
    assert plant.post("/api/actions/drill/end").json() == {"ended": False}
    lines = [each.getMessage() for each in caplog.records if each.name == "consumer.audit"]
    assert lines[0] == "on-call (operator, 127.0.0.1): drill: plant for 30 s: done"
    assert lines[2] == "on-call (operator, 127.0.0.1): end drill: the drill that is on: done"


def test_one_server_is_left_and_the_others_are_not(tmp_path):
    servers = [{"name": name, "url": "mqtt://127.0.0.1:9"} for name in ("plant-a", "plant-b")]
    with http_side(tmp_path, servers=servers) as plant:
        drill, connections = plant.consumer.drill, plant.consumer.connections
        connections[0].connected.set()  # the other one need not be
        begun = plant.post("/api/actions/drill", {"server": "plant-a", "yes": True})
        assert begun.status_code == 202
        assert plant.get("/api/drill").json()["servers"] == ["plant-a"]
        drill._on.ends = drill._clock()
        drill.tend()
        assert [each.switch.barred.is_set() for each in connections] == [True, False]
        assert [drill.keeps_offline(each.server.name) for each in connections] == [True, False]


def test_it_is_refused_while_a_server_is_not_connected(plant):
    [connection] = plant.consumer.connections
    connection.connected.clear()
    assert plant.get("/api/drill").json()["refusal"] == "plant is not connected"
    refused = plant.post("/api/actions/drill", {"yes": True})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "no drill now: plant is not connected"


@pytest.mark.parametrize("action", ["drill", "drill/end"])
def test_it_is_the_operators(plant, action):
    body = {"yes": True} if action == "drill" else {}
    for key, status in ((READER, 403), (INGEST, 403), ("wrong", 401), ("", 401)):
        assert plant.with_key(key).post(f"/api/actions/{action}", body).status_code == status
    for path in ("/api/drill", "/api/drill/results"):
        assert plant.with_key(READER).get(path).status_code == 200
        assert plant.with_key(INGEST).get(path).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"yes": True, "seconds": 121},
        {"yes": True, "seconds": 0.5},
        {"yes": True, "seconds": "45"},
        {"yes": True, "wait": 601},
        {"yes": True, "wait": 0},
        {"yes": "yes"},
        {"yes": True, "for": 9},
    ],
)
def test_a_wrong_body_is_a_bad_request(plant, body):
    refused = plant.post("/api/actions/drill", body)
    assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")


def test_a_server_that_is_not_there_is_not_found(plant):
    body = {"yes": True, "server": "other"}
    for answer in (
        plant.post("/api/actions/drill", body),
        plant.get("/api/drill?server=other"),
        plant.get("/api/drill/results?server=other"),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"] == "there is no such server, only plant"


def test_results_are_listed_worst_first_and_can_be_searched(plant):
    know(
        plant,
        result("A", "kept"),
        result("B", "lost"),
        result("C", "not_known", at_ms=NOON_MS - 1),
        result("D", "partly"),
    )

    def found(query=""):
        page = plant.get(f"/api/drill/results{query}").json()
        return page["total"], [each["node"] for each in page["items"]]

    assert found() == (4, ["B", "D", "C", "A"])
    assert found("?verdict=kept") == (1, ["A"])
    assert found(f"?since_ms={NOON_MS}") == (3, ["B", "D", "A"])
    assert found("?limit=1&offset=1") == (4, ["D"])
    [kept] = plant.get("/api/drill/results?verdict=kept").json()["items"]
    assert kept == {
        "server": "plant",
        "group": "Plant",
        "node": "A",
        "verdict": "kept",
        "text": "why",
        "at_ms": NOON_MS,
        "rows": 7,
        "first_ms": 1,
        "last_ms": 2,
        "window_seconds": 45.0,
        "kept_ms": NOON_MS,
    }


def test_who_has_a_good_result_is_not_named(plant):
    now_ms = plant.consumer.drill._now_ms()
    know(plant, result("Edge-1", "kept", now_ms), result("Edge-2", "lost", now_ms))
    assert [each["node"] for each in plant.get("/api/drill").json()["may_lose"]["items"]] == [
        "Edge-2"
    ]


def test_while_the_host_is_offline_that_needs_attention_and_the_server_does_not(plant):
    plant.post("/api/actions/drill", {"seconds": 120, "yes": True})
    running = plant.consumer.drill._on
    running.ends = plant.consumer.drill._clock()
    plant.consumer.drill.tend()
    [connection] = plant.consumer.connections
    connection.connected.clear()
    assert connection.switch.barred.is_set()
    ready = plant.get("/readyz")
    assert ready.status_code == 503
    assert plant.get("/status").json()["drill"]["state"] == "leaving"
    assert ready.json()["drill"].startswith("a drill of on-call keeps the host offline for 1")
    overview = plant.get("/api/overview").json()
    kinds = [each["kind"] for each in overview["attention"]]
    assert "drill" in kinds
    assert "server" not in kinds
    plant.consumer.drill.end()
    assert not connection.switch.barred.is_set()
