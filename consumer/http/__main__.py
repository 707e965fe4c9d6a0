"""`python -m consumer.http docs/operating.md` writes the table of metrics into that page."""

from __future__ import annotations

import sys
from pathlib import Path

from consumer.http.numbers import NUMBERS
from consumer.monitor import with_table

if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(with_table(page.read_text("utf-8"), [NUMBERS]), "utf-8")
