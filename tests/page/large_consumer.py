"""A consumer that has heard 100,000 tags, in a process of its own: what it takes can be measured.

`python -m page.large_consumer DIRECTORY` prints its address, and serves until its input ends.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import fleet as generated
from support.http_side import http_side

from consumer.broker import InboxBatch
from sparkplug import Message, MessageBatch

NODES = 500


def main() -> None:
    with http_side(Path(sys.argv[1])) as client:
        born = generated.births(NODES, at_ms=int(time.time() * 1000))
        batch = MessageBatch(Message(*message) for message in born)
        client.consumer.decoding._take(InboxBatch({0: batch}))
        print(str(client.http.base_url).rstrip("/") + "/", flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main()
