"""Files that arrive in several parts, put together (specification 6.4.8, MetaData).

The specification says that parts have `is_multi_part` and a number, `seq`, and leaves
open where they begin and end. A file is complete when its parts are without gap, numbered
from 0 or 1, and their size or their MD5 is a declared one; or when they are without gap
from 0 to one that says that it is no multi-part any more. A size or sum that is a part's
own is taken as the part's; publishers use both.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sparkplug.payload.complex.files import bytes_text, described, md5_of, metadata_of, plain_sum
from sparkplug.payload.complex.json_values import json_text
from sparkplug.pb.sparkplug_b_pb2 import MetaData

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Hashable

_FIRST_NUMBERS: Final = (0, 1)
_PART_OVERHEAD: Final = 256
"""Bytes counted per part on top of its content, so that empty parts are not free."""


class PartProblem(StrEnum):
    """Why parts did not become a file. A label of a counter."""

    DUPLICATE = "duplicate_part"
    """The part was there already; it is ignored."""
    SUPERSEDED = "file_superseded"
    """Another file began on the metric before this one was complete."""
    EXPIRED = "file_expired"
    """No further part came within the time allowed."""
    TOO_LARGE = "file_too_large"
    """The file needs more bytes than all unfinished files together may have."""
    MADE_ROOM = "file_made_room"
    """Dropped, as the one longest without a part, to make room for others."""


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file whose last part has come.

    `text` is what bytes_text says of it, with `parts`, their number. `md5_matches` is
    None where no sum was declared.
    """

    text: str
    content: bytes
    parts: int
    md5_matches: bool | None


def _new_sum() -> HASH:
    return hashlib.md5(usedforsecurity=False)


@dataclass(slots=True)
class _File:
    """The parts of one file so far."""

    about: MetaData = field(default_factory=MetaData)
    touched_us: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)
    part_sums_fit: int = 0
    sizes: set[int] = field(default_factory=set)  # declared for the whole
    sums: set[str] = field(default_factory=set)  # declared for the whole
    last: int | None = None
    cost: int = 0
    # The sum over the parts from `base` up to, not including, `next`.
    base: int | None = None
    next: int = 0
    size: int = 0
    running: HASH = field(default_factory=_new_sum)

    def has_name_of(self, metadata: MetaData) -> bool:
        """Whether file and metadata have one file name, or one of them has none."""
        named = self.about.HasField("file_name") and metadata.HasField("file_name")
        return not named or bool(self.about.file_name == metadata.file_name)

    def has(self, metadata: MetaData, raw: bytes) -> bool:
        """Whether the file has a part of this number and these bytes already."""
        ends = metadata.HasField("seq") and metadata.seq == self.last
        return metadata.is_multi_part is not ends and self.parts.get(metadata.seq) == raw

    def continues_with(self, metadata: MetaData) -> bool:
        """Whether a value with this metadata can be another part of this file."""
        if metadata.is_multi_part:
            return metadata.seq not in self.parts
        # The last part may say that no more follow; it has a number of its own then.
        return metadata.HasField("seq") and metadata.seq > max(self.parts)

    def add(self, metadata: MetaData, raw: bytes, cost: int) -> None:
        """Take in a part; `cost` is what it counts for in the limit."""
        self.parts[metadata.seq] = raw
        self.cost += cost
        self.about.MergeFrom(metadata)
        self._note_declarations(metadata, raw)
        if not metadata.is_multi_part:
            self.last = metadata.seq
        self._advance()

    def is_complete(self) -> bool:
        if self.base is None or self.next < self.base + len(self.parts):
            return False
        if self.size in self.sizes or self.running.hexdigest() in self.sums:
            return True
        # Where parts are counted from 1, and where part 0 was lost, looks the same.
        return self.base == 0 and self.last is not None

    def content(self) -> bytes:
        return b"".join(self.parts[number] for number in sorted(self.parts))

    def _note_declarations(self, metadata: MetaData, raw: bytes) -> None:
        if metadata.HasField("size") and metadata.size != len(raw):
            self.sizes.add(metadata.size)
        if metadata.HasField("md5"):
            declared = plain_sum(metadata.md5)
            if declared == md5_of(raw):
                self.part_sums_fit += 1
            else:
                self.sums.add(declared)

    def _advance(self) -> None:
        """Extend the sum over what has become free of gaps."""
        base = next((n for n in _FIRST_NUMBERS if n in self.parts), None)
        if base is None:
            return
        if base != self.base:  # part 0 came after part 1
            self.base = self.next = base
            self.size = 0
            self.running = _new_sum()
        while (raw := self.parts.get(self.next)) is not None:
            self.running.update(raw)
            self.size += len(raw)
            self.next += 1


