"""A gateway's Event Streams as a process of its own, which posts bodies that were made before.

`python -m flow.poster OPTIONS`, a JSON object of `Options`. It posts over all connections until
its time is over, each as fast as it is answered, and says what it was answered. All bodies have
the same events but for their times, which are filled in.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

_TAGS: Final = 1000
_FIRST_MS: Final = 1_700_000_000_000
_HEAD_END: Final = b"\r\n\r\n"
_QUANTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Options:
    """Where to post, over how many connections, how many events at a time, for how long."""

    port: int
    connections: int
    events: int
    seconds: float


@dataclass(slots=True)
class Posted:
    """Answers by status, and how long each took."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def body(options: Options) -> bytes:
    """The body of a post; each timestamp is `_FIRST_MS`, to be replaced."""
    kinds = [("Float8", 21.375), ("Float8", 0.25), ("Int4", 1200), ("Boolean", True)]
    events: list[dict[str, Any]] = []
    for index in range(options.events):
        name, value = kinds[index % len(kinds)]
        events.append(
            {
                "tagPath": f"Edge Nodes/Plant/Edge/Area {index // 10}/Tag {index % _TAGS}",
                "tagProvider": "default",
                "value": value,
                "quality": "Good",
                "qualityCode": 192,
                "timestamp": _FIRST_MS,
                "dataType": name,
            }
        )
    return json.dumps(events).encode()


async def post_until(options: Options, until: float, number: int, posted: Posted) -> None:
    """Post over one connection until that time, by the monotonic clock."""
    content, first = body(options), str(_FIRST_MS).encode()
    head = f"POST /ingest/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"
    reader, writer = await asyncio.open_connection("127.0.0.1", options.port)
    turn = 0
    while time.monotonic() < until:
        turn += 1
        at_ms = str(_FIRST_MS + number * 1_000_000_000 + turn).encode()
        started = time.monotonic()
        writer.write(head.encode() + _HEAD_END + content.replace(first, at_ms))
        answer = await reader.readuntil(_HEAD_END)
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        await reader.readexactly(int(length))
        posted.seconds.append(time.monotonic() - started)
        status = answer[9:12].decode()
        posted.statuses[status] += 1
        if status != "200":
            await asyncio.sleep(1.0)
    writer.close()


async def _post(options: Options) -> dict[str, Any]:
    posted, started = Posted(), time.monotonic()
    await asyncio.gather(
        *(
            post_until(options, started + options.seconds, number, posted)
            for number in range(options.connections)
        )
    )
    elapsed, took = time.monotonic() - started, sorted(posted.seconds)
    return {
        "statuses": dict(posted.statuses),
        "events": posted.statuses["200"] * options.events,
        "events_per_second": round(posted.statuses["200"] * options.events / elapsed),
        "answer_ms": {
            f"p{q * 100:.0f}": round(took[int(q * (len(took) - 1))] * 1e3, 1) for q in _QUANTILES
        },
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_post(Options(**json.loads(sys.argv[1]))))))
