"""One consumer: what it consists of, and what its decoding thread does.

`make_consumer` puts a `Consumer` together from a configuration. The other names are for those
who tell of it: its parts, what it counts, and how its metrics are named.
"""

from consumer.pipeline.back_pressure import BackPressure
from consumer.pipeline.composition import make_consumer
from consumer.pipeline.consumer import Consumer
from consumer.pipeline.gaps import GapTotals
from consumer.pipeline.intake import Connection
from consumer.pipeline.posts import MOST_BODY_BYTES, Busy, Outcome, Post, Posts
from consumer.pipeline.telemetry import COUNTED, METRICS_PREFIX

__all__ = [
    "COUNTED",
    "METRICS_PREFIX",
    "MOST_BODY_BYTES",
    "BackPressure",
    "Busy",
    "Connection",
    "Consumer",
    "GapTotals",
    "Outcome",
    "Post",
    "Posts",
    "make_consumer",
]
