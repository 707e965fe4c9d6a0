"""Whom clients trust while they talk to servers of these tests: one authority, and nobody more.

The Databricks SDK reads all authorities for each token: of a system's hundred and forty that
takes longer than all else about a stream.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = Path(__file__).with_name("nobody.pem")
"""An authority whose key is with nobody."""


def trusting_nobody(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment in which the authorities of the system are not read."""
    return {name: each for name, each in environ.items() if name != "SSL_CERT_DIR"} | {
        "SSL_CERT_FILE": str(NOBODY)
    }
