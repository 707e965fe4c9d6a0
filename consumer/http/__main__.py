"""`python -m consumer.http docs/operating.md` writes the table of metrics into that page."""

from __future__ import annotations

import sys
from pathlib import Path

from consumer.http.numbers import ACCESS_NUMBERS, NUMBERS
from consumer.monitor import with_table

if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        page.write_text(with_table(page.read_text("utf-8"), [NUMBERS, ACCESS_NUMBERS]), "utf-8")
