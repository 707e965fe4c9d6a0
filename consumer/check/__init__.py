"""Connects everything that a configuration names, and says how to mend what is wrong.

Nothing is published on MQTT, no row is sent to Zerobus, and the spool is not opened.
"""

from consumer.check.everything import DEFAULT_LISTEN, DEFAULT_TIMEOUT, check_everything
from consumer.check.reconcile import committed_sql, compare, meaning
from consumer.check.report import Finding, Status
from consumer.check.workspace import check_workspace

__all__ = [
    "DEFAULT_LISTEN",
    "DEFAULT_TIMEOUT",
    "Finding",
    "Status",
    "check_everything",
    "check_workspace",
    "committed_sql",
    "compare",
    "meaning",
]
