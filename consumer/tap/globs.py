"""Globs over `group/node[/device]/metric` that say what is shown.

They are those of `include` in the configuration: `*` stands for any text, slashes too, because
names of metrics have slashes, and a metric may be a node's or a device's. One that ends before a
metric means all that is below.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from consumer.config import selection
from consumer.errors import ConfigurationError
from sparkplug import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST: Final = 4_096
_MOST_REMEMBERED: Final = 10_000
_ANY_NAME: Final = "\uffff"
"""A name that no metric has: only what matches every name matches it."""
_TOKEN: Final = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


class Places:
    """What some globs match; everything if there are none.

    Raises:
        ConfigurationError: one of them cannot match anything; says why and how to mend it.
    """

    def __init__(self, globs: Sequence[str] = ()) -> None:
        for glob in globs:
            _check(glob)
        below = [each for glob in globs for each in (glob, f"{glob.removesuffix('/')}/*")]
        self._wanted = selection(below, ())
        beginnings = {begin for glob in globs for begin in _beginnings(glob)}
        joined = "|".join(fnmatch.translate(each) for each in sorted(beginnings))
        self._begin = re.compile(joined).match if beginnings else lambda _text: None
        self.may_have = lru_cache(_MOST_REMEMBERED)(self._may_have)
        """Whether metrics of `group/node[/device]` may match."""
        self.has_all = lru_cache(_MOST_REMEMBERED)(self._has_all)
        """Whether all metrics of `group/node[/device]` match, whatever their names."""

    @property
    def is_everything(self) -> bool:
        """Whether there are no globs."""
        return self._wanted is None

    def __call__(self, place: str) -> bool:
        """Whether `group/node[/device]/metric` matches."""
        return self._wanted is None or self._wanted(place)

    def _may_have(self, owner: str) -> bool:
        # Some begin of the glob matches up to the slash before the metric; its rest can match
        # something. Or the glob ends with the owner, or with what the owner is part of.
        return bool(self._begin(f"{owner}/")) or self._has_all(owner)

    def _has_all(self, owner: str) -> bool:
        return self(f"{owner}/{_ANY_NAME}")


def _check(glob: str) -> None:
    if len(glob) > _LONGEST:
        raise ConfigurationError(f"a glob of {len(glob)} characters: at most {_LONGEST} are read")
    problem = ""
    levels = glob.split("/")
    if not glob.strip():
        problem = "is empty: leave it out to see everything"
    elif levels[0] == NAMESPACE:
        problem = f"begins with {NAMESPACE}: it is no topic; write group/node/device/metric"
    elif not all(levels[:-1][:2]):
        problem = "has an empty level, which no group or edge node is: write * for any of them"
    elif "+" in levels[:3] or levels[-1] == "#":
        problem = "has a wildcard of MQTT: write * instead"
    elif re.search(r"\[", _TOKEN.sub(lambda token: token[0] if len(token[0]) == 1 else "", glob)):
        problem = "has a bracket that is not closed: write [[] for a bracket that is meant"
    if problem:
        raise ConfigurationError(f"the glob {glob!r} {problem}")


def _beginnings(glob: str) -> list[str]:
    """All begins of a glob that may match a text with a slash at its end."""
    ends = [
        token.end() for token in _TOKEN.finditer(glob) if token[0] in "/*?" or token[0][0] == "["
    ]
    return [glob[:end] for end in ends]
