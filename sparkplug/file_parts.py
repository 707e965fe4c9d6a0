"""Files that come in several metrics: which are parts, and what the whole file is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sparkplug.complex.files import metadata_of
from sparkplug.complex.parts import PartAssembler
from sparkplug.messages import Reason

if TYPE_CHECKING:
    from collections import Counter

    from sparkplug.catalogue import TagOwner

PART: Final = ""
"""Stands for the text of a value that is a part, and no row."""


class FileParts:
    """The unfinished files of one MQTT server, by node, device and metric."""

    def __init__(self) -> None:
        self._assembler = PartAssembler()

    def __len__(self) -> int:
        return len(self._assembler)

    def take(
        self, owner: TagOwner, metric: str, metadata: bytes | None, raw: bytes, received_us: int
    ) -> str | None:
        """The text of the file that a value completes; PART if it does not complete one.

        None for a value that has nothing to do with parts. `received_us` is the time of
        arrival in microseconds since 1970 UTC; files that wait too long for a part go by it.
        """
        key = (owner.group_id, owner.edge_node_id, owner.device_id)
        about = metadata_of(metadata)
        if not about.is_multi_part and not self._assembler.awaits(key, metric):
            return None
        file = self._assembler.add(key, metric, metadata, raw, received_us)
        if file is None:
            return PART
        return None if file.parts == 1 and not about.is_multi_part else file.text

    def expire(self, now_us: int) -> None:
        """Forget the files that have waited too long for their next part."""
        self._assembler.expire(now_us)

    def report(self, counts: Counter[Reason]) -> None:
        """Count what came to nothing since the last time."""
        for problem, count in self._assembler.problems.items():
            counts[Reason(problem.value)] += count
        self._assembler.problems.clear()
