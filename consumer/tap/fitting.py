"""Columns of a line, cut so that they fit into the width of a terminal."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

BETWEEN: Final = "  "
"""Stands between the columns of a line."""
CUT: Final = "\u2026"
"""Stands for what was cut off a text."""

_LEAST: Final = 4
"""Cells of a column of which hardly anything can be shown."""
_MOST_LEFT_OUT: Final = 2


class Field(NamedTuple):
    """A column of a line.

    Args:
        text: what stands there.
        style: of `rich`.
        least: cells down to which it may be cut; 0: never, as of a number, or left out.
        keeps_end: whether its end is kept, and not its beginning.
    """

    text: str
    style: str = ""
    least: int = 0
    keeps_end: bool = False


def fitted(fields: Sequence[Field], width: int) -> list[Field]:
    """The fields within so many cells, with `BETWEEN` between them.

    The longest of those that may be cut are cut first. If that does not do they are cut to next to
    nothing, then the first fields are left out, and at last those that stand behind the width.
    """
    for left_out in range(_MOST_LEFT_OUT + 1):
        for least in (None, _LEAST):
            found = _cut_to(fields[left_out:], width, least)
            if found is not None:
                return found
    kept: list[Field] = []
    left = width
    for field in fields[_MOST_LEFT_OUT:]:
        shown = _shortened(field, _LEAST) if field.least else field
        left -= _cells(shown.text)
        if left < 0:
            break
        kept.append(shown)
        left -= len(BETWEEN)
    return kept


def _cut_to(fields: Sequence[Field], width: int, least: int | None) -> list[Field] | None:
    """The fields, the longest ones cut; None if they do not fit. `least`: instead of their own."""
    cells = [_cells(field.text) for field in fields]
    room = width - len(BETWEEN) * (len(fields) - 1)

    def lengths(level: int) -> list[int]:
        return [
            min(have, max(least or field.least, level)) if field.least else have
            for field, have in zip(fields, cells, strict=True)
        ]

    level = bisect_right(range(width + 1), room, key=lambda level: sum(lengths(level))) - 1
    if level < 0:
        return None
    return [
        field if have <= most else _shortened(field, most)
        for field, have, most in zip(fields, cells, lengths(level), strict=True)
    ]


def _shortened(field: Field, cells: int) -> Field:
    """The field within so many cells, with a sign that it was cut if it was."""
    from rich.cells import get_character_cell_size  # noqa: PLC0415 - see _cells

    if _cells(field.text) <= cells:
        return field
    left = cells - 1
    kept: list[str] = []
    for character in reversed(field.text) if field.keeps_end else field.text:
        left -= get_character_cell_size(character)
        if left < 0:
            break
        kept.append(character)
    if field.keeps_end:
        return field._replace(text=CUT + "".join(reversed(kept)))
    return field._replace(text="".join(kept) + CUT)


def _cells(text: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415 - a fifth of a second that --json saves

    return cell_len(text)
