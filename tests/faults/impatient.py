"""The consumer with another patience for acknowledgements, which has no configuration key.

Arguments: seconds, then those of sparkplug-zerobus.
"""

import functools
import sys

from consumer.cli import main
from consumer.pipeline import wiring as deliveries

deliveries.DeliveryOptions = functools.partial(
    deliveries.DeliveryOptions, ack_timeout=float(sys.argv.pop(1))
)
main()
