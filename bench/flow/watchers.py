"""People who look, as a process of their own: some poll /status, some are subscribed.

`python -m flow.watchers OPTIONS`, a JSON object of `Options`. Ends when its input does, and says
how many answers and events came. Who is refused a subscription is counted, and goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Where to look; how many poll /status every second; how many are subscribed to /api/stream."""

    port: int
    polling: int
    subscribers: int


async def _poll(port: int, begin: float, seen: Counter[str]) -> None:
    await asyncio.sleep(begin)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        await reader.readexactly(int(length))
        seen["status " + head[9:12].decode()] += 1
        await asyncio.sleep(1.0)
    writer.close()


async def _subscribe(port: int, seen: Counter[str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        seen["refused " + head[9:12].decode()] += 1
        writer.close()
        return
    while line := await reader.readline():
        seen["events"] += line.startswith(b"event: now")


async def _watch(options: Options) -> dict[str, int]:
    seen: Counter[str] = Counter()
    people = [
        *(
            asyncio.create_task(_poll(options.port, number / options.polling, seen))
            for number in range(options.polling)
        ),
        *(asyncio.create_task(_subscribe(options.port, seen)) for _ in range(options.subscribers)),
    ]
    await asyncio.to_thread(sys.stdin.read)
    for each in people:
        each.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await each
    return dict(seen)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_watch(Options(**json.loads(sys.argv[1]))))))
