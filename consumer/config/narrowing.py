"""What is read of a server: by globs over `group/node[/device]/metric`, and by topic filters."""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import TYPE_CHECKING, Final

from sparkplug import ANY_ID, sight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sparkplug import NodeSight

_MOST_REMEMBERED: Final = 10_000
"""Edge nodes of which it is remembered what filters show."""


def selection(include: Iterable[str], exclude: Iterable[str]) -> Callable[[str], bool] | None:
    """A test of `group/node[/device]/metric`, by the globs of `include` and `exclude`.

    `*`, `?` and `[...]` match a slash as well, and upper and lower case differ. None if everything
    passes.
    """
    included = [re.compile(fnmatch.translate(glob)).match for glob in include]
    excluded = [re.compile(fnmatch.translate(glob)).match for glob in exclude]
    if not included and not excluded:
        return None

    def wanted(place: str) -> bool:
        if included and not any(match(place) for match in included):
            return False
        return not any(match(place) for match in excluded)

    return wanted


def sight(topics: tuple[str, ...]) -> Callable[[str, str], NodeSight] | None:
    """What topic filters show of an edge node, by its group id and its own; None: all of each."""
    if sight_of(topics, ANY_ID, ANY_ID).whole:
        return None
    return functools.lru_cache(_MOST_REMEMBERED)(functools.partial(sight_of, topics))
