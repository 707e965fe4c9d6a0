"""What operators may do, who else may not, and the line in the log that each action leaves."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.columnar import change, message, tag
from support.hand_fed import Courier, Shelf, consuming
from support.http_side import INGEST, KEYS, OPERATOR, READER, Client, http_side, serving
from support.services import wait_until
from support.unconnected import configuration

from consumer.broker import InboxBatch
from sparkplug import MessageBatch

ACTIONS = {
    "rebirth": {"server": "plant", "group": "Plant", "node": "Edge"},
    "letters/retry": {"all": True},
    "letters/drop": {"all": True},
    "pause": {"seconds": 600, "why": "migration"},
    "resume": {},
    "drain": {"seconds": 0},
}


@pytest.fixture
def plant(tmp_path):
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        operator = client.with_key(OPERATOR)
        operator.consumer = client.consumer
        yield operator


def feed(consumer, *messages):
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))


def act(client, action, body=None, **options):
    return client.post(
        f"/api/actions/{action}", ACTIONS[action] if body is None else body, **options
    )


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_are_the_operators(plant, action):
    assert act(plant, action).status_code in (200, 202)
    for key, status in ((READER, 403), (INGEST, 403), ("wrong", 401), ("", 401)):
        refused = act(plant.with_key(key), action)
        assert refused.status_code == status
        assert refused.json()["error"] == ("forbidden" if status == 403 else "unauthorized")


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_leaves_a_line_of_who_and_what(plant, action, caplog):
    caplog.set_level(logging.INFO, "consumer.audit")
    act(plant, action)
    [record] = [each for each in caplog.records if each.name == "consumer.audit"]
    text = record.getMessage()
    words = " ".join(reversed(action.split("/")))
    assert text.startswith(f"on-call (operator, 127.0.0.1): {words}: ")
    assert text.endswith(": done")
    assert OPERATOR not in text


@pytest.mark.parametrize("is_connected", [True, False])
def test_when_a_node_is_asked_is_said_as_it_is(plant, is_connected):
    [connection] = plant.consumer.connections
    if is_connected:
        connection.connected.set()
    text = act(plant, "rebirth").json()["text"]
    now = "Plant/Edge is asked for its births within a second, at most every 5s"
    later = "plant is not connected: Plant/Edge is asked for its births when it is"
    assert text == (now if is_connected else later)


def test_an_action_that_is_refused_leaves_a_line_too(plant, caplog):
    caplog.set_level(logging.INFO, "consumer.audit")
    refused = act(plant, "rebirth", {"server": "no\nserver", "group": "Plant", "node": "Edge"})
    assert refused.status_code == 400
    [record] = [each for each in caplog.records if each.name == "consumer.audit"]
    assert "refused: there is no server" in record.getMessage()
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_page_of_another_site_cannot_act(tmp_path, action):
    with http_side(tmp_path) as client:
        assert act(client, action).status_code in (200, 202)
        refused = act(client, action, headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403
        # What a form of another site can send without asking first.
        form = client.http.post(
            f"/api/actions/{action}", content=b"{}", headers={"Content-Type": "text/plain"}
        )
        assert form.status_code == 400


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("rebirth", {}),
        ("rebirth", {"server": "plant", "group": "Plant", "node": "+"}),
        ("pause", {}),
        ("pause", {"seconds": 0}),
        ("pause", {"seconds": 90_000}),
        ("pause", {"seconds": False}),
        ("pause", {"seconds": 10, "for": "ever"}),
        ("drain", {"seconds": 60}),
        ("letters/drop", {}),
        ("letters/drop", {"all": True, "names": ["row-1"]}),
        ("letters/drop", {"names": ["row-1"], "reason": "poison"}),
        ("letters/drop", {"names": ["no name"]}),
        ("letters/drop", {"names": ["row-99999999999999999999"]}),
        ("letters/drop", {"names": ["row-\u0661"]}),
        ("letters/retry", {"names": ["message-9223372036854775808"]}),
        ("letters/retry", {"all": "yes"}),
    ],
)
def test_a_wrong_body_is_a_bad_request(plant, action, body):
    refused = act(plant, action, body)
    assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")


def test_what_is_not_there_is_not_found(plant):
    assert act(plant, "pause", {"seconds": 9, "table": "a.b.c"}).status_code == 404
    assert act(plant, "letters/retry", {"names": ["row-7"]}).status_code == 404
    assert plant.post("/api/actions/nothing").status_code == 404
    assert plant.get("/api/actions/rebirth").status_code == 405


def test_a_rebirth_is_asked_for(plant):
    told = act(plant, "rebirth")
    assert told.status_code == 202
    assert told.json()["asked"] is True
    assert len(plant.consumer._rebirths._asked_by_user) == 1


def test_letters_are_retried_and_dropped(plant):
    feed(plant.consumer, message("NBIRTH", tag("Ramp", 0)))
    feed(plant.consumer, message("NDATA")._replace(payload=b"\xff" * 100))
    [letter] = plant.get("/api/letters").json()["items"]
    refused = act(plant, "letters/retry", {"names": [letter["name"]]})
    assert refused.status_code == 400
    assert "nothing would change" in refused.json()["detail"]
    assert act(plant, "letters/retry", {"all": True}).json() == {"letters": 0}
    assert act(plant, "letters/drop", {"names": [letter["name"]]}).json() == {"letters": 1}
    assert plant.get("/api/letters").json()["total"] == 0
    assert plant.get("/api/ledger").json()["balanced"] is True


def test_a_pause_has_an_end_and_is_shown(plant):
    [pause] = act(plant, "pause").json()["pauses"]
    assert (pause["table"], pause["by"], pause["why"]) == (
        *("main.ot.tag_events", "on-call"),
        "migration",
    )
    told = plant.get("/api/overview").json()
    assert told["state"]["text"].startswith("Delivery is paused until ")
    assert "paused" in [each["kind"] for each in told["attention"]]
    assert told["pauses"] == [pause]
    assert act(plant, "resume").json() == {"pauses": []}
    act(plant, "pause", {"seconds": 1})
    wait_until(lambda: plant.get("/api/overview").json()["pauses"] == [])


def test_draining_tells_what_is_left(plant):
    assert act(plant, "drain").json() == {"rows_waiting": 0, "drained": True}
    feed(plant.consumer, message("NBIRTH", tag("Ramp", 0)), message("NDATA", change(0, 1.0), seq=1))
    assert act(plant, "drain").json() == {"rows_waiting": 2, "drained": False}


def test_few_drain_at_a_time_so_that_others_are_answered(tmp_path):
    delivering = configuration(tmp_path, shutdown_timeout="0s", http={"keys": KEYS})
    shelf = Shelf()
    with (
        consuming(delivering, shelf, Courier(delivering.servers[0])) as consumer,
        serving(consumer) as server,
        ThreadPoolExecutor(4) as threads,
    ):
        clients = [Client(server, OPERATOR) for _ in range(5)]
        shelf.put(message("NBIRTH", tag("Ramp", 0)))
        wait_until(lambda: consumer.spooled_rows)  # and nobody takes them
        drained = [threads.submit(act, each, "drain", {"seconds": 3}) for each in clients[1:]]
        wait_until(lambda: act(clients[0], "drain").status_code == 429)
        assert clients[0].get("/status").status_code == 200
        assert [each.result().status_code for each in drained] == [200] * 4
        assert act(clients[0], "drain").status_code == 200


def test_a_path_with_a_slash_more_is_another_one(plant):
    assert plant.get("/status/").status_code == 404
    assert plant.post("/ingest/").status_code == 404
