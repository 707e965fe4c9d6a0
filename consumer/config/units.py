"""Sizes and durations as people write them: `8MiB`, `50ms`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MINUTE: Final = 60.0
HOUR: Final = 3600.0

_SIZES: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": KIB,
    "MIB": MIB,
    "GIB": GIB,
    "TIB": 1024 * GIB,
}
_DURATIONS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TOO_LARGE: Final = 1e30
_LONGEST: Final = 32
_NUMBER_AND_UNIT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)

_NOT_A_SIZE: Final = "must be a size: bytes, or a number with KB, MB, GB, KiB, MiB or GiB"
_NOT_A_DURATION: Final = "must be a duration: seconds, or a number with ms, s, m, h or d"


def parse_size(value: object) -> int:
    """Read a size in bytes: 8MiB, 1GB, "512", 512. Decimal and binary units, any case.

    Raises:
        ValueError: it is not a size, or not a whole number of bytes.
    """
    number, unit = _split(value, _NOT_A_SIZE)
    factor = _SIZES.get(unit.upper())
    if factor is None:
        raise ValueError(_NOT_A_SIZE)
    size = number * factor
    if size != int(size):
        raise ValueError("must be a whole number of bytes")
    return int(size)


def parse_duration(value: object) -> float:
    """Read a duration in seconds: 50ms, 2s, 5m, 1h, 1d; a plain number means seconds.

    Raises:
        ValueError: it is not a duration.
    """
    number, unit = _split(value, _NOT_A_DURATION)
    if unit not in _DURATIONS:
        raise ValueError(_NOT_A_DURATION)
    return float(number * Decimal(str(_DURATIONS[unit])))


def _split(value: object, complaint: str) -> tuple[Decimal, str]:
    if isinstance(value, bool):
        raise ValueError(complaint)  # noqa: TRY004 - pydantic turns only ValueError into a report
    if isinstance(value, int | float):
        # Not isfinite: whole numbers may be too large for it.
        if not 0 <= value < _TOO_LARGE:
            raise ValueError(complaint)
        return Decimal(str(value)), ""
    match = _NUMBER_AND_UNIT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or len(match[0]) > _LONGEST:
        raise ValueError(complaint)
    return Decimal(match[1]), match[2]


def format_size(size: float) -> str:
    """Write bytes in the largest binary unit that divides them: 8388608 -> 8MiB."""
    for unit in ("GiB", "MiB", "KiB"):
        factor = _SIZES[unit.upper()]
        if size >= factor and size % factor == 0:
            return f"{size // factor:.0f}{unit}"
    return f"{size:.0f}"


def format_duration(seconds: float) -> str:
    """Write seconds in the largest unit that divides them: 0.05 -> 50ms, 300 -> 5m."""
    for unit in ("d", "h", "m", "s"):
        factor = _DURATIONS[unit]
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:.0f}{unit}"
    if not seconds:
        return "0s"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms"
