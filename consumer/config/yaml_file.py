"""The file of the configuration: YAML into plain values, within bounds.

YAML has aliases, which repeat what stands elsewhere: ten lines of ten aliases each stand for ten
thousand million values. So everything is counted as it would be written without them, and refused
before anything is made of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from consumer.config.files import FileError, read_text
from consumer.config.keys import dotted
from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 1024 * 1024
"""Most bytes of a configuration file, and most characters of its values, aliases written out."""

MOST_NODES: Final = 20_000
"""Most keys and values of a configuration file, aliases written out."""

_DEEPEST: Final = 10
_MERGE: Final = "tag:yaml.org,2002:merge"
_TEXT: Final = "tag:yaml.org,2002:str"
_LONGEST_NUMBER: Final = 256
"""Most characters of a number that is read: 1:59:59..., to the base of 60, takes a minute."""
# What SafeLoader raises for a text that looks like a number or a date, or is tagged as one.
_NOT_OF_ITS_TYPE: Final = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)


class _Refused(Exception):  # noqa: N818 - worded as ConfigurationError, never escapes
    """A YAML file is refused: a line of it and what is wrong, in words that quote no value."""

    def __init__(self, mark: Any, text: str) -> None:
        line = f"line {mark.line + 1}: " if mark is not None else ""
        super().__init__(line + text)


class _Extent(NamedTuple):
    """How much a part of the file holds: keys and values, characters of them, levels."""

    nodes: int
    characters: int
    levels: int


class _BoundedLoader(yaml.SafeLoader):
    """Refuses what is too much or too deep, keys given twice, and aliases within themselves."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._characters = 0
        self._depth = 0
        self._deepest = 0
        self._extents: dict[str, _Extent] = {}
        """The extent of the part of each anchor that has been read to its end, by name."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs are not complete
        if isinstance(event, yaml.AliasEvent):
            extent = self._extents.get(event.anchor or "")
            if extent is None and event.anchor in self.anchors:
                raise _Refused(
                    event.start_mark,
                    "is nested too deeply: the alias is within what it stands for; remove it",
                )
            if extent is not None:
                self._add(event.start_mark, extent)
            return super().compose_node(parent, index)
        nodes, characters, deepest = self._nodes, self._characters, self._deepest
        text = event.value if isinstance(event, yaml.ScalarEvent) else ""
        is_collection = isinstance(event, yaml.CollectionStartEvent)
        self._deepest = self._depth
        self._add(event.start_mark, _Extent(1, len(text), int(is_collection)))
        self._depth += is_collection
        node = super().compose_node(parent, index)
        self._depth -= is_collection
        if event.anchor is not None:
            self._extents[event.anchor] = _Extent(
                self._nodes - nodes, self._characters - characters, self._deepest - self._depth
            )
        self._deepest = max(deepest, self._deepest)
        return node

    def _add(self, mark: Any, extent: _Extent) -> None:
        self._nodes += extent.nodes
        self._characters += extent.characters
        self._deepest = max(self._deepest, self._depth + extent.levels)
        if self._deepest > _DEEPEST:
            raise _Refused(
                mark, "is nested too deeply; no key of a configuration is deeper than 4 levels"
            )
        if self._nodes > MOST_NODES or self._characters > MOST_BYTES:
            raise _Refused(
                mark,
                f"up to here there are more than {MOST_NODES:,} keys and values, or more than "
                "1 MiB of them, every alias (*name) counted as what it stands for; remove some",
            )

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping; YAML takes the last of two equal keys without a word, this refuses them."""
        node = super().compose_mapping_node(anchor)
        # Here, not when it is constructed: then it may hold keys that it is to take over.
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                text = f"is given twice, in lines {seen[key.value]} and {line}; remove one"
                raise _Refused(None, f"{dotted((key.value,))}: {text}")
            seen[key.value] = line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        is_long = isinstance(node, yaml.ScalarNode) and len(node.value) > _LONGEST_NUMBER
        try:
            if is_long and node.tag != _TEXT:
                raise ValueError
            return super().construct_object(node, deep=deep)
        except _NOT_OF_ITS_TYPE:
            raise _Refused(
                node.start_mark, "looks like a number or a date, and is none; put it in quotes"
            ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigurationError: it cannot be read, is not such a file, or too much of one. The text
            quotes nothing of the file but the names of keys: a value may be a secret.
    """
    try:
        data = _parse_yaml(read_text(path, MOST_BYTES), path)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: no such file; start from examples/sparkplug-zerobus.yaml"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (FileError, _Refused) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: must hold keys, such as servers: and zerobus:")
    return data


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, Loader=_BoundedLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        # The problem may quote a value: keep single characters only.
        what = re.sub(r"\s*(['\"]).{2,}\1", "", error.problem or "syntax error").removesuffix(
            ", but found"
        )
        raise ConfigurationError(
            f"{path}: {where}not valid YAML ({what}); indent with spaces, and quote text that "
            "begins with one of * & ! % @ ` or holds ': '"
        ) from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{path}: is not text that YAML allows") from None
