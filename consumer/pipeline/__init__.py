"""One consumer: what it consists of, and what its decoding thread does.

`Consumer` is composed, started and stopped here. The other names are for those who tell of
it: what was found missing, and how the gate stands.
"""

from consumer.pipeline.consumer import Consumer
from consumer.pipeline.gaps import GapTotals
from consumer.pipeline.gate import ClosedBy, Gate, GateState

__all__ = ["ClosedBy", "Consumer", "GapTotals", "Gate", "GateState"]
