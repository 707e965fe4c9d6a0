"""Which record of a stream does Zerobus refuse, or is it the table? Bookkeeping, nothing else.

The service refuses a whole call, ends the stream, and says in words of its own why. So
calls are sent one at a time, and halved until the refused one is a single record. When
record after record is refused, it is not they that are wrong but the table; then a few
are tried from time to time, until one gets through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HANDFUL: Final = 10
"""Records of the first call after something had to be mended."""

_MOST_REFUSED: Final = 100
"""Records refused one after the other from which on the table is to blame, and not they."""

_LEAST_REFUSED: Final = 10
"""Refused records that suffice to blame the table, when no other could get through."""

_THOROUGH_EVERY: Final = 3
"""Of so many probes, while the table is to blame, one tries several records.

Else a few bad ones in front would hold up a table that has been mended.
"""

_NUMBERS: Final = re.compile(r"\d+")


@dataclass(slots=True)
class PoisonSearch:
    """A search among the rows that are next.

    Attributes:
        suspected: so many rows are sent one call at a time; 0 when nothing is searched.
        bad_within: the refused record is among so many; 0 when that is not known.
        step: most records of a call while searching.
        in_a_row: records found to be refused since one got through.
        words: what the service said when it was the table; empty when it is not.
        rounds: probes in vain since then.
    """

    suspected: int = 0
    bad_within: int = 0
    step: int = 0
    in_a_row: int = 0
    words: str = ""
    rounds: int = 0

    @property
    def active(self) -> bool:
        """Whether a refused record is searched: calls go out one at a time."""
        return self.suspected > 0

    def look_closely(self, rows: int) -> None:
        """A stream ended without a reason: send its rows again, one call at a time."""
        if not self.active:
            self.suspected = self.step = rows

    def probe(self) -> None:
        """Something had to be mended: begin with a handful, and with more as that succeeds."""
        self.suspected = max(self.suspected, HANDFUL)
        self.bad_within = 0
        self.step = HANDFUL
        if self.words:
            self.in_a_row = 0

    def refused(self, rows: int) -> bool:
        """Take down that a record among `rows` rows, which were on their way, was refused.

        Returns:
            Whether it is known which one: there was no other.
        """
        self.suspected = max(self.suspected, rows)
        if rows == 1:
            self.suspected -= 1
            self.bad_within = 0
            self.step = 1
            self.in_a_row += 1
            return True
        self.bad_within = rows
        self.step = rows // 2
        return False

    def is_the_table(self, words: str) -> bool:
        """Whether the table is to blame for the last refusal; `words` is what the service said."""
        if not self.words:
            return self.in_a_row >= _MOST_REFUSED
        same = _NUMBERS.sub("#", words) == _NUMBERS.sub("#", self.words)
        if same and (self.rounds + 1) % _THOROUGH_EVERY:
            return True
        return self.in_a_row >= _LEAST_REFUSED

    @property
    def nothing_gets_through(self) -> bool:
        """Whether the table is to blame, if no record is left behind the refused ones."""
        return self.in_a_row >= _LEAST_REFUSED

    def blame_the_table(self, words: str) -> None:
        """Stop searching: it is the table, and the next attempt is a probe."""
        if self.words:
            self.rounds += 1
        else:
            self.words = words
            self.rounds = 0
        self.probe()

    def passed(self, rows: int) -> None:
        """Take down that rows were acknowledged: the table is not to blame."""
        if rows:
            self.in_a_row = 0
            self.words = ""
        self.suspected = max(0, self.suspected - rows)
        self.bad_within = max(0, self.bad_within - rows)
        if self.bad_within:
            self.step = max(1, self.bad_within // 2)
        else:
            self.step *= 2
