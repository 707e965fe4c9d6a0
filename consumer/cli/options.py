"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def config_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--config FILE`, required; the command gets it as `config_path`."""
    return click.option(
        "--config",
        "config_path",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help=help_text,
    )
