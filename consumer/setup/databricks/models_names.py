"""Names of views and columns out of names that publishers chose, and those in SQL texts.

What a publisher wrote gets into a text of SQL in one of two ways only: as a name of ASCII letters,
digits, underscores and dots that was made of it, or as a literal of harmless characters; where
a name has others, its MD5 is compared.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

import xxhash

MOST_CHARACTERS: Final = 120
"""Of a name that is made of a publisher's; Unity Catalog takes 255."""

_OTHER: Final = re.compile(r"[^A-Za-z0-9_]+", re.ASCII)
_OTHER_THAN_DOTS: Final = re.compile(r"[^A-Za-z0-9_.]+", re.ASCII)
_HARMLESS: Final = re.compile(r"[A-Za-z0-9_./ \-]*", re.ASCII)
_MARK_DIGITS: Final = 8


def view_part(name: str) -> str:
    """A name of a template as part of the name of a view: `Pumps/Motor` is `pumps_motor`."""
    part = _OTHER.sub("_", _folded(name)).strip("_").lower()
    return part[:MOST_CHARACTERS] or "template"


def column_name(member: str) -> str:
    """The path of a member as name of a column: `bearing/temp` is `bearing.temp`."""
    levels = (_OTHER_THAN_DOTS.sub("_", level) for level in _folded(member).split("/"))
    return ".".join(level for level in levels if level)[:MOST_CHARACTERS] or "member"


class Names:
    """Gives names that differ in more than capitals; the first to ask for one gets it.

    Args:
        reserved: names that nobody gets.
    """

    def __init__(self, *reserved: str) -> None:
        self._given = {name.lower() for name in reserved}

    def give(self, wanted: str, origin: str, endings: tuple[str, ...] = ("",)) -> str:
        """A name that is free with each of the endings.

        Args:
            wanted: the name as it should be.
            origin: the original, of which a mark is made where the name is not free: the same
                one each time.
            endings: what is put behind the name.
        """
        name = wanted
        mark = xxhash.xxh3_64_hexdigest(origin.encode("utf-8", "surrogatepass"))[:_MARK_DIGITS]
        while any((name + end).lower() in self._given for end in endings):
            name = f"{name}_{mark}"
        self._given |= {(name + end).lower() for end in endings}
        return name


def identifier(name: str) -> str:
    """A name between backticks, as one part, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def equals(column: str, text: str) -> str:
    """The condition that a column has this text."""
    if _HARMLESS.fullmatch(text):
        return f"{column} = '{text}'"
    digest = hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return f"md5({column}) = '{digest}'"


def _folded(name: str) -> str:
    """Letters without their marks, where there are such."""
    parts = unicodedata.normalize("NFKD", name)
    return "".join(each for each in parts if not unicodedata.combining(each))
