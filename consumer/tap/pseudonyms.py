"""Words in the place of names and texts: the same for the same, and nothing to be found in them.

Each is drawn by a keyed hash (BLAKE2b) of what it replaces. The key is random and kept nowhere, so
nobody can try the words of a dictionary; only lengths stay, and what is equal stays equal.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

KEPT_FIRST: Final = frozenset({"Node Control", "Device Control", "Node Info", "_types_"})
"""First parts of names that the specification or Ignition gives; they stay."""

KEPT_SECOND: Final = frozenset(
    {"Rebirth", "Reboot", "Next Server", "Scan Rate", "Transmission Version"}
)
"""Second parts that stay behind one of the first ones."""

KEPT_NAMES: Final = frozenset({"bdSeq"})

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_LETTERS: Final = bytes(ord(_ALPHABET[number % len(_ALPHABET)]) for number in range(256))
_BLOCK: Final = 64  # bytes of a BLAKE2b digest
_DRAWS: Final = 50
_MOST_REMEMBERED: Final = 500_000
"""Parts of names of which no two get the same word."""

_MOST_REMEMBERED_CHARACTERS: Final = 200


class Pseudonyms:
    """Draws words.

    Args:
        key: 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def name(self, name: str) -> str:
        """A name in the place of another; slashes stay, and equal parts between them stay equal.

        Different parts get different words, which are longer where all of their length are taken.
        Names that the specification or Ignition gives stay.

        Raises:
            TypeError: it is bytes, as protobuf gives what is no UTF-8.
        """
        if name in KEPT_NAMES:
            return name
        parts = _checked(name).split("/")
        known = len(parts) > 1 and parts[0] in KEPT_FIRST
        words = [self.part(each) for each in parts]
        if known:
            words[0] = parts[0]
            if parts[1] in KEPT_SECOND:
                words[1] = parts[1]
        return "/".join(words)

    def part(self, part: str) -> str:
        """A word in the place of a part of a name, or of a level of a topic."""
        if not part:
            return part
        word = self._given.get(part)
        if word is None:
            word = self._draw(part)
            short = len(part) <= _MOST_REMEMBERED_CHARACTERS
            if short and len(self._given) < _MOST_REMEMBERED:
                self._given[part] = word
                self._taken.add(word)
        return word

    def text(self, text: str) -> str:
        """A text of the same length, in characters and in UTF-8.

        Raises:
            TypeError: it is bytes, as protobuf gives what is no UTF-8.
        """
        return self._word(_checked(text), 0)

    def raw(self, raw: bytes) -> bytes:
        """As many bytes."""
        return self._stream(b"raw", raw, len(raw))

    def _draw(self, part: str) -> str:
        # By length and chance, so that a later draw repeats none before it.
        longer = ""
        for draw in range(10 * _DRAWS):
            word = self._word(part + longer, draw)
            if word not in self._taken and word != part:
                return word
            if draw % _DRAWS == _DRAWS - 1:
                longer += "x"
        return self._word(part + longer, 0)

    def _word(self, text: str, draw: int) -> str:
        seed = draw.to_bytes(4, "big") + text.encode(errors="surrogatepass")
        if text.isascii():
            return self._stream(b"word", seed, len(text)).translate(_LETTERS).decode()
        stream = self._stream(b"word", seed, 2 * len(text))
        numbers = (stream[at] << 8 | stream[at + 1] for at in range(0, len(stream), 2))
        return "".join(map(_letter, text, numbers))

    def _stream(self, purpose: bytes, seed: bytes, size: int) -> bytes:
        """Random bytes that are the same for the same seed."""
        if size <= _BLOCK:
            return hashlib.blake2b(seed, key=self._key, person=purpose).digest()[:size]
        root = hashlib.blake2b(seed, key=self._key, person=purpose).digest()
        return hashlib.shake_256(root).digest(size)


def _letter(character: str, number: int) -> str:
    """A letter or digit that takes as many bytes in UTF-8."""
    code = ord(character)
    if code < 0x80:
        return _ALPHABET[number % len(_ALPHABET)]
    if code < 0x800:
        return chr(0xE0 + number % 0x17)  # Latin-1 letters
    if code < 0x10000:
        return chr(0x4E00 + number % 0x1000)  # CJK ideographs
    return chr(0x20000 + number % 0x1000)


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("no text")
    return text
