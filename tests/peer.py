"""The independent Sparkplug implementation pysparkplug, loaded beside ours.

Both name their schema sparkplug_b.proto, which one descriptor pool does not take:
the peer gets a pool of its own while it is imported.
"""

from __future__ import annotations

from unittest import mock

from google.protobuf import descriptor_pool

with mock.patch.object(descriptor_pool, "Default", return_value=descriptor_pool.DescriptorPool()):
    from pysparkplug._datatype import DataType as PeerType
    from pysparkplug._metric import Metric as PeerMetric
    from pysparkplug._payload import (
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
