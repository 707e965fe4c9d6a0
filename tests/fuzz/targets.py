"""The targets by name: the function of bytes, and inputs to begin with."""

from __future__ import annotations

from fuzz import columns, orders, packets, payloads, posts, texts
from fuzz.target import Target

TARGETS = {
    "columns": Target(columns.run, columns.seeds),
    "payloads": Target(payloads.run, payloads.seeds),
    "orders": Target(orders.run, orders.seeds, largest=240),
    "packets": Target(packets.run, packets.seeds, largest=1000),
    "posts": Target(posts.run, lambda: posts.SEEDS),
    "json": Target(texts.json_payloads, lambda: texts.JSON),
    "topics": Target(texts.topics, lambda: texts.TOPICS, largest=3000),
    "states": Target(texts.states, lambda: texts.STATES, largest=1000),
}
