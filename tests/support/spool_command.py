"""Commands about a spool's file, run as people run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.program import run
from support.tag_events import TABLE

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def run_command(
    directory: Path, *arguments: str, topics: str = "[spBv1.0/#]"
) -> subprocess.CompletedProcess[str]:
    """Run `sparkplug-zerobus` with a configuration that names `spool.db` in the directory.

    The configuration's secret is not to be had: these commands do not need it.
    """
    config = directory / "consumer.yaml"
    config.write_text(
        f"""
servers: [{{name: plant-a, url: mqtt://localhost, topics: {topics}}}]
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
    return run(*arguments, "--config", str(config))
