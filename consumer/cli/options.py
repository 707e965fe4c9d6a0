"""Options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


class Number(click.FloatRange):
    """A number within bounds, and a number indeed: `nan` passes every comparison of bounds."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error for what is none."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number of which there is an end", param, ctx)
        return number


def config_option(help_text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--config FILE`, required; the command gets it as `config_path`."""
    return click.option(
        "--config",
        "config_path",
        required=True,
        type=click.Path(path_type=Path, dir_okay=False),
        help=help_text,
    )
