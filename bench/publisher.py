"""Edge nodes that publish at a steady rate, as a process of their own.

`python bench/publisher.py URL ROWS_PER_SECOND` publishes the births of the benchmark's 50
edge nodes, then data with 100 metrics per message, until its standard input ends. Then it
prints how many values of tags it published, births included, as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from urllib.parse import urlsplit

import fleet as generated
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sparkplug.pb.sparkplug_b_pb2 import Payload

METRICS_PER_MESSAGE = 100
_TICK = 0.02
_LAST_WORDS = 20.0


def publish(url: str, rows_per_second: int, until: threading.Event) -> int:
    """Publish until told to stop; return the number of values."""
    parts = urlsplit(url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bench-publisher")
    client.max_queued_messages_set(0)
    client.connect(parts.hostname or "127.0.0.1", parts.port or 1883)
    client.loop_start()
    values = 0
    rng = random.Random(1)
    for topic, birth, _ in generated.births():
        client.publish(topic, birth, qos=0)
        values += generated.TAGS_PER_NODE
    started, sent = time.monotonic(), 0
    last = None
    while not until.wait(_TICK):
        due = int((time.monotonic() - started) * rows_per_second / METRICS_PER_MESSAGE)
        for number in range(sent, due):
            turn, node = divmod(number, generated.NODES)
            topic, payload = _data(node, turn, rng)
            last = client.publish(topic, payload, qos=0)
        values += (due - sent) * METRICS_PER_MESSAGE
        sent = due
    if last is not None:
        last.wait_for_publish(_LAST_WORDS)
    client.disconnect()
    client.loop_stop()
    return values


def _data(node: int, turn: int, rng: random.Random) -> tuple[str, bytes]:
    """The next NDATA of a node: half of its tags in turn, by alias."""
    now_ms = time.time_ns() // 1_000_000
    payload = Payload(timestamp=now_ms, seq=(turn + 1) % 256)
    add = payload.metrics.add
    for index in range(METRICS_PER_MESSAGE):
        tag = (turn * METRICS_PER_MESSAGE + index) % generated.TAGS_PER_NODE
        datatype = generated.tag_type(tag)
        if datatype == generated.DOUBLE:
            add(alias=tag, timestamp=now_ms, double_value=rng.random())
        elif datatype == generated.INT32:
            add(alias=tag, timestamp=now_ms, int_value=turn % 2**31)
        elif datatype == generated.BOOLEAN:
            add(alias=tag, timestamp=now_ms, boolean_value=turn % 2 == 0)
        else:
            add(alias=tag, timestamp=now_ms, string_value=generated.STATES[turn % 6])
    group, edge_node = generated.node_ids(node)
    return f"spBv1.0/{group}/NDATA/{edge_node}", payload.SerializeToString()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="mqtt://host:port")
    parser.add_argument("rows_per_second", type=int)
    arguments = parser.parse_args()
    until = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        until.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    values = publish(arguments.url, arguments.rows_per_second, until)
    print(json.dumps({"values": values}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
