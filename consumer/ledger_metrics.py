"""The two balances of the ledger as metrics, read when metrics are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumer.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.core import Metric

    from consumer.balance import Balance, Messages, Rows

_PREFIX: Final = "sparkplug_zerobus_ledger"


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
        yield from _accounts(
            balance.messages,
            ("messages", "server", "received"),
            ("discarded", "messages that were not read and are not kept"),
        )
        yield from _accounts(
            balance.rows,
            ("rows", "table", "produced"),
            ("dropped", "rows that were lost or deleted"),
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}_difference",
            "messages and rows that no account explains",
            value=balance.difference,
        )


def _accounts(
    parts: Mapping[str, Messages] | Mapping[str, Rows],
    of: tuple[str, str, str],
    lost: tuple[str, str],
) -> Iterator[Metric]:
    """The accounts of one balance, and by reason the one of what was lost.

    Args:
        parts: by server or table.
        of: what is counted, what the parts are, and the account that is the sum.
        lost: that account, and what it means.
    """
    what, label, whole = of
    account_lost, meaning = lost
    amounts = GaugeMetricFamily(
        f"{_PREFIX}_{what}",
        f"{what} since the spool was made: {whole} is the sum of all other accounts",
        labels=[label, "account"],
    )
    reasons = CounterMetricFamily(
        f"{_PREFIX}_{what}_{account_lost}", meaning, labels=[label, "reason"]
    )
    for name, part in parts.items():
        accounts = part.to_dict()
        del accounts["difference"]
        for reason, amount in accounts.pop(f"{account_lost}_by_reason").items():
            reasons.add_metric([name, reason], amount)
        for account, amount in accounts.items():
            amounts.add_metric([name, account], amount)
    yield from (amounts, reasons)
