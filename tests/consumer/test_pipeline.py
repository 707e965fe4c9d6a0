"""One batch that cannot be decoded costs no more than itself."""

from __future__ import annotations

import pytest
from columnar import message, tag

from consumer.config import parse
from consumer.pipeline import Consumer
from sparkplug.messages import MessageBatch


@pytest.fixture
def consumer(tmp_path):
    configuration = parse(
        {
            "servers": [{"name": "plant", "url": "mqtt://127.0.0.1:9"}],
            "zerobus": {
                "endpoint": "http://127.0.0.1:9",
                "workspace_url": "http://127.0.0.1:10",
                "table": "main.ot.tag_events",
                "client_id": "id",
                "client_secret": "secret",
            },
            "spool": {"path": str(tmp_path / "spool.db")},
        }
    )
    consumer = Consumer(configuration)
    yield consumer
    consumer.spool.close()


def batch():
    return {0: MessageBatch([message("NBIRTH", tag("Ramp", 0))])}


def test_a_batch_that_exhausts_the_memory_is_counted_and_the_next_one_lands(consumer, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(consumer._sources[0].fleet, "feed", lambda *_: bytearray(1 << 62))
        consumer._take_whatever_it_is(batch())
    assert consumer.telemetry.reasons == {"decoding_failed": 1}
    consumer._take_whatever_it_is(batch())
    assert consumer.spooled_rows == 1


def test_a_defect_that_hits_every_batch_ends_the_decoding(consumer, monkeypatch):
    monkeypatch.setattr(consumer._sources[0].fleet, "feed", lambda *_: 1 // 0)
    for _ in range(9):
        consumer._take_whatever_it_is(batch())
    with pytest.raises(ZeroDivisionError):
        consumer._take_whatever_it_is(batch())
