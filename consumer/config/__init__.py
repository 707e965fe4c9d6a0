"""The configuration: `load` a file or `parse` a mapping, then read attributes.

The model (`model.py`, `host.py`, `server.py`, `databricks.py`) is the single source of names,
defaults, bounds and descriptions.
"""

from consumer.config.databricks import Zerobus, ZerobusBatch
from consumer.config.host import Host, Rebirth
from consumer.config.loading import load, parse
from consumer.config.model import (
    Batch,
    Configuration,
    Http,
    Limits,
    Log,
    Normalize,
    Spool,
)
from consumer.config.server import Server, Tls

__all__ = [
    "Batch",
    "Configuration",
    "Host",
    "Http",
    "Limits",
    "Log",
    "Normalize",
    "Rebirth",
    "Server",
    "Spool",
    "Tls",
    "Zerobus",
    "ZerobusBatch",
    "load",
    "parse",
]
