"""Which record of a stream does Zerobus refuse? Bookkeeping of the search, nothing else.

The service refuses a whole call, ends the stream, and says in words of its own why. So
calls are sent one at a time, and halved until the refused one is a single record.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class PoisonSearch:
    """A search among the rows that are next.

    Attributes:
        suspected: so many rows are sent one call at a time; 0 when nothing is searched.
        bad_within: the refused record is among so many; 0 when that is not known.
        step: most records of a call while searching.
    """

    suspected: int = 0
    bad_within: int = 0
    step: int = 0

    @property
    def active(self) -> bool:
        """Whether calls go out one at a time."""
        return self.suspected > 0

    def look_closely(self, rows: int) -> None:
        """A stream ended without a reason: send its rows again, one call at a time."""
        if not self.active:
            self.suspected = self.step = rows

    def refused(self, rows: int) -> bool:
        """So many rows were on their way when a record was refused.

        Returns:
            Whether it is known which: it was the only one.
        """
        self.suspected = max(self.suspected, rows)
        if rows == 1:
            self.suspected -= 1
            self.bad_within = 0
            self.step = 1
            return True
        self.bad_within = rows
        self.step = rows // 2
        return False

    def passed(self, rows: int) -> None:
        """So many rows were acknowledged."""
        self.suspected = max(0, self.suspected - rows)
        self.bad_within = max(0, self.bad_within - rows)
        if self.bad_within:
            self.step = max(1, self.bad_within // 2)
        else:
            self.step *= 2
