"""When record after record is refused, it is not they that are wrong but the table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumer.errors import FailureKind, SinkFailure
from consumer.sinks import difference

if TYPE_CHECKING:
    from collections.abc import Sequence

ENOUGH_WHEN_ALONE: Final = 10
"""Refused records that suffice to blame the table, when no other could get through."""

_ENOUGH_IN_A_ROW: Final = 100
"""Records refused one after the other from which on the table is to blame, and not they."""

_THOROUGH_EVERY: Final = 3
"""Of so many probes, while the table is to blame, one looks for a record that gets through.

Else a few bad ones in front would hold up a table that has been mended.
"""

_NUMBERS: Final = re.compile(r"\d+")


@dataclass(slots=True)
class TableBlame:
    """Whether the table of one stream is to blame for what is refused, and since how many probes.

    Attributes:
        words: what the service said when it was the table; empty when it is not.
        probes: probes in vain since then.
    """

    words: str = ""
    probes: int = 0

    @property
    def blames_from(self) -> int:
        """So many records refused one after the other are the table's fault, and not theirs."""
        return ENOUGH_WHEN_ALONE if self.words else _ENOUGH_IN_A_ROW

    def persists(self, words: str) -> bool:
        """Whether the table stays to blame without a search after this refused probe.

        So it does when the probe says nothing new, and is none of those to be looked into.
        """
        same = _NUMBERS.sub("#", words) == _NUMBERS.sub("#", self.words)
        return bool(self.words) and same and (self.probes + 1) % _THOROUGH_EVERY != 0

    def lay(
        self, words: str, descriptor: bytes, records: Sequence[bytes], *, in_a_row: int
    ) -> SinkFailure:
        """Blame the table.

        Args:
            words: what the service said last.
            descriptor: what the refused records were encoded for.
            records: those that were refused, to see which columns they have in common.
            in_a_row: how many were found one after the other; 0 when a probe was refused.

        Returns:
            What is wrong: where table and rows differ, as far as that can be told.
        """
        self.probes = self.probes + 1 if self.words else 0
        self.words = words  # the latest: the next probe is compared with what is said now
        what = (
            f"{in_a_row} records one after the other are refused, so it is the table that does "
            f"not fit: {words}"
            if in_a_row
            else f"records are still refused: {words}"
        )
        where = difference(words, descriptor, records)
        return SinkFailure(FailureKind.CONTRACT, f"{what} ({where})")

    def lift(self) -> None:
        """Take the blame off the table: a record got through."""
        self.words = ""
