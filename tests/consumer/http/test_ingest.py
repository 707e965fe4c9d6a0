"""Events that are posted: what is answered, and what is in the spool by then."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time

import pytest
from support.columnar import message, tag
from support.event_stream import body_of, event
from support.http_side import KEYS, READER
from support.posting import TOKEN, held_back, serving
from support.services import PATIENCE, wait_until

from consumer.broker import BatchLimits, Inbox
from consumer.errors import SpoolDamaged, SpoolFull
from consumer.http.ingest import INGEST_PATHS
from consumer.pipeline import MOST_BODY_BYTES

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


def test_a_large_body_is_read_while_all_threads_wait_for_something_else(served):
    wait_until(lambda: served.server._server._loop)
    loop, go_on = served.server._server._loop, threading.Event()
    events = [event(f"Tag {n}") for n in range(1000)]
    answers = []
    thread = threading.Thread(target=lambda: answers.append(served.post(*events)))
    try:
        for _ in range(50):
            asyncio.run_coroutine_threadsafe(asyncio.to_thread(go_on.wait, PATIENCE), loop)
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
