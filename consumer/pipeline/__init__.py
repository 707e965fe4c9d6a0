"""One consumer: what it consists of, and what its decoding thread does.

`make_consumer` puts a `Consumer` together from a configuration. The other names are for those
who tell of it: what was found missing, and how the gate stands.
"""

from consumer.pipeline.composition import make_consumer
from consumer.pipeline.consumer import Consumer
from consumer.pipeline.gaps import GapTotals
from consumer.pipeline.gate import ClosedBy, Gate, GateState

__all__ = ["ClosedBy", "Consumer", "GapTotals", "Gate", "GateState", "make_consumer"]
