"""What is answered over HTTP."""

import json

from consumer.http.errors import answer


def test_answers_are_exact_and_may_be_shown_by_a_terminal():
    status = {"failure": "no \u202e\x9b2J\x7fÜ\n\ud800"}
    answered = answer(status, 503)
    assert (answered.status_code, answered.media_type) == (503, "application/json")
    assert json.loads(answered.body) == status
    assert answered.body.decode().isascii()
    assert answered.body.decode().isprintable()
