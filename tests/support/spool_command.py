"""Commands about a spool's file, run as people run them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from support.services import PATIENCE
from support.tag_events import TABLE

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = [sys.executable, "-c", "from consumer.cli import main; main()"]


def run_command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `sparkplug-zerobus` with a configuration that names `spool.db` in the directory.

    The configuration's secret is not to be had: these commands do not need it.
    """
    config = directory / "consumer.yaml"
    config.write_text(
        f"""
servers: [{{name: plant-a, url: mqtt://localhost}}]
spool: {{path: {directory / "spool.db"}}}
zerobus:
  endpoint: http://127.0.0.1:9001
  workspace_url: http://127.0.0.1:9002
  table: {TABLE}
  client_id: id
  client_secret: ${{NOT_SET}}
""",
        encoding="utf-8",
    )
    return subprocess.run(
        [*_PROGRAM, *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
