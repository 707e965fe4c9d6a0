"""Logs name the part that speaks, and docs/operating.md lists the names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def loggers():
    """The names of all loggers that modules of the product make."""
    for package in ("consumer", "zerobus_local"):
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name in re.findall(
                r"^\w+ = .*getLogger\((.*)\)", path.read_text("utf-8"), re.MULTILINE
            ):
                yield module if name == "__name__" else name.strip('"')


def test_the_page_lists_every_logger_and_no_other():
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    table = page.partition("| logger | speaks of |")[2].partition("\n\n")[0]
    listed = set(
        re.findall(r"`([\w.*]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    )
    found = {re.sub(r"^zerobus_local\..*", "zerobus_local.*", name) for name in loggers()}
    assert listed == found | {"uvicorn.*"}
