"""What is promised under attack, and the account of what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consumer.config import LimitsSection
from consumer.spool.balance import balance_of_file

if TYPE_CHECKING:
    from pathlib import Path

MOST_CPU = 1.0
"""Seconds that one message may take."""
MOST_LINES = 50
"""Lines of the log in any second."""
_MIB = 1024 * 1024

_COLUMNS = (
    ("shape", 18),
    ("messages", 8),
    ("largest B", 10),
    ("CPU s", 7),
    ("decode s", 8),
    ("peak MiB", 8),
    ("restart", 7),
    ("lines/s", 7),
)


@dataclass
class Cost:
    """What one shape took of a consumer that had nothing else to do.

    `cpu` is the process's for its dearest message, `decode` that of the thread that was busiest
    with it, both in seconds; of a flood they are for all of it. `peak` and `restart` are MiB, the
    latter of the process that is started after a kill. `lines` is the most in a second.
    """

    shape: str
    flood: bool = False
    messages: int = 0
    largest: int = 0
    cpu: float = 0.0
    decode: float = 0.0
    peak: float = 0.0
    restart: float = 0.0
    lines: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return not self.problems

    def require(self, condition: object, problem: str) -> None:
        """Note a promise that was not kept."""
        if not condition:
            self.problems.append(problem)

    def judge(self, budget: float) -> None:
        """Note what is beyond the limits; `budget` is in MiB."""
        self.require(self.flood or self.decode <= MOST_CPU, f"a message took {self.decode:.1f} s")
        self.require(self.peak <= budget, f"{self.peak:.0f} MiB")
        self.require(self.restart <= budget, f"{self.restart:.0f} MiB at the restart")
        self.require(self.lines <= MOST_LINES, f"{self.lines} lines of the log in a second")

    def line(self) -> str:
        values = (
            self.shape,
            self.messages,
            self.largest,
            f"{self.cpu:.2f}",
            f"{self.decode:.2f}",
            f"{self.peak:.0f}",
            f"{self.restart:.0f}",
            self.lines,
        )
        return "  ".join([_cells(values), "; ".join(self.problems) or "as promised"])


def heading() -> str:
    """Names of the columns of `Cost.line`."""
    return "  ".join([_cells(name for name, _ in _COLUMNS), "verdict"])


def _cells(values: object) -> str:
    return "  ".join(
        f"{value:<{width}}" if name == "shape" else f"{value:>{width}}"
        for (name, width), value in zip(_COLUMNS, values, strict=True)  # type: ignore[call-overload] # any of them
    )


def differences(spool: Path) -> list[str]:
    """What the ledger of a consumer that has ended does not explain."""
    ledger = balance_of_file(spool).to_dict()
    return [
        f"the ledger does not add up: {name} {balance}"
        for kind in ("messages", "rows")
        for name, balance in ledger[kind].items()
        if balance["difference"] != 0
    ]


def limits(budget: float) -> dict[str, object]:
    """The consumer's own limit of memory, if it has such a key."""
    if "memory" not in LimitsSection.model_fields:
        return {}
    return {"limits": {"memory": int(budget * _MIB)}}
