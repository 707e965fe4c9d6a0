"""What is told of a running consumer: metrics for Prometheus, and pictures for people.

It only reads what the pipeline keeps; the pipeline asks nothing of it. Every number is declared
once, as a row of a table; rooms above add tables of their own with `expose`. `Looking` answers
what the API asks: lists are columns that are searched, and not walked through.
"""

from consumer.monitor.documentation import with_table
from consumer.monitor.events import event_row, event_rows
from consumer.monitor.letters import gap_page, letter, letter_page
from consumer.monitor.node_book import NODE_SORTS, NODE_STATES, NodeQuery
from consumer.monitor.number import Counter, Gauge, Numbers, expose
from consumer.monitor.numbers import add_metrics
from consumer.monitor.overview import EVENT_KINDS, Looking
from consumer.monitor.shown import Page
from consumer.monitor.status import status_of
from consumer.monitor.tag_book import TAG_SORTS, TagQuery
from consumer.monitor.tag_view import Of

__all__ = [
    "EVENT_KINDS",
    "NODE_SORTS",
    "NODE_STATES",
    "TAG_SORTS",
    "Counter",
    "Gauge",
    "Looking",
    "NodeQuery",
    "Numbers",
    "Of",
    "Page",
    "TagQuery",
    "add_metrics",
    "event_row",
    "event_rows",
    "expose",
    "gap_page",
    "letter",
    "letter_page",
    "status_of",
    "with_table",
]
