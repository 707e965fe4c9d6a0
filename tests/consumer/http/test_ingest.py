"""Events that are posted: what is answered, and what is in the spool by then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import threading
import time

import httpx
import pytest
from support import unconnected
from support.columnar import message, tag
from support.event_stream import body_of, decoded, event
from support.hand_fed import Courier, Shelf, consuming
from support.http_side import KEYS, READER
from support.services import PATIENCE, wait_until

from consumer.broker import BatchLimits, Inbox
from consumer.errors import SpoolDamaged, SpoolFull
from consumer.http import HttpServer, ingest
from consumer.http.ingest import INGEST_PATHS
from consumer.pipeline import MOST_BODY_BYTES

TABLE = "main.ot.tag_events"
TOKEN = "t0ken-of-the-gateway"
SECRET = "s3cr3t-value"


@contextlib.contextmanager
def serving(directory, intake=None, **sections):
    configuration = unconnected.configuration(directory, shutdown_timeout="0s", **sections)
    shelf = intake or Shelf()
    with consuming(configuration, shelf, Courier(configuration.servers[0])) as consumer:
        server = HttpServer(consumer, ("127.0.0.1", 0))
        server.start()
        try:
            yield Served(consumer, server, shelf)
        finally:
            server.stop(PATIENCE)


class Served:
    def __init__(self, consumer, server, shelf):
        self.consumer, self.server, self.shelf = consumer, server, shelf
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE, verify=False
        )

    def post(self, *events, path="/ingest/batch", body=None, **headers):
        content = body_of(*events) if body is None else body
        return self.client.post(path, content=content, headers=headers)

    def rows(self):
        return [
            decoded(raw)
            for batch in self.consumer.spool.batches_after(0, 1 << 30, table=TABLE)
            for raw in batch.rows.slice(0, len(batch.rows))
        ]

    def batches(self):
        return len(self.consumer.spool.batches_after(0, 1 << 30, table=TABLE))

    def http_balance(self):
        balance = self.consumer.balance()
        assert balance.balanced
        return balance.messages["http"].to_dict()


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path) as served:
        yield served


# 200


@pytest.mark.parametrize("path", sorted(INGEST_PATHS))
def test_events_are_in_the_spool_when_they_are_said_to_be_accepted(served, path):
    answer = served.post(event("a"), event("b", 2.5), path=path)
    rows = served.rows()
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "dropped": 0, "errors": []})
    assert [(row["metric_name"], row["numeric_value"]) for row in rows] == [("a", 21.5), ("b", 2.5)]
    assert served.post(body=json.dumps(event("c")).encode(), path=path).json()["accepted"] == 1


def test_rows_of_posts_are_numbered_among_those_of_mqtt(served):
    served.post(event("a"))
    served.shelf.put(message("NBIRTH", tag("Ramp", 0)))
    wait_until(lambda: len(served.rows()) == 2)
    served.post(event("b"))
    rows = served.rows()
    assert [row["message_type"] for row in rows] == ["HTTP", "NBIRTH", "HTTP"]
    numbers = [row["arrival_number"] for row in rows]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_a_batch_with_bad_events_is_accepted_and_says_which_are_not(served):
    answer = served.post(event("a"), event(""), event("b", [1]))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["accepted"], body["dropped"]) == (1, 2)
    assert [(each["index"], each["reason"]) for each in body["errors"]] == [
        (1, "tag_path_missing"),
        (2, "value_not_scalar"),
    ]
    assert served.http_balance() == {
        "received": 3,
        "decoded": 1,
        "held": 0,
        "quarantined": 0,
        "discarded": 2,
        "discarded_by_reason": {"tag_path_missing": 1, "value_not_scalar": 1},
        "difference": 0,
    }


def test_an_answer_names_a_hundred_bad_events_and_counts_all(served):
    body = served.post(event("a"), *([event("")] * 150)).json()
    assert (len(body["errors"]), body["dropped"]) == (100, 150)


def test_notes_tell_what_was_not_known(served):
    body = served.post(event(timestamp=None), event(dataType="Quaternion")).json()
    assert body["notes"] == {"timestamp_missing": 1, "unknown_datatype": 1}


def test_nothing_posted_is_nothing_wrong(served):
    answer = served.post()
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)
    assert served.rows() == []


def test_a_value_that_does_not_fit_its_datatype_lands_and_is_counted(served):
    assert served.post(event(value="high", dataType="Int4")).json()["accepted"] == 1
    assert served.rows()[0]["quality"] == "BAD"
    assert served.consumer.telemetry.reasons["value_does_not_fit"] == 1


def test_rows_have_the_configured_source(tmp_path):
    with serving(tmp_path, http={"source_system_id": "plant-7"}) as served:
        served.post(event())
        assert served.rows()[0]["source_system_id"] == "plant-7"


def test_a_body_without_content_length_is_taken(served):
    whole = body_of(*(event(f"Tag {n}") for n in range(1000)))
    pieces = (whole[start : start + 999] for start in range(0, len(whole), 999))
    assert served.client.post("/ingest/batch", content=pieces).json()["accepted"] == 1000


# No answer that says accepted


def test_nothing_usable_is_422_and_in_the_ledger(served):
    answer = served.post(event(""), event("b", {}))
    assert answer.status_code == 422
    assert (answer.json()["accepted"], answer.json()["dropped"]) == (0, 2)
    assert served.rows() == []
    assert served.http_balance()["discarded"] == 2


@pytest.mark.parametrize("body", [b"", b"[", b"5", b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_400(served, body):
    answer = served.post(body=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert "the body is" in answer.json()["detail"]


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_who_has_no_key_is_401(tmp_path, given):
    with serving(tmp_path, http={"token": TOKEN}) as served:
        answer = served.post(event(), **given)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert served.post(event(), Authorization=f"Bearer {TOKEN}").status_code == 200
        assert len(served.rows()) == 1


def test_a_reader_may_not_post(tmp_path):
    with serving(tmp_path, http={"keys": KEYS}) as served:
        answer = served.post(event(), Authorization=f"Bearer {READER}")
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
        assert served.rows() == []
        assert served.consumer.posts.statuses["403"] == 1


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_413_though_it_is_sent_to_its_end(served, declared):
    body = b"[" + b" " * MOST_BODY_BYTES + b"]"
    pieces = (body[start : start + (1 << 20)] for start in range(0, len(body), 1 << 20))
    answer = served.client.post("/ingest/batch", content=body if declared else pieces)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    assert served.consumer.posts.bytes == 0


def test_too_many_events_are_413(served):
    body = b"[" + b'{"tagPath":"a"},' * 10_000 + b'{"tagPath":"a"}]'
    assert served.post(body=body).status_code == 413


def test_a_compressed_body_is_415(served):
    answer = served.post(event(), **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (415, "bad_request")
    assert served.post(event(), **{"Content-Encoding": "identity"}).status_code == 200


def test_while_the_queue_of_mqtt_is_half_full_a_sender_is_429(served):
    most = served.consumer.configuration.limits.budget.queue_bytes
    served.shelf.queued_bytes = most // 2 + 1
    answer = served.post(event())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["reason"] == "queue_half_full"
    served.shelf.queued_bytes = most // 2
    assert served.post(event()).status_code == 200


def test_of_more_posts_than_may_be_under_way_the_next_is_429(served):
    posts = served.consumer.posts
    while posts.admit("local") is None:
        pass
    answer = served.post(event())
    assert (answer.status_code, answer.json()["reason"]) == (429, "too_many_posts")
    posts.leave("local", 0)
    assert served.post(event()).status_code == 200


def test_a_body_for_which_there_is_no_room_is_429(served):
    posts = served.consumer.posts
    size = 0
    while posts.hold("local", 1 << 20):
        size += 1 << 20
    answer = served.post(*(event(f"Tag {n}" + "x" * 1000) for n in range(1100)))
    assert (answer.status_code, answer.json()["reason"]) == (429, "too_many_posts")
    assert posts.bytes == size


GATEWAYS = [
    {"name": f"gateway-{n}", "role": "ingest", "key": f"key-of-gateway-{n}"} for n in range(2)
]


def test_one_key_cannot_take_the_places_of_all_others(tmp_path):
    with serving(tmp_path, http={"keys": GATEWAYS}) as served:
        posts = served.consumer.posts
        while posts.admit("gateway-0") is None:
            pass
        one, other = (served.post(event(), Authorization=f"Bearer {g['key']}") for g in GATEWAYS)
        assert (one.status_code, one.json()["reason"]) == (429, "too_many_posts")
        assert other.status_code == 200


def test_one_key_cannot_take_the_room_of_all_others(tmp_path):
    body = b"[" + b" " * (MOST_BODY_BYTES - len(body_of(event()))) + body_of(event())[1:]
    with serving(tmp_path, http={"keys": GATEWAYS}, limits={"memory": "576MiB"}) as served:
        posts = served.consumer.posts
        while posts.hold("gateway-0", 1 << 10):
            pass
        one, other = (served.post(body=body, Authorization=f"Bearer {g['key']}") for g in GATEWAYS)
        assert (one.status_code, one.json()["reason"]) == (429, "too_many_posts")
        assert other.status_code == 200


def test_one_key_alone_has_all_places(tmp_path):
    with serving(tmp_path, http={"keys": KEYS}) as served:
        posts = served.consumer.posts
        while posts.admit("gateway") is None:
            pass
        assert posts.under_way == 100


def test_while_the_spool_is_nearly_full_a_sender_is_503(served):
    served.consumer.watch._marks.above = True
    answer = served.post(event())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert (answer.json()["error"], answer.json()["reason"]) == ("unavailable", "spool_full")


def test_while_the_gate_is_closed_a_sender_is_503(tmp_path):
    with serving(tmp_path, host={"gate_on_sink": True}) as served:
        assert served.post(event()).status_code == 200
        served.consumer.back_pressure.close_for(SpoolFull("full"))
        answer = served.post(event())
        assert (answer.status_code, answer.json()["reason"]) == (503, "gate_closed")
        assert len(served.rows()) == 1


def test_a_post_that_was_let_in_before_the_gate_closed_says_so_too(tmp_path):
    with serving(tmp_path, host={"gate_on_sink": True}) as served:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(served.post(event())))
        with held_back(served):
            thread.start()
            wait_until(lambda: served.consumer.posts._waiting)
            served.consumer.back_pressure.close_for(SpoolFull("full"))
        thread.join(PATIENCE)
        [answer] = answers
        assert (answer.status_code, answer.json()["reason"]) == (503, "gate_closed")
        assert served.rows() == []


def test_what_finds_no_room_is_503_and_neither_counted_nor_remembered(tmp_path):
    # Above the room that the watermarks leave to MQTT, so that the commit itself is refused.
    spool = {"max_bytes": "16MiB", "high_watermark": 1.0, "min_free": 0}
    with serving(tmp_path, spool=spool) as served:
        accepted = 0
        events = [event(f"Tag {n}", each, dataType="String") for n, each in enumerate(noise(500))]
        for _ in range(200):
            answer = served.post(*events)
            if answer.status_code != 200:
                break
            accepted += answer.json()["accepted"]
        assert (answer.status_code, answer.json()["reason"]) == (503, "spool_full")
        assert accepted == len(served.rows())
        assert served.http_balance()["received"] == accepted
        assert not served.consumer.overflow.active
        numbers = [row["arrival_number"] for row in served.rows()]
        assert numbers == list(range(numbers[0], numbers[0] + accepted))


def noise(count):
    """Texts that no codec makes smaller."""
    chance = random.Random(5)
    return [chance.randbytes(500).hex() for _ in range(count)]


def test_a_consumer_that_has_stopped_is_503(served):
    served.consumer.stop()
    answer = served.post(event())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["reason"] == "stopping"


def test_a_post_that_cannot_be_made_rows_is_500_and_costs_no_other(served, monkeypatch):
    ingest = served.consumer.decoding._ingest
    made = ingest._commit

    def fail(posts):
        if any("poison" in path for post in posts for path in post.body.events.paths):
            raise ZeroDivisionError
        made(posts)

    monkeypatch.setattr(ingest, "_commit", fail)
    statuses = together(served, [event("poison"), *(event(f"Tag {n}") for n in range(7))])
    assert sorted(statuses) == [200] * 7 + [500]
    assert len(served.rows()) == 7
    assert served.consumer.alive


def test_all_posts_hear_of_it_when_the_spool_breaks_between_two_of_them(served, monkeypatch):
    def fail(posts):
        raise ZeroDivisionError if len(posts) > 1 else SpoolDamaged("not a database")

    monkeypatch.setattr(served.consumer.decoding._ingest, "_commit", fail)
    assert together(served, [event(f"Tag {n}") for n in range(8)]) == [500] * 8
    assert served.rows() == []


def together(served, events, headers_of=lambda _: {}):
    """Post events at the same time, while the decoding thread is busy; return the statuses."""
    posts, statuses = served.consumer.posts, []

    def post(number, each):
        statuses.append(served.post(each, **headers_of(number)).status_code)

    with held_back(served):
        threads = [threading.Thread(target=post, args=each) for each in enumerate(events)]
        for each in threads:
            each.start()
        wait_until(lambda: len(posts._waiting) == len(events))
    for each in threads:
        each.join(PATIENCE)
    return statuses


@contextlib.contextmanager
def held_back(served):
    """The decoding thread waits in the middle of a batch."""
    reached, go_on = threading.Event(), threading.Event()
    freed = served.consumer.decoding._freed
    look = freed.look

    def wait():
        reached.set()
        assert go_on.wait(PATIENCE)
        look()

    # It takes posts first in `_see_to_the_rest`, and then looks there.
    freed.look = wait
    served.shelf.put()
    assert reached.wait(PATIENCE)
    freed.look = look
    try:
        yield
    finally:
        go_on.set()


def test_a_large_body_is_read_while_all_threads_wait_for_something_else(served):
    loop, go_on = served.server._server._loop, threading.Event()
    try:
        for _ in range(50):
            asyncio.run_coroutine_threadsafe(asyncio.to_thread(go_on.wait, PATIENCE), loop)
        answers = []
        events = [event(f"Tag {n}") for n in range(1000)]
        thread = threading.Thread(target=lambda: answers.append(served.post(*events)))
        thread.start()
        wait_until(lambda: answers)
    finally:
        go_on.set()
        thread.join(PATIENCE)
    assert answers[0].json()["accepted"] == 1000


# Commits


def test_posts_at_the_same_time_share_a_commit(served):
    before = served.batches()
    assert together(served, [event(f"Tag {n}") for n in range(20)]) == [200] * 20
    assert served.batches() == before + 1
    assert len(served.rows()) == 20


def test_a_post_does_not_wait_until_a_batch_of_mqtt_has_filled_up(tmp_path):
    limits = BatchLimits(1000, 1 << 20, max_delay=10 * PATIENCE, quiet_delay=10 * PATIENCE)
    inbox = Inbox(1 << 20, limits, time.monotonic)
    with serving(tmp_path, inbox) as served:
        inbox.put(0, message("NBIRTH", tag("Ramp", 0)))
        for number in range(3):
            assert served.post(event(f"Tag {number}")).status_code == 200
        assert [row["message_type"] for row in served.rows()] == ["HTTP"] * 3


def test_posts_of_several_keys_keep_their_sources_in_one_commit(tmp_path):
    keys = [
        {"name": f"gateway-{n}", "role": "ingest", "key": f"key-of-gateway-{n}"}
        | {"source_system_id": f"plant-{n}"}
        for n in range(3)
    ]
    with serving(tmp_path, http={"keys": keys}) as served:
        together(
            served,
            [event(f"Tag {n}") for n in range(3)],
            lambda n: {"Authorization": f"Bearer {keys[n]['key']}"},
        )
        assert served.batches() == 1
        assert {(row["metric_name"], row["source_system_id"]) for row in served.rows()} == {
            (f"Tag {n}", f"plant-{n}") for n in range(3)
        }


def test_what_waits_when_the_consumer_stops_is_committed_and_answered(served):
    statuses = []
    with held_back(served):
        thread = threading.Thread(target=lambda: statuses.append(served.post(event()).status_code))
        thread.start()
        wait_until(lambda: served.consumer.posts._waiting)
        served.shelf.close()
    thread.join(PATIENCE)
    assert statuses == [200]
    assert len(served.rows()) == 1


def test_a_failed_consumer_answers_what_waits(served, monkeypatch):
    def fail(_messages):
        raise RuntimeError("as never before")

    monkeypatch.setattr(served.consumer.decoding, "_see_to_the_rest", fail)
    served.shelf.put()
    wait_until(lambda: not served.consumer.alive)
    assert served.post(event()).json()["reason"] == "stopping"


# What is told of them


def test_neither_keys_nor_values_are_logged(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path, http={"token": TOKEN}) as served:
        key = {"Authorization": f"Bearer {TOKEN}"}
        served.post(event(SECRET, SECRET, dataType=SECRET, quality=SECRET, qualityCode=None), **key)
        served.post(event("", SECRET), event(value=[SECRET]), event(timestamp=SECRET), **key)
        served.post(body=b'{"' + SECRET.encode(), **key)
        served.post(event(), Authorization=f"Bearer {SECRET}")
        served.consumer.telemetry.remarks.tell(at_once=True)
    logged = caplog.text
    assert "unknown_datatype" in logged
    assert SECRET not in logged
    assert TOKEN not in logged


def test_posts_are_counted_by_status_and_events_by_what_became_of_them(served):
    served.post(event(), event(""))
    served.post(event(""))
    served.post(body=b"[")
    text = served.client.get("/metrics").text
    for line in (
        'ingest_posts_total{status="200"} 1.0',
        'ingest_posts_total{status="422"} 1.0',
        'ingest_posts_total{status="400"} 1.0',
        "ingest_events_accepted_total 1.0",
        'ingest_events_dropped_total{reason="tag_path_missing"} 2.0',
        "ingest_posts_under_way 0.0",
        "ingest_bytes 0.0",
        'rows_produced_total{server="http"} 1.0',
    ):
        assert f"sparkplug_zerobus_{line}\n" in text
    status = served.client.get("/status").json()
    assert status["ingest"]["events_accepted"] == 1
    assert status["ledger"]["difference"] == 0


def test_the_contract_for_programs_takes_the_events_that_are_taken(served):
    post = served.client.get("/openapi.json").json()["paths"]["/ingest"]["post"]
    one, many = post["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert many == {"type": "array", "items": one}
    assert one["required"] == ["tagPath"]
    types = {key: each["type"] for key, each in one["properties"].items()}
    assert types.pop("tagPath") == "string"
    assert all("null" in each for each in types.values())
    assert set(types["timestamp"]) == {"number", "null"}
    assert served.post({"tagPath": "a", **dict.fromkeys(types)}).json()["accepted"] == 1
    assert served.post({"tagPath": "a", "timestamp": 1.5}).json()["accepted"] == 1


def test_who_leaves_before_the_answer_is_counted_by_what_it_was(served):
    address = ("127.0.0.1", served.server.port)
    head = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(address) as sender:
        sender.sendall(head % (MOST_BODY_BYTES + 1) + b"[")
    wait_until(served.consumer.posts.statuses.total)
    with socket.create_connection(address) as sender:
        sender.sendall(head % 100 + b"[")
    wait_until(lambda: served.consumer.posts.statuses.total() == 2)
    assert served.consumer.posts.statuses == {"413": 1, "400": 1}


def test_a_defect_is_counted_too(served, monkeypatch):
    def fail(*_given, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr(ingest, "read_body", fail)
    assert served.post(event()).status_code == 500
    assert served.consumer.posts.statuses == {"500": 1}
    assert (served.consumer.posts.under_way, served.consumer.posts.bytes) == (0, 0)


def test_a_post_that_waits_for_the_ledger_holds_up_nobody_else(served):
    answers = []
    with served.consumer.ledger._lock:  # as while it is written
        thread = threading.Thread(target=lambda: answers.append(served.post(event(""))))
        thread.start()
        wait_until(lambda: served.consumer.posts.dropped)
        url = f"http://127.0.0.1:{served.server.port}/healthz"
        assert httpx.get(url, timeout=10).status_code == 200
        assert not answers
    thread.join(PATIENCE)
    assert answers[0].status_code == 422
    assert served.http_balance()["discarded"] == 1


def test_a_post_that_is_not_committed_in_time_is_503_and_never_committed(served, monkeypatch):
    monkeypatch.setattr(ingest, "_COMMIT_SECONDS", 0.1)
    with held_back(served):
        answers = [served.post(event(f"Tag {n}")) for n in range(3)]
        assert not served.consumer.posts._waiting
        assert (served.consumer.posts.under_way, served.consumer.posts.bytes) == (0, 0)
    assert [(each.status_code, each.json()["reason"]) for each in answers] == [(503, "slow")] * 3
    assert "nothing was committed" in answers[0].json()["detail"]
    monkeypatch.undo()
    assert served.post(event()).status_code == 200
    assert [row["metric_name"] for row in served.rows()] == ["Ramp"]


def test_a_post_whose_commit_takes_too_long_is_counted_until_it_ends(served, monkeypatch):
    monkeypatch.setattr(ingest, "_COMMIT_SECONDS", 0.1)
    posts = served.consumer.posts
    with stalled_commits(served):
        answer = served.post(event())
        assert (answer.status_code, answer.json()["reason"]) == (503, "slow")
        assert "may be committed later" in answer.json()["detail"]
        assert (posts.under_way, posts.bytes) == (1, len(body_of(event())))
    wait_until(lambda: (posts.under_way, posts.bytes) == (0, 0))
    monkeypatch.undo()
    assert served.post(event()).status_code == 200
    assert len(served.rows()) == 2
    assert len({row["event_id"] for row in served.rows()}) == 1


@contextlib.contextmanager
def stalled_commits(served):
    """Commits of posts that begin end when this does."""
    go_on = threading.Event()
    commits = served.consumer.commits
    commit = commits.commit_posts

    def wait(*given):
        assert go_on.wait(PATIENCE)
        commit(*given)

    commits.commit_posts = wait
    try:
        yield
    finally:
        go_on.set()
        commits.commit_posts = commit
