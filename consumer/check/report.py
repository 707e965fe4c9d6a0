"""What `check` finds: one line per fact, with its mend."""

from __future__ import annotations

import queue
import threading
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from consumer.credentials import masked
from consumer.foreign import escaped
from consumer.network import one_line

if TYPE_CHECKING:
    from collections.abc import Callable


class Status(StrEnum):
    """Results of a check of one part; only FAIL makes the command fail."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about one part, such as `mqtt plant-a`; `mend` says what to do about it."""

    status: Status
    part: str
    text: str
    mend: str = ""

    def line(self) -> str:
        """The finding as people read it, on one line whatever it quotes."""
        mend = f" -> {self.mend}" if self.mend else ""
        return escaped(f"{self.status:<4} {self.part}  {self.text}{mend}")

    def as_json(self) -> dict[str, str]:
        """The finding as a program reads it."""
        return {key: str(value) for key, value in asdict(self).items()}


class PartError(Exception):
    """A part does not work. Becomes a finding FAIL."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend


class Running:
    """A part that is being checked in a thread of its own, so that it cannot hang the others.

    The thread is a daemon: one that never comes back does not keep the process alive.
    """

    def __init__(self, part: str, check: Callable[[], list[Finding]], seconds: float) -> None:
        self._part = part
        self._seconds = seconds
        self._answer: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(check,), name=part, daemon=True).start()

    def _run(self, check: Callable[[], list[Finding]]) -> None:
        try:
            findings = check()
        except PartError as error:
            findings = [Finding(Status.FAIL, self._part, error.text, error.mend)]
        except Exception as error:  # noqa: BLE001 - the report is where it is shown
            text = one_line(masked(f"{type(error).__name__}: {error}"))
            findings = [Finding(Status.FAIL, self._part, text, "see the text of the error")]
        self._answer.put(findings)

    def findings(self) -> list[Finding]:
        """Wait for the part, at most its time."""
        try:
            return self._answer.get(timeout=self._seconds)
        except queue.Empty:
            text = f"no result within {self._seconds:g} s"
            mend = "check name resolution and firewalls, or give --timeout more seconds"
            return [Finding(Status.FAIL, self._part, text, mend)]
