"""From the spool to the acknowledgement: what goes over which stream, and when.

`Deliveries` has a `TableDelivery` for each table, and that one or several streams. Rows leave the
spool when Zerobus has acknowledged them, or when they were set aside as dead letters.

A *stream* of a table is a sequence of its rows, with a thread (`StreamSender`) that lives as long
as the consumer. What it opens at the service, one after the other, is called a stream as well: each
is an `OpenStream`. These are what numbers call opened, reconnected and rotated.
"""

from consumer.delivery.calls import CallLimits
from consumer.delivery.deliveries import Deliveries, TableOptions
from consumer.delivery.options import DeliveryOptions
from consumer.delivery.origin import Origins
from consumer.delivery.stats import DeliveryStats, StreamState, together
from consumer.delivery.table import TableDelivery

__all__ = [
    "CallLimits",
    "Deliveries",
    "DeliveryOptions",
    "DeliveryStats",
    "Origins",
    "StreamState",
    "TableDelivery",
    "TableOptions",
    "together",
]
