"""The two balances of the ledger as metrics, read when metrics are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from consumer.balance import Balance

_PREFIX: Final = "sparkplug_zerobus_ledger"
_NOT_ACCOUNTS: Final = ("discarded_by_reason", "dropped_by_reason", "difference")


class LedgerMetrics(Collector):
    """Every account of every server and table, and how much is not explained."""

    def __init__(self, balance: Callable[[], Balance]) -> None:
        self._balance = balance

    def collect(self) -> Iterator[Metric]:
        """All of one moment."""
        try:
            balance = self._balance()
        except SpoolError:
            return  # /status says what is wrong
        messages = GaugeMetricFamily(
            f"{_PREFIX}_messages",
            "messages since the spool was made: received is the sum of all other accounts",
            labels=["server", "account"],
        )
        discarded = CounterMetricFamily(
            f"{_PREFIX}_messages_discarded",
            "messages that were not read and are not kept",
            labels=["server", "reason"],
        )
        for server, accounts in balance.messages.items():
            for account, amount in accounts.to_dict().items():
                if account not in _NOT_ACCOUNTS:
                    messages.add_metric([server, account], amount)
            for reason, amount in accounts.discarded.items():
                discarded.add_metric([server, reason], amount)
        rows = GaugeMetricFamily(
            f"{_PREFIX}_rows",
            "rows since the spool was made: produced is the sum of all other accounts",
            labels=["table", "account"],
        )
        dropped = CounterMetricFamily(
            f"{_PREFIX}_rows_dropped",
            "rows that were lost or deleted",
            labels=["table", "reason"],
        )
        for table, kept in balance.rows.items():
            for account, amount in kept.to_dict().items():
                if account not in _NOT_ACCOUNTS:
                    rows.add_metric([table, account], amount)
            for reason, amount in kept.dropped.items():
                dropped.add_metric([table, reason], amount)
        yield from (messages, discarded, rows, dropped)
        yield GaugeMetricFamily(
            f"{_PREFIX}_difference",
            "messages and rows that no account explains",
            value=balance.difference,
        )
