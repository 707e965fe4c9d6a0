"""Name and version of this program, as they are told over HTTP."""

from __future__ import annotations

from importlib import metadata
from typing import Final

PRODUCT: Final = "sparkplug-zerobus"


def _version() -> str:
    try:
        return metadata.version(PRODUCT)
    except metadata.PackageNotFoundError:  # run from a directory, not installed
        return "unknown"


VERSION: Final = _version()
