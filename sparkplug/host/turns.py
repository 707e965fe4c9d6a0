"""In which order the messages of a batch, and metrics of them that were held, are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.payload import PayloadColumns

_AT_ONE_PLACE: Final = 2**20
"""Messages that may be read at the place of one: what waited goes on where it may."""


class LaterRows(NamedTuple):
    """Metrics that were held, and are read apart from their message.

    Args:
        rows: indices of the metrics in the batch.
        ignition: whether they are read in a session that Ignition's module began.
        turn: theirs, in place of their message's.
    """

    rows: NDArray[np.int64]
    ignition: bool
    turn: int


class Turns:
    """The turn of each message of a batch: a number that grows in the order of reading.

    To begin with, messages are read in the order of arrival. Whoever reads at a place of that
    order what is not from there, or more than is there, gives turns, one after the other.

    Args:
        count: how many messages the batch has.

    Attributes:
        reordered: whether anything is read elsewhere than in the order of arrival.
        later: metrics with a turn apart from their message's, in the order in which they are read.
    """

    def __init__(self, count: int) -> None:
        self._of_message = np.arange(0, count * _AT_ONE_PLACE, _AT_ONE_PLACE)
        self._next = 0
        self.reordered = False
        self.later: list[LaterRows] = []

    def come_to(self, position: int) -> None:
        """What is read next is read at the place of this message in the order of arrival."""
        self._next = position * _AT_ONE_PLACE

    def give(self, position: int) -> None:
        """A message is read next: its rows are behind those of what was read before it."""
        self.reordered |= self.of(position) != self._next
        self._of_message[position] = self._next
        self._next += 1

    def give_rows(self, rows: NDArray[np.int64], *, ignition: bool) -> None:
        """Some metrics are read next, which were held, and whose message was read before.

        `ignition`: they are read in a session that Ignition's module began.
        """
        self.later.append(LaterRows(rows, ignition, self._next))
        self._next += 1
        self.reordered = True

    def of(self, position: int) -> int:
        """The turn of a message."""
        return int(self._of_message[position])

    def per_metric(self, columns: PayloadColumns) -> NDArray[np.int64]:
        """The turn of each metric of the batch, whose columns these are."""
        turns = columns.per_metric(self._of_message)
        if self.later:
            turns = turns.copy()
        for rows, _, turn in self.later:
            turns[rows] = turn
        return turns
