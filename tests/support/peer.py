"""The independent Sparkplug implementation pysparkplug, under the names the tests use."""

from pysparkplug import DataType as PeerType
from pysparkplug import (
    DBirth,
    DCmd,
    DData,
    DDeath,
    NBirth,
    NCmd,
    NData,
    NDeath,
    State,
)
from pysparkplug import Metric as PeerMetric

__all__ = [
    "DBirth",
    "DCmd",
    "DData",
    "DDeath",
    "NBirth",
    "NCmd",
    "NData",
    "NDeath",
    "PeerMetric",
    "PeerType",
    "State",
]
