"""What is told of a running consumer: metrics for Prometheus, and one picture for people.

It only reads what the pipeline keeps; the pipeline asks nothing of it. Every number is declared
once, as a row of a table; rooms above add tables of their own with `expose`.
"""

from consumer.monitor.documentation import with_table
from consumer.monitor.number import Counter, Gauge, Numbers, expose
from consumer.monitor.numbers import add_metrics
from consumer.monitor.status import status_of

__all__ = ["Counter", "Gauge", "Numbers", "add_metrics", "expose", "status_of", "with_table"]
