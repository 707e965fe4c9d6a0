"""`python -m consumer.config docs|example` prints what is generated from the model."""

from __future__ import annotations

import sys
from typing import Final

from consumer.config.documentation import example, markdown

TEXTS: Final = {"docs": markdown, "example": example}


def main(arguments: list[str]) -> int:
    """Print the chosen text; 2 for anything else."""
    if len(arguments) != 1 or arguments[0] not in TEXTS:
        print("usage: python -m consumer.config docs|example", file=sys.stderr)  # noqa: T201
        return 2
    sys.stdout.write(TEXTS[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
