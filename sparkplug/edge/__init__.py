"""An edge node that publishes: births, data by exception, deaths, commands, stored history.

An `EdgeNode` is told what happens and answers with `Action`s to be performed, in order.
"""

from sparkplug.actions import (
    Action,
    Connect,
    Disconnect,
    Publish,
    PublishedValue,
    Scalar,
    Subscription,
)
from sparkplug.edge.encoding import NO_PROPERTIES, EncodeError, Metric, Properties, SignedEncoding
from sparkplug.edge.node import EdgeNode, EdgeNodeOptions, Session, Update
from sparkplug.edge.tags import UnknownMetricError

__all__ = [
    "NO_PROPERTIES",
    "Action",
    "Connect",
    "Disconnect",
    "EdgeNode",
    "EdgeNodeOptions",
    "EncodeError",
    "Metric",
    "Properties",
    "Publish",
    "PublishedValue",
    "Scalar",
    "Session",
    "SignedEncoding",
    "Subscription",
    "UnknownMetricError",
    "Update",
]
