"""One consumer: what it consists of, and what its decoding thread does.

`make_consumer` puts a `Consumer` together from a configuration. The other names are for those
who tell of it: its parts, what it counts, and how its metrics are named.
"""

from consumer.pipeline.back_pressure import BackPressure
from consumer.pipeline.composition import make_consumer
from consumer.pipeline.consumer import Consumer
from consumer.pipeline.drill_words import (
    LEAST_SECONDS,
    MOST_SECONDS,
    MOST_WAIT,
    DrillRefused,
    DrillWanted,
)
from consumer.pipeline.gaps import GapTotals
from consumer.pipeline.intake import Connection
from consumer.pipeline.last_values import LONGEST_TEXT, Value
from consumer.pipeline.node_log import LoggedEvent, NodePlace, NodeStory
from consumer.pipeline.posts import MOST_BODY_BYTES, Busy, Outcome, Post, Posts
from consumer.pipeline.rebirths import WHAT_TO_DO
from consumer.pipeline.source import Source
from consumer.pipeline.telemetry import COUNTED, METRICS_PREFIX

__all__ = [
    "COUNTED",
    "LEAST_SECONDS",
    "LONGEST_TEXT",
    "METRICS_PREFIX",
    "MOST_BODY_BYTES",
    "MOST_SECONDS",
    "MOST_WAIT",
    "WHAT_TO_DO",
    "BackPressure",
    "Busy",
    "Connection",
    "Consumer",
    "DrillRefused",
    "DrillWanted",
    "GapTotals",
    "LoggedEvent",
    "NodePlace",
    "NodeStory",
    "Outcome",
    "Post",
    "Posts",
    "Source",
    "Value",
    "make_consumer",
]
