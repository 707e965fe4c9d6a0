"""A consumer starts in the memory that it ran in, whatever births it remembers."""

from __future__ import annotations

import subprocess
import sys

import pytest

_MEBIBYTE = 1 << 20
_PROGRAM = """
import os, resource, sys
from consumer.broker.inbox import InboxBatch
from consumer.config import parse
from consumer.pipeline import make_consumer
from sparkplug.messages import Message, MessageBatch
from sparkplug.pb.sparkplug_b_pb2 import Payload

consumer = make_consumer(parse({
    "servers": [{"name": "plant", "url": "mqtt://127.0.0.1:9"}],
    "zerobus": {
        "endpoint": "http://127.0.0.1:9", "workspace_url": "http://127.0.0.1:10",
        "table": "main.ot.tag_events", "client_id": "id", "client_secret": "secret",
    },
    "spool": {"path": sys.argv[1], "sync": "normal"},
    "normalize": {"emit_births": False},
}))
for number in range(int(sys.argv[2])):
    birth = Payload(timestamp=1_795_443_214_000, seq=0)
    metric = birth.metrics.add(name="Picture", timestamp=1_795_443_214_000, datatype=17)
    metric.bytes_value = os.urandom(15 << 20)
    topic = f"spBv1.0/Plant/NBIRTH/N{number}"
    message = Message(topic, birth.SerializeToString(), 1_795_443_215_000_000)
    consumer.decoding._take(InboxBatch({0: MessageBatch([message])}))
nodes = consumer.sources[0].fleet.gauges.node_count
print(nodes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
consumer.spool.close()
"""


@pytest.mark.long
def test_a_start_with_many_large_births_takes_no_more_memory_than_running_did(tmp_path):
    def peak(births):
        """Nodes that are known, and the most memory that a run took, in bytes."""
        run = [sys.executable, "-c", _PROGRAM, str(tmp_path / "spool.db"), str(births)]
        done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
        nodes, kibibytes = map(int, done.stdout.split())
        return nodes, kibibytes << 10

    nodes, running = peak(12)
    again, starting = peak(0)
    assert nodes == again == 12
    assert starting <= running + 64 * _MEBIBYTE
