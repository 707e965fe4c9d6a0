"""Folders of tags: their names are split at slashes, level by level, whatever somebody named them.

The label of a folder has at least one character: a slash at its begin belongs to it. So no folder
is the one that it lies in, or the root: of `/Speed` there is the tag `/Speed`, of `//a/b` the
folder `/` with the folder `a`. What is named to lie below too many folders is not split further.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MOST_LEVELS: Final = 32
"""Folders above each other; what is named to be deeper is a tag of the last one."""


class Below(NamedTuple):
    """What a folder has on the way to a tag: a folder, or the tag itself."""

    label: str
    is_folder: bool


class Folder:
    """A folder, or the root of a node or device.

    Args:
        path: the labels of the folder and of those above it, with slashes between them; empty for
            the root.

    Attributes:
        begin: how the names of all tags begin that are in it, at any depth.
    """

    def __init__(self, path: str) -> None:
        self.begin = f"{path}/" if path else ""
        self._is_last = _levels(path) >= MOST_LEVELS

    def below(self, name: str) -> Below | None:
        """What it has on the way to the tag of this name; None if that lies elsewhere."""
        if not name.startswith(self.begin):
            return None
        rest = name[len(self.begin) :]
        slash = -1 if self._is_last else rest.find("/", 1)
        if slash < 0:
            return Below(rest, is_folder=False)
        return Below(rest[:slash], is_folder=True)

    def path_of(self, label: str) -> str:
        """The path of a folder in it."""
        return self.begin + label


def _levels(path: str) -> int:
    """How many folders lie above each other, that of the path included."""
    count, at = 0, 0
    while at < len(path):
        count += 1
        slash = path.find("/", at + 1)
        if slash < 0:
            break
        at = slash + 1
    return count
