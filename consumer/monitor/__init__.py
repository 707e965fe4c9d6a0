"""What is told of a running consumer: metrics for Prometheus, and one picture for people.

Others only read what the pipeline keeps; nothing here is asked by the pipeline.
"""

from consumer.monitor.metrics import add_metrics
from consumer.monitor.status import status_of

__all__ = ["add_metrics", "status_of"]
