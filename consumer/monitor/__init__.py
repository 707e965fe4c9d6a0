"""What is told of a running consumer: metrics for Prometheus, and one picture for people.

It only reads what the pipeline keeps; the pipeline asks nothing of it.
"""

from consumer.monitor.metrics import add_metrics
from consumer.monitor.status import status_of

__all__ = ["add_metrics", "status_of"]
