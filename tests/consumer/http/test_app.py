"""What is answered over HTTP."""

import json

from consumer.http.app import _json


def test_answers_are_exact_and_may_be_shown_by_a_terminal():
    status = {"failure": "no \u202e\x9b2J\x7fÜ\n\ud800"}
    answer = _json(status, status_code=503)
    assert (answer.status_code, answer.media_type) == (503, "application/json")
    assert json.loads(answer.body) == status
    assert answer.body.decode().isascii()
    assert answer.body.decode().isprintable()
