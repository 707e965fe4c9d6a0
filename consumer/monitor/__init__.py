"""What is told of a running consumer: metrics and status."""

from consumer.monitor.metrics import add_metrics
from consumer.monitor.status import status

__all__ = ["add_metrics", "status"]