class PartAssembler:
    """Collects the parts of files by (owner, metric).

    All unfinished files together hold at most `max_bytes`; one that gets no further part
    for `max_age_us` microseconds is dropped. `problems` counts what came to nothing.
    """

    def __init__(
        self, max_bytes: int = 64 * 1024 * 1024, max_age_us: int = 10 * 60 * 1_000_000
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age_us = max_age_us
        self._files: OrderedDict[tuple[Hashable, str], _File] = OrderedDict()
        self.held_bytes = 0
        self.problems: Counter[PartProblem] = Counter()

    def __len__(self) -> int:
        return len(self._files)

    def add(
        self, owner: Hashable, metric: str, metadata: bytes | None, raw: bytes, now_us: int
    ) -> FinishedFile | None:
        """Take in one Bytes or File value; return the file that it completes.

        A value that is no part of a larger one is a file by itself and comes back at
        once. None means that more parts are waited for. `now_us` is time that passes, in
        microseconds since whenever: a clock that is set would end all files at once.
        """
        self.expire(now_us)
        key = (owner, metric)
        about = metadata_of(metadata)
        file = self._files.get(key)
        if file is not None:
            if file.has_name_of(about) and file.has(about, raw):
                self.problems[PartProblem.DUPLICATE] += 1
                return None
            if not (file.has_name_of(about) and file.continues_with(about)):
                self._drop(key, PartProblem.SUPERSEDED)
                file = None
        if file is None and not about.is_multi_part:
            return _single(metadata, raw, about)
        cost = len(raw) + len(metadata or b"") + _PART_OVERHEAD
        if not self._make_room(key, cost):
            return None
        file = self._files.setdefault(key, file or _File())
        self._files.move_to_end(key)
        file.touched_us = now_us
        self.held_bytes += cost
        file.add(about, raw, cost)
        if not file.is_complete():
            return None
        self._drop(key)
        return _finished(file)

    def awaits(self, owner: Hashable, metric: str) -> bool:
        """Whether a metric has an unfinished file."""
        return (owner, metric) in self._files

    def expire(self, now_us: int) -> None:
        """Drop the files that have waited too long for their next part."""
        while self._files:
            key, oldest = next(iter(self._files.items()))
            if now_us - oldest.touched_us <= self._max_age_us:
                break
            self._drop(key, PartProblem.EXPIRED)

    def _make_room(self, key: tuple[Hashable, str], cost: int) -> bool:
        """Drop what has waited longest until `cost` bytes more fit; False if they never do."""
        file = self._files.get(key)
        if (file.cost if file else 0) + cost > self._max_bytes:
            self._drop(key)
            self.problems[PartProblem.TOO_LARGE] += 1
            return False
        if file is not None:
            self._files.move_to_end(key)
        while self.held_bytes + cost > self._max_bytes:
            self._drop(next(iter(self._files)), PartProblem.MADE_ROOM)
        return True

    def _drop(self, key: tuple[Hashable, str], problem: PartProblem | None = None) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            self.held_bytes -= file.cost
            if problem is not None:
                self.problems[problem] += 1


def _single(metadata: bytes | None, raw: bytes, about: MetaData) -> FinishedFile:
    text = bytes_text(metadata, raw)
    assert text is not None
    matches = plain_sum(about.md5) == md5_of(raw) if about.HasField("md5") else None
    return FinishedFile(text, raw, 1, matches)


def _finished(file: _File) -> FinishedFile:
    content = file.content()
    about = MetaData()
    about.CopyFrom(file.about)
    about.ClearField("size")
    if file.sizes:
        about.size = len(content) if len(content) in file.sizes else min(file.sizes)
    text = described(about, len(content), file.running.hexdigest(), sorted(file.sums))
    if not file.sums and file.part_sums_fit == len(file.parts):
        text["md5_matches"] = True  # each part's own sum was declared, and is right
    text["parts"] = len(file.parts)
    matches = text.get("md5_matches")
    return FinishedFile(
        json_text(text), content, len(file.parts), matches if isinstance(matches, bool) else None
    )
