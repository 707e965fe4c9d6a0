"""What was last read and said of each tag, as columns over tag ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER: Final = np.iinfo(np.int64).min
"""In the place of the time of a value: none was read."""

_FIRST_ROOM: Final = 1024
"""Tags for which there is room at first, and after some were dropped."""

_NO_DIGEST: Final = -1
"""Of no description. Not 0: that a tag was described is still known."""


class TagStates:
    """Columns over the ids of a `TagCatalogue`. They may be written to, but not held."""

    def __init__(self) -> None:
        self._size = 0
        self._stale = np.zeros(_FIRST_ROOM, dtype=np.bool_)
        self._read_us = np.full(_FIRST_ROOM, NEVER)
        self._greatest_us = np.zeros(_FIRST_ROOM, dtype=np.int64)
        self._description = np.zeros((_FIRST_ROOM, 2), dtype=np.int64)

    @property
    def stale(self) -> NDArray[np.bool_]:
        """Whether the last row of a tag said STALE; its next birth value takes that back."""
        return self._stale[: self._size]

    @property
    def read_us(self) -> NDArray[np.int64]:
        """The event_time of each tag's last present value, NEVER if none was read."""
        return self._read_us[: self._size]

    @property
    def greatest_us(self) -> NDArray[np.int64]:
        """The greatest event_time of each tag since the birth that declared it, 0 for none.

        See sparkplug.host.watch.read_times.
        """
        return self._greatest_us[: self._size]

    @property
    def description(self) -> NDArray[np.int64]:
        """Two digests per tag, of what births last said of it; zeros for nothing yet.

        See sparkplug.host.tag_description.
        """
        return self._description[: self._size]

    def describe_again(self) -> None:
        """Let the next birth of each tag say again what it says of it, news or not."""
        known = self.description
        known[known != 0] = _NO_DIGEST

    def append(self, count: int) -> None:
        """Add tags of which nothing was read or said."""
        first, size = self._size, self._size + count
        if size > len(self._stale):
            grown = max(size, 2 * len(self._stale))
            self._stale = np.resize(self._stale, grown)
            self._read_us = np.resize(self._read_us, grown)
            self._greatest_us = np.resize(self._greatest_us, grown)
            self._description = np.resize(self._description, (grown, 2))
        self._stale[first:size] = False
        self._read_us[first:size] = NEVER
        self._greatest_us[first:size] = 0
        self._description[first:size] = 0
        self._size = size

    def keep(self, live: NDArray[np.int32]) -> None:
        """Drop all tags but `live` (ascending ids), which get ids from 0 on."""
        none = np.zeros(_FIRST_ROOM, dtype=np.int64)
        fresh = np.zeros((_FIRST_ROOM, 2), dtype=np.int64)
        self._stale = np.concatenate([self._stale[live], none.astype(np.bool_)])
        self._read_us = np.concatenate([self._read_us[live], none])
        self._greatest_us = np.concatenate([self._greatest_us[live], none])
        self._description = np.concatenate([self._description[live], fresh])
        self._size = len(live)
