"""The template definitions of all edge nodes; equal ones are kept once.

A gateway publishes all of its UDT definitions in the NBIRTH of each of its edge nodes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sparkplug.payload.complex.definitions import (
    MAX_TEMPLATE_BYTES,
    DefinitionProblem,
    TemplateDefinitions,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

MAX_MEMBERS: Final = 500_000
"""Default for the most members of all different definitions together, of all nodes."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Default for their most bytes, encoded."""

_NODE_DEFINITIONS: Final = 1000
_NODE_MEMBERS: Final = 50_000


@dataclass(slots=True)
class _SharedDefinitions:
    """Definitions, why some of a birth's are not among them, and how many nodes have them."""

    definitions: TemplateDefinitions
    problems: list[DefinitionProblem]
    nodes: int = 0

    @property
    def members(self) -> int:
        """Members that count for the limit: one more per definition, as an empty one takes room."""
        return len(self.definitions) + self.definitions.members_in_all


class DefinitionLibrary:
    """The template definitions of each edge node's last NBIRTH; equal sets are kept once."""

    def __init__(self, max_members: int = MAX_MEMBERS, max_bytes: int = MAX_BYTES) -> None:
        self._members_left = max_members
        self._bytes_left = max_bytes
        self._by_content: dict[Hashable, _SharedDefinitions] = {}
        self._content_of: dict[Hashable, Hashable] = {}
        self._none = TemplateDefinitions()

    def __len__(self) -> int:
        """The number of different sets of definitions."""
        return len(self._by_content)

    def of(self, node: Hashable) -> TemplateDefinitions:
        """The definitions of a node."""
        shared = self._by_content.get(self._content_of.get(node))
        return self._none if shared is None else shared.definitions

    def replace(
        self, node: Hashable, definitions: Sequence[tuple[str, bytes]]
    ) -> list[DefinitionProblem]:
        """Forget a node's definitions, take these (metric name, encoded Template).

        Returns why some are not taken; see TemplateDefinitions.replace.
        """
        self._forget(node)
        if not definitions:
            return []
        content: Hashable = _digest(definitions)
        shared = self._by_content.get(content)
        if shared is None:
            found = TemplateDefinitions(
                max_definitions=min(_NODE_DEFINITIONS, max(self._members_left, 0)),
                max_members=min(_NODE_MEMBERS, max(self._members_left, 0)),
                max_bytes=min(MAX_TEMPLATE_BYTES, self._bytes_left),
            )
            shared = _SharedDefinitions(found, found.replace(definitions))
            if DefinitionProblem.TOO_MANY in shared.problems:
                content = (content, node)  # another node may come when there is more room
            self._by_content[content] = shared
            self._members_left -= shared.members
            self._bytes_left -= found.bytes_in_all
        shared.nodes += 1
        self._content_of[node] = content
        return shared.problems

    def _forget(self, node: Hashable) -> None:
        content = self._content_of.pop(node, None)
        if content is None:
            return
        shared = self._by_content[content]
        shared.nodes -= 1
        if not shared.nodes:
            del self._by_content[content]
            self._members_left += shared.members
            self._bytes_left += shared.definitions.bytes_in_all


def _digest(definitions: Sequence[tuple[str, bytes]]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for name, encoded in definitions:
        text = name.encode(errors="surrogatepass")
        found.update(b"%d %d " % (len(text), len(encoded)) + text + encoded)
    return found.digest()
