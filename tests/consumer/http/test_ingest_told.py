"""Events that are posted: what is told of them, in log, numbers and contract, and late answers."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

import httpx
from support.event_stream import body_of, event
from support.posting import SECRET, TOKEN, held_back, serving
from support.services import PATIENCE, wait_until

from consumer.http import ingest
from consumer.pipeline import MOST_BODY_BYTES


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
