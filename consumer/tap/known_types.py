"""Datatypes that births declare, as far as a redaction has to know them for later values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug import DataType, MessageType

if TYPE_CHECKING:
    from consumer.tap.pseudonyms import Pseudonyms
    from sparkplug import Topic

_MOST: Final = 500_000
"""Metrics whose datatype is remembered; values of others are taken for what may hold a text."""

_OF_CHARACTERS: Final = frozenset({DataType.Int8Array, DataType.UInt8Array})
"""Arrays of bytes, which may hold a text."""

_NUMBERS: Final = (
    frozenset(
        each
        for each in DataType
        if each.name.endswith("Array") and each is not DataType.StringArray
    )
    - _OF_CHARACTERS
)
_BIRTHS: Final = (MessageType.NBIRTH, MessageType.DBIRTH)

_Place = tuple[str, str | int]


class KnownTypes:
    """Datatypes by server, edge node, device, name and alias; bounded."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, str, str], dict[_Place, int]] = {}
        self._count = 0

    def of(self, server: int, topic: Topic) -> TypesOfOwner:
        """What is known for a message on a topic; a birth begins anew."""
        key = (server, topic.group_id, topic.edge_node_id)
        if topic.message_type is MessageType.NBIRTH:
            self._count -= len(self._nodes.pop(key, ()))
        return TypesOfOwner(self, key, topic)

    def get(self, key: tuple[int, str, str], place: _Place) -> int | None:
        """A datatype of a node's metric."""
        return self._nodes.get(key, {}).get(place)

    def put(self, key: tuple[int, str, str], place: _Place, code: int) -> None:
        """Remember a datatype of a node's metric, if there is room."""
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes.setdefault(key, {}) if self._count < _MOST else {}
        if self._count < _MOST or place in node:
            self._count += place not in node
            node[place] = code


class TypesOfOwner:
    """Datatypes of the metrics of one message: those that it says, and those of the births.

    Args:
        known: of all nodes.
        key: of the message's node.
        topic: of the message.
    """

    def __init__(self, known: KnownTypes, key: tuple[int, str, str], topic: Topic) -> None:
        self._known = known
        self._key = key
        self._device = topic.device_id or ""
        self._is_birth = topic.message_type in _BIRTHS

    def learn(self, name: str, alias: int | None, code: int) -> None:
        """Remember what a metric of a birth declares, if its bytes may have to be judged by it."""
        if code in _NUMBERS or code == DataType.StringArray:
            self.declare(name, alias, code)

    def declare(self, name: str, alias: int | None, code: int) -> None:
        """Remember a datatype, if this is a birth."""
        if self._is_birth:
            self._known.put(self._key, (self._device, name), code)
            if alias is not None:  # one for the whole node
                self._known.put(self._key, ("", alias), code)

    def known(self, name: str, alias: int | None, code: int | None) -> int | None:
        """The datatype of a metric: what it says itself, or else the birth; None if neither."""
        if code is not None:
            return code
        if name:
            return self._known.get(self._key, (self._device, name))
        return None if alias is None else self._known.get(self._key, ("", alias))


def redacted_bytes(words: Pseudonyms, data_type: int | None, raw: bytes) -> bytes:
    """Bytes of an array, a file or of anything else: numbers stay, texts are replaced."""
    if data_type in _NUMBERS:
        return raw
    if data_type == DataType.StringArray:
        try:
            texts = raw.decode().split("\0")
        except UnicodeDecodeError:
            return words.raw(raw)
        return "\0".join(map(words.text, texts)).encode()
    return words.raw(raw)
