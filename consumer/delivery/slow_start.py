"""Rows that are sent one call at a time, because it is not known whether they get through."""

from __future__ import annotations

from typing import Final

HANDFUL: Final = 10
"""Records of the first call after something had to be mended."""


class SlowStart:
    """How many rows are sent one call at a time, and how large these calls are.

    Attributes:
        rows: so many rows are left; 0 when calls need not wait for each other.
        step: most records of such a call.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.step = 0

    @property
    def is_active(self) -> bool:
        """Whether a call waits for the acknowledgement of the one before."""
        return self.rows > 0

    def begin(self, rows: int) -> None:
        """A stream ended, and may not have told its true reason.

        Its rows are sent again in calls of the usual size, of which each waits for the one
        before. The half of the SDK that noticed may not know what the other was told.
        """
        if not self.is_active:
            self.rows = self.step = rows

    def probe(self) -> None:
        """Something had to be mended: begin with a handful, and with more as that succeeds."""
        self.rows = max(self.rows, HANDFUL)
        self.step = HANDFUL

    def passed(self, rows: int) -> None:
        """Rows were acknowledged."""
        if self.is_active:
            self.rows = max(0, self.rows - rows)
            self.step *= 2
