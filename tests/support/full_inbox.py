"""An inbox with little room, and what it says that it refused."""

from __future__ import annotations

from collections import Counter

from consumer.broker import BatchLimits, Inbox
from sparkplug import Message

OVERHEAD = 400  # bytes that a queued message counts beside its payload
PLENTY = 10**9


def topic(node, verb="NDATA", group="Plant"):
    return f"spBv1.0/{group}/{verb}/{node}" + ("/Device" if verb.startswith("D") else "")


class Full:
    """An inbox of so much room, and what it says that it refused."""

    def __init__(self, room, messages=50, size=PLENTY):
        self.refused = Counter()
        self.inbox = Inbox(room, BatchLimits(messages, size, 0.0), lambda: 0.0, self._count)

    def _count(self, server, nodes):
        for node, messages in nodes.items():
            self.refused[server, node] += messages

    def put(self, node, number, size=100, *, verb="NDATA", server=0, **options):
        message = Message(topic(node, verb), bytes(size), number)
        return self.inbox.put(server, message, **options)

    def taken(self):
        """All that waits: node, verb and number of each message, by server."""
        found = {}
        while batch := self.inbox.take(0.0):
            for server, part in batch.by_server.items():
                assert part
                found.setdefault(server, []).extend(
                    (*each.topic.split("/")[3:1:-1], each.received_us) for each in part
                )
        return found
