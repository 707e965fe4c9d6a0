"""The configuration: `load` a file or `parse` a mapping, then read attributes.

The model (`model.py`, `host.py`, `server.py`, `databricks.py`) is the single source of names,
defaults, bounds and descriptions.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from consumer.config.addresses import split_url
    from consumer.config.databricks import Zerobus, ZerobusBatch
    from consumer.config.effective import not_default, shown
    from consumer.config.files import read_secret
    from consumer.config.fleets import fleet_limits, fleet_options, source_names
    from consumer.config.host import Host, Rebirth
    from consumer.config.http import Http, HttpKey, key_problem
    from consumer.config.loading import load, parse
    from consumer.config.model import (
        BatchSection,
        Configuration,
        LimitsSection,
        Log,
        Normalize,
        SpoolSection,
    )
    from consumer.config.narrowing import selection, sight
    from consumer.config.secret_source import SecretSource
    from consumer.config.server import Server, TlsSection
    from consumer.config.tables import configured_layout, configured_tables
    from consumer.config.units import MIB, format_duration, format_size, parse_duration, parse_size
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "addresses": ["split_url"],
            "databricks": ["Zerobus", "ZerobusBatch"],
            "effective": ["not_default", "shown"],
            "files": ["read_secret"],
            "fleets": ["fleet_limits", "fleet_options", "source_names"],
            "host": ["Host", "Rebirth"],
            "http": ["Http", "HttpKey", "key_problem"],
            "loading": ["load", "parse"],
            "model": [
                "BatchSection",
                "Configuration",
                "LimitsSection",
                "Log",
                "Normalize",
                "SpoolSection",
            ],
            "narrowing": ["selection", "sight"],
            "secret_source": ["SecretSource"],
            "server": ["Server", "TlsSection"],
            "tables": ["configured_layout", "configured_tables"],
            "units": ["MIB", "format_duration", "format_size", "parse_duration", "parse_size"],
        },
    )

__all__ = [
    "MIB",
    "BatchSection",
    "Configuration",
    "Host",
    "Http",
    "HttpKey",
    "LimitsSection",
    "Log",
    "Normalize",
    "Rebirth",
    "SecretSource",
    "Server",
    "SpoolSection",
    "TlsSection",
    "Zerobus",
    "ZerobusBatch",
    "configured_layout",
    "configured_tables",
    "fleet_limits",
    "fleet_options",
    "format_duration",
    "format_size",
    "key_problem",
    "load",
    "not_default",
    "parse",
    "parse_duration",
    "parse_size",
    "read_secret",
    "selection",
    "shown",
    "sight",
    "source_names",
    "split_url",
]
