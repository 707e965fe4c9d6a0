"""From the spool to the acknowledgement: what goes over which stream, and when.

`Deliveries` has a `Delivery` for each table, and that one or several streams. Rows leave the
spool when Zerobus has acknowledged them, or when they were set aside as dead letters.
"""

from consumer.delivery.delivery import Deliveries, TableOptions
from consumer.delivery.in_flight import CallLimits
from consumer.delivery.options import DeliveryOptions
from consumer.delivery.origin import RecentMessages
from consumer.delivery.stats import DeliveryStats, StreamState, together
from consumer.delivery.table import Delivery

__all__ = [
    "CallLimits",
    "Deliveries",
    "Delivery",
    "DeliveryOptions",
    "DeliveryStats",
    "RecentMessages",
    "StreamState",
    "TableOptions",
    "together",
]
