"""Python imports this before anything else where it is found: another wall clock.

The file named by FAULTS_CLOCK holds the seconds by which it is off, as a double; it may
change at any time. The monotonic clock stays what it is, as when somebody sets the time.
"""

import mmap
import os
import struct
import time

_FILE = os.environ.get("FAULTS_CLOCK")
if _FILE:
    with open(_FILE, "rb") as _file:  # noqa: PTH123 - pathlib would be imported before the clock is set
        _SHARED = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
    _REAL = time.time_ns

    def _time_ns() -> int:
        return _REAL() + int(struct.unpack("<d", _SHARED[:])[0] * 1e9)

    time.time_ns = _time_ns
    time.time = lambda: _time_ns() / 1e9
