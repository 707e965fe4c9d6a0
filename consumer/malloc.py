"""Has glibc's malloc give freed memory back to the system, and more of it when it runs short.

With another malloc, and on other systems than Linux, nothing is done.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

_M_ARENA_MAX: Final = -8
_MOST_ARENAS: Final = 2
"""Heaps of malloc. By default there are eight for each core, and each of them keeps what
its threads have freed: under load 110 MiB that nobody used, in a process of 450."""
_MUCH: Final = 0.75
"""Part of the budget from which on it is worth the time to look for what can be given back."""
_LOOK_EVERY: Final = 1.0
_STATM: Final = Path("/proc/self/statm")


def share_arenas() -> None:
    """Let threads share few heaps, from the next thread on.

    Whoever sets MALLOC_ARENA_MAX has decided that for themselves.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, _MOST_ARENAS)


@functools.cache
def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory that the process has; 0 where that cannot be known."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * _page()
    except OSError:
        return 0


def give_back() -> None:
    """Give pages that hold nothing back to the system, in a few milliseconds."""
    pa.default_memory_pool().release_unused()
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))


class FreedMemory:
    """Gives back what was freed while the process has more than three quarters of its budget.

    A large message leaves holes behind that are used again only by chance: ten minutes of
    attacks leave 100 MiB of them.

    Args:
        budget: bytes that the process may have.
        clock: monotonic seconds.
        resident: bytes that it has.
        give_back: gives back what nobody uses.
    """

    def __init__(
        self,
        budget: int,
        clock: Callable[[], float],
        resident: Callable[[], int] = resident,
        give_back: Callable[[], None] = give_back,
    ) -> None:
        self._much = budget * _MUCH
        self._clock = clock
        self._resident = resident
        self._give_back = give_back
        self._due = 0.0

    def look(self) -> None:
        """Give back, once a second at most."""
        now = self._clock()
        if now >= self._due:
            self._due = now + _LOOK_EVERY
            if self._resident() > self._much:
                self._give_back()
