"""How single things are written in the JSON of the API: values, times, levels, pages of lists."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.pipeline import Value

LIST_CHARACTERS: Final = 200
_EXACT: Final = 2**53
_UNITS: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class Level(StrEnum):
    """How well something is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "unknown"


LEVELS_OF_QUALITY: Final = {
    "GOOD": Level.OK,
    "UNCERTAIN": Level.WARNING,
    "STALE": Level.WARNING,
    "BAD": Level.WRONG,
}


class Page(NamedTuple):
    """Which part of a list is asked for."""

    limit: int = 50
    offset: int = 0

    def of(self, items: Sequence[Any]) -> Sequence[Any]:
        """That part of a list."""
        return items[self.offset : self.offset + self.limit]

    def answer(self, total: int, items: Sequence[Any], **more: Any) -> dict[str, Any]:
        """The answer to a request for a list.

        Args:
            total: items of the whole list.
            items: those of the page.
            more: what else the answer has.
        """
        shown = {"total": total, "offset": self.offset, "limit": self.limit}
        return {**shown, **more, "items": list(items)}


def size_text(size: float) -> str:
    """Bytes as people read them: 4 GiB, 1.5 MiB."""
    unit = next(each for each in reversed(_UNITS) if size >= _UNITS[each] or each == "B")
    return f"{size / _UNITS[unit]:.1f}".removesuffix(".0") + f" {unit}"


def milliseconds(at_us: int | None) -> int | None:
    """A time in µs as one in ms; None for never."""
    return at_us // 1_000 if at_us else None


def shown_value(value: Value | None, characters: int = LIST_CHARACTERS) -> tuple[Any, bool]:
    """The value of a row for JSON, and whether it is a text that was cut."""
    found = None if value is None else value.value
    if isinstance(found, str) and len(found) > characters:
        return found[:characters], True
    if isinstance(found, int) and abs(found) > _EXACT:
        return str(found), False
    return found, False
